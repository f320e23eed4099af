// MessageBird's SDK: verifies.
import { createHash, createSecretKey } from "node:crypto";
import jwt from "jsonwebtoken";
import signature from "messagebird/lib/webhook-signature-jwt.js";

export const provider = "messagebird";
export const sdk = "messagebird@4.0.1";
export const secret = "36efdd1aace2e26cd490f0d951138253bef2f7c6d34d18981da781555cc4cebb";
export const wrongSecret = "36efdd1aace2e26cd490f0d951138253bef2f7c6d34d18981da781555cc4cebc";
export const bodies = "any";
export const timestamp = { header: "messagebird-signature-jwt", tolerance: 60, signed: true };

const hex = (data) => createHash("sha256").update(data).digest("hex");

// The SDK cannot sign; this is the documented recipe.
export function sign(ctx) {
    const claims = { iss: "MessageBird", nbf: ctx.now, exp: ctx.now + 60, jti: ctx.id, url_hash: hex(ctx.url) };
    if (ctx.body.length > 0) claims.payload_hash = hex(ctx.body);
    return { headers: { "MessageBird-Signature-JWT": jwt.sign(claims, ctx.secret, { noTimestamp: true }) } };
}

export async function verify(ctx) {
    const key = createSecretKey(Buffer.from(ctx.secret));
    return signature.verify(ctx.url, ctx.body, ctx.headers["messagebird-signature-jwt"], key);
}

// Its base64 library ignores invalid characters after the end.
export const laxer = ["junk"];
export const stricter = [];
