// The SDK of Coinbase Commerce under the name `coinbase`: signs and verifies.
import commerce from "coinbase-commerce-node";

const { Webhook } = commerce;

export const provider = "coinbase";
export const sdk = "coinbase-commerce-node@1.0.4";
export const secret = "fake-coinbase-secret";
export const wrongSecret = "fake-coinbase-other";
export const route = {};
export const contentType = "application/json";
export const bodies = "any";

export function sign(ctx) {
    const mac = Webhook.computeSignature(ctx.body.toString(), ctx.secret);
    return { headers: { "X-CC-Webhook-Signature": mac } };
}

export async function verify(ctx) {
    return Webhook.verifySigHeader(ctx.body.toString(), ctx.headers["x-cc-webhook-signature"], ctx.secret);
}

export const laxer = [];
export const stricter = [];
