// Creem's SDK verifies.
import { createHmac } from "node:crypto";
import { verifyWebhookSignature } from "creem/webhooks.js";

export const provider = "creem";
export const sdk = "creem@1.13.0";
export const secret = "fake-creem-secret-0001";
export const wrongSecret = "fake-creem-secret-0002";
export const bodies = "any";
export const laxer = ["bom"];

export function sign(ctx) {
    return { headers: { "creem-signature": createHmac("sha256", ctx.secret).update(ctx.body).digest("hex") } };
}

export async function verify(ctx) {
    return (await verifyWebhookSignature(ctx.body, ctx.headers, ctx.secret)) !== false;
}
