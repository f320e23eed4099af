// Hygraph's own utilities sign and verify.
import { generateWebhookSignature, verifyWebhookSignature } from "@hygraph/utils";

export const provider = "graphcms";
export const sdk = "@hygraph/utils@1.2.1";
export const secret = "fake-hygraph-secret-of-32-chars-1";
export const wrongSecret = "fake-hygraph-secret-of-32-chars-2";
export const bodies = "any";
export const timestamp = { header: "gcms-signature", tolerance: 300, signed: true };

// It signs only with the current time, so the clock is set while it signs.
export function sign(ctx) {
    const clock = Date.now;
    Date.now = () => ctx.now * 1000;
    try {
        return { headers: { "gcms-signature": generateWebhookSignature({ rawPayload: ctx.body.toString(), secret: ctx.secret }) } };
    } finally {
        Date.now = clock;
    }
}

export function verify(ctx) {
    return verifyWebhookSignature({ rawPayload: ctx.body.toString(), signature: ctx.headers["gcms-signature"], secret: ctx.secret });
}

export const laxer = ["junk", "duplicate_header", "stale", "future"];
