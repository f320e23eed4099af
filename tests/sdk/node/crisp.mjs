// Crisp's library verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import { Crisp } from "crisp-api";

export const provider = "crisp";
export const sdk = "crisp-api@11.3.0";
export const secret = "fake-crisp-secret-0001";
export const wrongSecret = "fake-crisp-secret-0002";
export const bodies = "samples"; // JSON.stringify has to give back the bytes that were sent
export const samples = [
    '{"website_id":"42286ab3-b29a-4fde-8538-da0ae501d825","event":"message:send","data":{"content":"Zoë ✓ 日本 🎉","fingerprint":163239623329114},"timestamp":1700000000123}',
    '{"website_id":"42286ab3-b29a-4fde-8538-da0ae501d825","event":"session:set_data","data":{"data":{"total":10.5,"q":"\\"\\\\/"}},"timestamp":1700000000123}',
];
export const timestamp = { header: "x-crisp-request-timestamp", tolerance: 300, signed: true };

const crisp = new Crisp();

export function sign({ secret: key, body, now }) {
    const mac = createHmac("sha256", key).update(`[${now}123;`).update(body).update("]").digest("hex");
    return { headers: { "X-Crisp-Signature": mac, "X-Crisp-Request-Timestamp": `${now}123` } };
}

// The function that verifies widgets also verifies hooks, without a running loopback.
export function verify({ secret: key, headers, body }) {
    const { "x-crisp-request-timestamp": time, "x-crisp-signature": signature } = headers;
    return crisp.verifyWidget(key, JSON.parse(body.toString()), time, signature);
}

export const laxer = ["reserialised", "whitespace", "stale", "future"];
