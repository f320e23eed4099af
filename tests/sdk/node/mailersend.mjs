// MailerSend's SDK: verifies.
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";

const { MailerSendUtils } = createRequire(import.meta.url)("mailersend/lib/services/mailersend.utils");

export const provider = "mailersend";
export const sdk = "mailersend@3.4.0";
export const secret = "fakeMailerSendSecret01";
export const wrongSecret = "fakeMailerSendSecret02";
export const route = {};
export const contentType = "application/json";
export const bodies = "any";

// The SDK cannot sign; this is the documented recipe.
export function sign(ctx) {
    const mac = createHmac("sha256", ctx.secret).update(ctx.body).digest("hex");
    return { headers: { "Signature": mac } };
}

export async function verify(ctx) {
    return MailerSendUtils.verifyWebHook(ctx.body, ctx.headers.signature, ctx.secret);
}

export const laxer = [];
export const stricter = [];
