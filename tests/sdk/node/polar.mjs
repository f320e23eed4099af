// Polar's SDK verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import { validateEvent, WebhookVerificationError } from "@polar-sh/sdk/webhooks";

export const provider = "polar";
export const sdk = "@polar-sh/sdk@0.49.0";
export const secret = "polar_whs_fakesecret0001";
export const wrongSecret = "polar_whs_fakesecret0002";
export const bodies = "any";
export const timestamp = { header: "webhook-timestamp", tolerance: 300, signed: true };
export const laxer = ["duplicate_header","junk"];

export function sign(ctx) {
    const key = ctx.secret;
    const mac = createHmac("sha256", key).update(`${ctx.id}.${ctx.now}.`).update(ctx.body).digest("base64");
    return { headers: { "webhook-id": ctx.id, "webhook-timestamp": String(ctx.now), "webhook-signature": `v1,${mac}` } };
}

export async function verify(ctx) {
    try { validateEvent(ctx.body, ctx.headers, ctx.secret); } catch (error) { if (error instanceof WebhookVerificationError) return false; }
    return true;
}
