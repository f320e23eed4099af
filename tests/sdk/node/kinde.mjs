// Kinde's library verifies with keys from a server; the whole body is the token.
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { decodeWebhook } from "@kinde/webhooks";
import jwt from "jsonwebtoken";

const [right, wrong] = [0, 1].map(() => generateKeyPairSync("rsa", { modulusLength: 2048 }));
const KID = "b2:1e:fake";
const KEYS = JSON.stringify({ keys: [{ ...right.publicKey.export({ format: "jwk" }), kid: KID, alg: "RS256", use: "sig" }] });
const server = http.createServer((_, response) => response.end(KEYS)).listen(0, "127.0.0.1").unref();
const folder = mkdtempSync(join(tmpdir(), "hookgate-sdk-kinde-"));
const file = join(folder, "jwks.json");
writeFileSync(file, KEYS);
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

export const provider = "kinde";
export const sdk = "@kinde/webhooks@1.0.0";
export const route = { secret: null, jwks: { file } };
export const secret = right.privateKey.export({ type: "pkcs8", format: "pem" });
export const wrongSecret = wrong.privateKey.export({ type: "pkcs8", format: "pem" });
export const contentType = "application/jwt";
export const samples = [
    '{"type":"user.created","event_id":"event_01898c5d0ec1a4a24b5e1c2c6e6d3c11","source":"admin","data":{"user":{"first_name":"Zo\\u00eb ✓ 你好"}}}',
];
export const bodies = "samples";
// Its decoder ignores spaces.
export const laxer = ["whitespace"];

export function sign(ctx) {
    const text = ctx.body.toString();
    // An event that was signed before is signed again as the same event.
    const event = text.startsWith("{") ? JSON.parse(text) : jwt.decode(text);
    const options = { algorithm: "RS256", keyid: KID, noTimestamp: true };
    return { headers: {}, body: jwt.sign(event, ctx.secret, options) };
}

export async function verify(ctx) {
    return await decodeWebhook(ctx.body.toString(), `http://127.0.0.1:${server.address().port}`) !== null;
}
