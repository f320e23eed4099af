// Stripe's own library: signs test headers, and verifies with constructEvent.
import Stripe from "stripe";

const stripe = new Stripe("not-a-key");

export const provider = "stripe";
export const sdk = "stripe@23.1.0";
export const secret = "whsec_5f2c1f0e8d7b4a6990aa";
export const wrongSecret = "whsec_5f2c1f0e8d7b4a6990ab";
export const bodies = "any";
export const timestamp = { header: "stripe-signature", tolerance: 300, signed: true };
export const laxer = [
    // Only the age is checked, and a time in the future has a negative age.
    "future",
    // Unknown entries and additional headers are ignored as long as one signature matches.
    "duplicate_header",
    "junk",
    // A TextDecoder removes the byte-order mark before the body is hashed.
    "bom",
];

export function sign({ secret, body, now }) {
    const header = stripe.webhooks.generateTestHeaderString({ payload: body.toString(), secret, timestamp: now });
    return { headers: { "Stripe-Signature": header } };
}

export function verify({ secret, headers, body }) {
    stripe.webhooks.constructEvent(body, headers["stripe-signature"], secret);
    return true;
}
