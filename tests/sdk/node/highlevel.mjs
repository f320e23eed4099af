// HighLevel's SDK verifies with the public key; the signing key is one of our own.
import { createPrivateKey, createPublicKey, sign as signBytes } from "node:crypto";
import { WebhookManager } from "@gohighlevel/api-client";

const keyOf = (byte) => createPrivateKey({
    key: Buffer.from(`302e020100300506032b657004220420${byte.repeat(32)}`, "hex"), format: "der", type: "pkcs8",
});
const pem = (key) => createPublicKey(key).export({ format: "pem", type: "spki" }).trim();
const key = keyOf("07");
const other = keyOf("08");

export const provider = "highlevel";
export const sdk = "@gohighlevel/api-client@3.1.0";
export const secret = pem(key);
export const wrongSecret = pem(other);
// One key signs for all customers, so the route and each body must name the account.
export const route = { audience: "loc_1" };
export const bodies = "samples";
export const samples = [
    '{"type":"ContactCreate","locationId":"loc_1","id":"c_1","email":"a@example.com"}',
    '{"locationId":"loc_1","type":"NoteCreate", "total":10.0,"rate":1E3,"note":"Zo\\u00eb \\/ ✓ 日本 🎉"}',
    '{\r\n\t"locationId" : "loc_1",\r\n\t"list" : [ 1, 2 ]\r\n}\r\n',
];

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const webhooks = new WebhookManager(silent);

export function sign(ctx) {
    return { headers: { "x-ghl-signature": signBytes(null, ctx.body, ctx.secret === secret ? key : other).toString("base64") } };
}

export function verify(ctx) {
    return webhooks.verifyEd25519Signature(ctx.body, ctx.headers["x-ghl-signature"], ctx.secret);
}

export const laxer = ["malformed", "junk", "duplicate_header"]; // base64 is read with whatever foreign characters stand in it
