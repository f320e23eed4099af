// Vonage's SDK: verifies the token. It checks neither the digest of the body nor the token's age.
import { createHash } from "node:crypto";
import { verifySignature } from "@vonage/jwt";
import jwt from "jsonwebtoken";

export const provider = "vonage";
export const sdk = "@vonage/jwt@1.14.0";
export const secret = "fakevonagesignaturesecret0001";
export const wrongSecret = "fakevonagesignaturesecret0002";
export const bodies = "any";
export const timestamp = { header: "authorization", tolerance: 300, signed: true };

// The SDK cannot sign with a shared secret; this is the documented recipe.
export function sign(ctx) {
    const payload_hash = createHash("sha256").update(ctx.body).digest("hex");
    const claims = { iss: "Vonage", iat: ctx.now, jti: ctx.id, payload_hash, api_key: "a1b2c3d" };
    return { headers: { Authorization: `Bearer ${jwt.sign(claims, ctx.secret)}` } };
}

export async function verify(ctx) {
    return verifySignature(ctx.headers.authorization.replace(/^Bearer /, ""), ctx.secret);
}

// The caller must check the body and the age.
export const laxer = ["body", "bom", "whitespace", "reserialised", "stale", "future"];
export const stricter = [];
