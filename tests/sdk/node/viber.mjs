// Viber's bot SDK: verifies.
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";

const MessageValidator = createRequire(import.meta.url)("viber-bot/lib/message/message-validator");

export const provider = "viber";
export const sdk = "viber-bot@1.0.18";
export const secret = "fake-viber-token-01";
export const wrongSecret = "fake-viber-token-02";
export const route = {};
export const contentType = "application/json";
export const bodies = "any";

// The SDK cannot sign; this is the documented recipe.
export function sign(ctx) {
    const mac = createHmac("sha256", ctx.secret).update(ctx.body).digest("hex");
    return { headers: { "X-Viber-Content-Signature": mac } };
}

export async function verify(ctx) {
    const validator = new MessageValidator({ debug() {} }, ctx.secret);
    return validator.validateMessage(ctx.headers["x-viber-content-signature"], ctx.body);
}

export const laxer = [];
export const stricter = [];
