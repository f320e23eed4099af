// EasyPost's SDK: verifies.
import { createHmac } from "node:crypto";
import EasyPostClient from "@easypost/api";

export const provider = "easypost";
export const sdk = "@easypost/api@8.9.0";
export const secret = "fake-easypost-secret";
export const wrongSecret = "fake-easypost-other";
export const route = {};
export const contentType = "application/json";
export const samples = [
    '{"id":"evt_1","object":"Event","description":"tracker.updated","result":{"weight":10.0}}',
];
export const bodies = "any";

// The SDK cannot sign; this is the documented recipe.
export function sign(ctx) {
    const mac = createHmac("sha256", ctx.secret).update(ctx.body).digest("hex");
    return { headers: { "X-Hmac-Signature": `hmac-sha256-hex=${mac}` } };
}

const client = new EasyPostClient("EZTKfake");

export async function verify(ctx) {
    client.Utils.validateWebhook(ctx.body, ctx.headers, ctx.secret);
    return true;
}

export const laxer = [];
export const stricter = [];
