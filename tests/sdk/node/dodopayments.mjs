// Dodo Payments's SDK verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import DodoPayments from "dodopayments";

export const provider = "dodopayments";
export const sdk = "dodopayments@2.52.0";
export const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
export const wrongSecret = "whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
export const bodies = "any";
export const timestamp = { header: "webhook-timestamp", tolerance: 300, signed: true };
export const laxer = ["duplicate_header","junk"];

export function sign(ctx) {
    const key = Buffer.from(ctx.secret.slice(6), "base64");
    const mac = createHmac("sha256", key).update(`${ctx.id}.${ctx.now}.`).update(ctx.body).digest("base64");
    return { headers: { "webhook-id": ctx.id, "webhook-timestamp": String(ctx.now), "webhook-signature": `v1,${mac}` } };
}

export async function verify(ctx) {
    new DodoPayments({ bearerToken: "fake" }).webhooks.unwrap(ctx.body.toString(), { headers: ctx.headers, key: ctx.secret });
    return true;
}
