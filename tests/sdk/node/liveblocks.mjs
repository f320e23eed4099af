// Liveblocks's SDK verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import { WebhookHandler } from "@liveblocks/node";

export const provider = "liveblocks";
export const sdk = "@liveblocks/node@3.24.2";
export const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
export const wrongSecret = "whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
export const samples = ["{\"type\":\"storageUpdated\",\"data\":{\"roomId\":\"r\",\"note\":\"Zo\\u00eb ✓ 你好\",\"n\":10.0}}"];
export const bodies = "samples";
export const timestamp = { header: "webhook-timestamp", tolerance: 300, signed: true };
export const laxer = ["duplicate_header", "junk", "junk_before", "malformed"];

export function sign(ctx) {
    const key = Buffer.from(ctx.secret.slice(6), "base64");
    const mac = createHmac("sha256", key).update(`${ctx.id}.${ctx.now}.`).update(ctx.body).digest("base64");
    return { headers: { "webhook-id": ctx.id, "webhook-timestamp": String(ctx.now), "webhook-signature": `v1,${mac}` } };
}

export async function verify(ctx) {
    new WebhookHandler(ctx.secret).verifyRequest({ headers: ctx.headers, rawBody: ctx.body.toString() });
    return true;
}
