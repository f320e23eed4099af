// Modern Treasury's SDK: signs and verifies.
import ModernTreasury from "modern-treasury";

export const provider = "modern_treasury";
export const sdk = "modern-treasury@3.3.0";
export const secret = "fake-mt-webhook-key";
export const wrongSecret = "fake-mt-other-key";
export const route = {};
export const contentType = "application/json";
export const bodies = "any";

const client = new ModernTreasury({ apiKey: "fake", organizationID: "fake" });

export function sign(ctx) {
    const mac = client.webhooks.getSignature(ctx.body.toString(), { key: ctx.secret });
    return { headers: { "X-Signature": mac } };
}

export async function verify(ctx) {
    const signature = ctx.headers["x-signature"];
    return client.webhooks.validateSignature(ctx.body.toString(), signature, { key: ctx.secret });
}

export const laxer = [];
export const stricter = [];
