// Unit's SDK: verifies, over the parsed JSON serialized again.
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";

const { Unit } = createRequire(import.meta.url)("@unit-finance/unit-node-sdk");

export const provider = "unit";
export const sdk = "@unit-finance/unit-node-sdk@0.41.0";
export const secret = "fake-unit-token-01";
export const wrongSecret = "fake-unit-token-02";
export const route = {};
export const contentType = "application/json";
export const samples = [
    '{"data":[{"id":"53","type":"customer.created","attributes":{"name":"Zoë ✓ 你好"}}]}',
];
export const bodies = "samples"; // JSON.stringify has to give back the bytes that were sent

// The SDK cannot sign; this is the documented recipe.
export function sign(ctx) {
    const mac = createHmac("sha1", ctx.secret).update(ctx.body).digest("base64");
    return { headers: { "X-Unit-Signature": mac } };
}

const unit = new Unit("fake", "https://api.example.com");

export async function verify(ctx) {
    const payload = JSON.parse(ctx.body.toString());
    return unit.webhooks.verify(ctx.headers["x-unit-signature"], ctx.secret, payload);
}

export const laxer = ["reserialised", "whitespace"];
export const stricter = [];
