// Cloudinary's SDK signs and verifies: a plain digest.
import { v2 as cloudinary } from "cloudinary";

export const provider = "cloudinary";
export const sdk = "cloudinary@2.11.0";
export const secret = "fake-cloudinary-api-secret";
export const wrongSecret = "fake-cloudinary-api-secres";
export const bodies = "any";
export const timestamp = { header: "x-cld-timestamp", tolerance: 7200, signed: true };
export const laxer = ["future"];

export function sign(ctx) {
    const signature = cloudinary.utils.webhook_signature(ctx.body.toString(), ctx.now, { api_secret: ctx.secret });
    return { headers: { "X-Cld-Signature": signature, "X-Cld-Timestamp": String(ctx.now) } };
}

export async function verify(ctx) {
    cloudinary.config({ api_secret: ctx.secret });
    const read = (name) => ctx.headers[`x-cld-${name}`];
    return cloudinary.utils.verifyNotificationSignature(ctx.body.toString(), read("timestamp"), read("signature"), 7200);
}
