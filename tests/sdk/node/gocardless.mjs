// GoCardless's SDK: verifies.
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";

const { verifySignature } = createRequire(import.meta.url)("gocardless-nodejs/webhooks");

export const provider = "gocardless";
export const sdk = "gocardless-nodejs@10.1.2";
export const secret = "fake-gocardless-secret";
export const wrongSecret = "fake-gocardless-other";
export const route = {};
export const contentType = "application/json";
export const bodies = "any";

// The SDK cannot sign; this is the documented recipe.
export function sign(ctx) {
    const mac = createHmac("sha256", ctx.secret).update(ctx.body).digest("hex");
    return { headers: { "Webhook-Signature": mac } };
}

export async function verify(ctx) {
    verifySignature(ctx.body, ctx.secret, ctx.headers["webhook-signature"]);
    return true; // it throws where it does not match
}

export const laxer = [
    "junk", // Buffer.from stops at the first character that is not hexadecimal
    "duplicate_header", // what follows the first value is passed over
];
export const stricter = [];
