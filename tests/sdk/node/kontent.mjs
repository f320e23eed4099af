// Kontent.ai's helper verifies.
import { createHmac } from "node:crypto";
import { signatureHelper } from "@kontent-ai/webhook-helper";

export const provider = "kontent";
export const sdk = "@kontent-ai/webhook-helper@3.0.3";
export const secret = "fake-kontent-secret-0001";
export const wrongSecret = "fake-kontent-secret-0002";
export const bodies = "any";
export const laxer = [];

export function sign(ctx) {
    const mac = createHmac("sha256", ctx.secret).update(ctx.body).digest("base64");
    return { headers: { "X-Kontent-ai-Signature": mac } };
}

export async function verify(ctx) {
    return signatureHelper.isValidSignatureFromString(ctx.body.toString(), ctx.secret, ctx.headers["x-kontent-ai-signature"]);
}
