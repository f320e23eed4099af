// Resend's SDK verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import { Resend } from "resend";

export const provider = "resend";
export const sdk = "resend@6.38.0";
export const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
export const wrongSecret = "whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
export const bodies = "any";
export const timestamp = { header: "svix-timestamp", tolerance: 300, signed: true };
export const laxer = ["duplicate_header","junk"];

export function sign(ctx) {
    const key = Buffer.from(ctx.secret.slice(6), "base64");
    const mac = createHmac("sha256", key).update(`${ctx.id}.${ctx.now}.`).update(ctx.body).digest("base64");
    return { headers: { "svix-id": ctx.id, "svix-timestamp": String(ctx.now), "svix-signature": `v1,${mac}` } };
}

export async function verify(ctx) {
    new Resend("re_fake").webhooks.verify({ payload: ctx.body.toString(), headers: { id: ctx.headers["svix-id"], timestamp: ctx.headers["svix-timestamp"], signature: ctx.headers["svix-signature"] }, webhookSecret: ctx.secret });
    return true;
}
