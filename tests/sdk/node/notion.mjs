// Notion's SDK: signs and verifies.
import { signWebhookPayload, verifyWebhookSignature } from "@notionhq/client";

export const provider = "notion";
export const sdk = "@notionhq/client@5.26.0";
export const secret = "secret_fakeNotionToken01";
export const wrongSecret = "secret_fakeNotionToken02";
export const route = {};
export const contentType = "application/json";
export const bodies = "any";

export async function sign(ctx) {
    const signature = await signWebhookPayload({ body: ctx.body, verificationToken: ctx.secret });
    return { headers: { "X-Notion-Signature": signature } };
}

export async function verify(ctx) {
    const signature = ctx.headers["x-notion-signature"];
    return verifyWebhookSignature({ body: ctx.body, signature, verificationToken: ctx.secret });
}

export const laxer = [];
export const stricter = [];
