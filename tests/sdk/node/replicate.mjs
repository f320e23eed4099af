// Replicate's SDK verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import { validateWebhook } from "replicate";

export const provider = "replicate";
export const sdk = "replicate@1.4.0";
export const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
export const wrongSecret = "whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
export const bodies = "any";
export const timestamp = { header: "webhook-timestamp", tolerance: 300, signed: true };
export const laxer = ["stale", "future", "junk", "duplicate_header", "junk_before", "malformed"];

export function sign(ctx) {
    const key = Buffer.from(ctx.secret.slice(6), "base64");
    const mac = createHmac("sha256", key).update(`${ctx.id}.${ctx.now}.`).update(ctx.body).digest("base64");
    return { headers: { "webhook-id": ctx.id, "webhook-timestamp": String(ctx.now), "webhook-signature": `v1,${mac}` } };
}

export async function verify(ctx) {
    return await validateWebhook({ id: ctx.headers["webhook-id"], timestamp: ctx.headers["webhook-timestamp"], signature: ctx.headers["webhook-signature"], body: ctx.body.toString(), secret: ctx.secret });
}
