// Square's SDK verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import { WebhooksHelper } from "square";

export const provider = "square";
export const sdk = "square@46.0.0";
export const secret = "fake-square-signature-key";
export const wrongSecret = "fake-square-signature-kez";
export const bodies = "any";
export const laxer = [];

export function sign(ctx) {
    const mac = createHmac("sha256", ctx.secret).update(ctx.url).update(ctx.body).digest("base64");
    return { headers: { "x-square-hmacsha256-signature": mac } };
}

export async function verify(ctx) {
    return await WebhooksHelper.verifySignature({
        requestBody: ctx.body.toString(),
        signatureHeader: ctx.headers["x-square-hmacsha256-signature"],
        signatureKey: ctx.secret,
        notificationUrl: ctx.url,
    });
}
