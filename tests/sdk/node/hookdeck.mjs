// Hookdeck's SDK verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import helpers from "@hookdeck/sdk/webhooks/helpers.js";

export const provider = "hookdeck";
export const sdk = "@hookdeck/sdk@0.4.0";
export const secret = "fake-hookdeck-secret-0001";
export const wrongSecret = "fake-hookdeck-secret-0002";
export const bodies = "any";

export function sign(ctx) {
    const mac = createHmac("sha256", ctx.secret).update(ctx.body).digest("base64");
    return { headers: { "X-Hookdeck-Signature": mac, "X-Hookdeck-EventID": ctx.id } };
}

export async function verify(ctx) {
    const given = { headers: ctx.headers, rawBody: ctx.body.toString(), signingSecret: ctx.secret };
    return (await helpers.verifyWebhookSignature(given)).isValidSignature;
}

export const laxer = ["duplicate_header"];
