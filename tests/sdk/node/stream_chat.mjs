// Stream's SDK: verifies.
import { createHmac } from "node:crypto";
import { StreamChat } from "stream-chat";

export const provider = "stream_chat";
export const sdk = "stream-chat@9.53.0";
export const secret = "fakeStreamSecret01";
export const wrongSecret = "fakeStreamSecret02";
export const route = {};
export const contentType = "application/json";
export const bodies = "any";

// The SDK cannot sign; this is the documented recipe.
export function sign(ctx) {
    const mac = createHmac("sha256", ctx.secret).update(ctx.body).digest("hex");
    return { headers: { "X-Signature": mac } };
}

export async function verify(ctx) {
    return new StreamChat("key", ctx.secret).verifyWebhook(ctx.body, ctx.headers["x-signature"]);
}

export const laxer = [];
export const stricter = [];
