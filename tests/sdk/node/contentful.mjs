// Contentful's toolkit signs and verifies.
import { signRequest, verifyRequest } from "@contentful/node-apps-toolkit";

export const provider = "contentful";
export const sdk = "@contentful/node-apps-toolkit@3.16.1";
export const secret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
export const wrongSecret = "0123456789abcdee0123456789abcdee0123456789abcdee0123456789abcdee";
export const bodies = "any";
export const timestamp = { header: "x-contentful-timestamp", tolerance: 30, signed: true };
export const laxer = ["future", "duplicate_header", "malformed"];

export function sign(ctx) {
    const path = new URL(ctx.url).pathname;
    const headers = { "Content-Type": "application/json", "X-Contentful-Topic": "ContentManagement.Entry.publish" };
    const request = { method: ctx.method, path, headers, body: ctx.body.toString() };
    return { headers: { ...headers, ...signRequest(ctx.secret, request, ctx.now * 1000) } };
}

export async function verify(ctx) {
    const url = new URL(ctx.url);
    const request = { method: ctx.method, path: url.pathname + url.search, headers: ctx.headers, body: ctx.body.toString() };
    return verifyRequest(ctx.secret, request, 30);
}
