// Razorpay's SDK: verifies.
import { createHmac } from "node:crypto";
import Razorpay from "razorpay";

export const provider = "razorpay";
export const sdk = "razorpay@2.9.8";
export const secret = "fake-razorpay-secret";
export const wrongSecret = "fake-razorpay-other";
export const route = {};
export const contentType = "application/json";
export const bodies = "any";

// The SDK cannot sign; this is the documented recipe.
export function sign(ctx) {
    const mac = createHmac("sha256", ctx.secret).update(ctx.body).digest("hex");
    return { headers: { "X-Razorpay-Signature": mac } };
}

export async function verify(ctx) {
    const signature = ctx.headers["x-razorpay-signature"];
    return Razorpay.validateWebhookSignature(ctx.body.toString(), signature, ctx.secret);
}

export const laxer = [];
export const stricter = [];
