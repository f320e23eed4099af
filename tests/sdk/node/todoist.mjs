// Todoist's SDK: verifies with the app's client secret.
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";

const { verifyWebhookSignature } = createRequire(import.meta.url)("@doist/todoist-sdk");

export const provider = "todoist";
export const sdk = "@doist/todoist-sdk@17.0.0";
export const secret = "fake-todoist-client-secret-0001";
export const wrongSecret = "fake-todoist-client-secret-0002";
export const route = {};
export const contentType = "application/json";
export const bodies = "any";

// The SDK cannot sign; this is the documented recipe.
export function sign(ctx) {
    const mac = createHmac("sha256", ctx.secret).update(ctx.body).digest("base64");
    return { headers: { "X-Todoist-Hmac-SHA256": mac, "X-Todoist-Delivery-ID": ctx.id } };
}

export async function verify(ctx) {
    const signature = ctx.headers["x-todoist-hmac-sha256"] ?? "";
    return verifyWebhookSignature({ rawBody: ctx.body, signature, clientSecret: ctx.secret });
}

export const laxer = [
    "malformed", // base64 without its padding
];
export const stricter = [];
