// Onfido's SDK: verifies, and parses the JSON.
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";

const { WebhookEventVerifier } = createRequire(import.meta.url)("@onfido/api");

export const provider = "onfido";
export const sdk = "@onfido/api@6.2.0";
export const secret = "fakeOnfidoToken01";
export const wrongSecret = "fakeOnfidoToken02";
export const route = {};
export const contentType = "application/json";
export const bodies = "any";

// The SDK cannot sign; this is the documented recipe.
export function sign(ctx) {
    const mac = createHmac("sha256", ctx.secret).update(ctx.body).digest("hex");
    return { headers: { "X-SHA2-Signature": mac } };
}

export async function verify(ctx) {
    new WebhookEventVerifier(ctx.secret).readPayload(ctx.body, ctx.headers["x-sha2-signature"]);
    return true;
}

export const laxer = [
    "junk", // Buffer.from stops at the first character that is not hexadecimal
    "duplicate_header", // what follows the first value is passed over
];
export const stricter = [];
