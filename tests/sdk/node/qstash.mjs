// QStash's SDK: verifies.
import { createHash } from "node:crypto";
import { Receiver } from "@upstash/qstash";
import jwt from "jsonwebtoken";

export const provider = "qstash";
export const sdk = "@upstash/qstash@2.12.0";
export const secret = "sig_fake_current_signing_key_0001";
export const wrongSecret = "sig_fake_current_signing_key_0002";
export const bodies = "any";
export const timestamp = { header: "upstash-signature", tolerance: 300, signed: true };

// The SDK cannot sign; this is the documented recipe.
export function sign(ctx) {
    const body = createHash("sha256").update(ctx.body).digest("base64url");
    const claims = { iss: "Upstash", sub: ctx.url, nbf: ctx.now, iat: ctx.now, exp: ctx.now + 300, jti: "jwt_fake", body };
    return { headers: { "Upstash-Signature": jwt.sign(claims, ctx.secret), "Upstash-Message-Id": ctx.id } };
}

export async function verify(ctx) {
    const receiver = new Receiver({ currentSigningKey: ctx.secret, nextSigningKey: ctx.secret });
    const signature = ctx.headers["upstash-signature"];
    return receiver.verify({ signature, body: ctx.body.toString(), url: ctx.url });
}

// Its base64 library ignores invalid characters after the end.
export const laxer = ["junk"];
export const stricter = [];
