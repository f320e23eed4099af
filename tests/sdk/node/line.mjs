// LINE's SDK: verifies.
import { createHmac } from "node:crypto";
import { validateSignature } from "@line/bot-sdk";

export const provider = "line";
export const sdk = "@line/bot-sdk@11.0.0";
export const secret = "fakeLineChannelSecret01";
export const wrongSecret = "fakeLineChannelSecret02";
export const route = {};
export const contentType = "application/json";
export const samples = [
    '{"destination":"U8e742f61d673b39c7fff3cecb7536ef0","events":[]}',
];
export const bodies = "any";

// The SDK cannot sign; this is the documented recipe.
export function sign(ctx) {
    const mac = createHmac("sha256", ctx.secret).update(ctx.body).digest("base64");
    return { headers: { "x-line-signature": mac } };
}

export async function verify(ctx) {
    return validateSignature(ctx.body, ctx.secret, ctx.headers["x-line-signature"]);
}

export const laxer = [
    "junk", // Buffer.from passes over what is not base64
    "duplicate_header", // what follows the first value is passed over
    "malformed",
];
export const stricter = [];
