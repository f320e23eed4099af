// Shortcut's client signs and verifies.
import { signShortcutWebhookBody, verifyShortcutWebhookSignature } from "@shortcut/client/webhooks";

export const provider = "shortcut";
export const sdk = "@shortcut/client@3.4.1";
export const secret = "fake-shortcut-secret-0001";
export const wrongSecret = "fake-shortcut-secret-0002";
export const bodies = "any";
export const laxer = [];

export async function sign(ctx) {
    return { headers: { "Payload-Signature": await signShortcutWebhookBody(ctx.secret, ctx.body) } };
}

export async function verify(ctx) {
    return verifyShortcutWebhookSignature(ctx.secret, ctx.body, ctx.headers["payload-signature"]);
}
