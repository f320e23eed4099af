// Mollie's SDK: next-gen webhooks, signs and verifies.
import { SignatureValidator } from "mollie-api-typescript";

export const provider = "mollie";
export const sdk = "mollie-api-typescript@1.12.28";
export const secret = "fake_mollie_secret";
export const wrongSecret = "fake_mollie_other";
export const route = {};
export const contentType = "application/json";
export const bodies = "any";

export async function sign(ctx) {
    const mac = await SignatureValidator.createSignature(ctx.body.toString(), ctx.secret);
    return { headers: { "X-Mollie-Signature": `sha256=${mac}` } };
}

export async function verify(ctx) {
    return SignatureValidator.validate(ctx.body.toString(), ctx.secret, ctx.headers["x-mollie-signature"]);
}

export const laxer = [];
export const stricter = [];
