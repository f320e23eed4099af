// Sanity's toolkit signs and verifies.
import { encodeSignatureHeader, isValidRequest, SIGNATURE_HEADER_NAME } from "@sanity/webhook";

export const provider = "sanity";
export const sdk = "@sanity/webhook@4.0.4";
export const secret = "fake-sanity-secret-0001";
export const wrongSecret = "fake-sanity-secret-0002";
export const bodies = "any";
export const timestamp = { header: "sanity-webhook-signature", tolerance: 300, signed: true };
// It does not check the age of the timestamp.
export const laxer = ["stale", "future"];

export async function sign(ctx) {
    const signature = await encodeSignatureHeader(ctx.body.toString(), ctx.now * 1000, ctx.secret);
    return { headers: { [SIGNATURE_HEADER_NAME]: signature, "idempotency-key": ctx.id, "sanity-operation": "create" } };
}

export async function verify(ctx) {
    return isValidRequest({ headers: ctx.headers, body: ctx.body.toString() }, ctx.secret);
}
