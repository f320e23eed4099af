// Lark's SDK verifies and decrypts; it cannot sign, so that is done here by the documented recipe.
import { createCipheriv, createHash } from "node:crypto";
import { EventDispatcher } from "@larksuiteoapi/node-sdk";

export const provider = "lark";
export const sdk = "@larksuiteoapi/node-sdk@1.74.0";
export const secret = "fake-lark-encrypt-key-0001";
export const wrongSecret = "fake-lark-encrypt-key-0002";
export const bodies = "samples"; // encrypted, and JSON.stringify has to give back the bytes that were sent
export const samples = ["Zoë ✓ 日本 🎉", "line\nend \"\\/"].map(encrypted);
export const timestamp = { header: "x-lark-request-timestamp", tolerance: 300, signed: true };

const silent = Object.fromEntries(["error", "warn", "info", "debug", "trace"].map((level) => [level, () => {}]));

function encrypted(text) {
    const event = { schema: "2.0", header: { event_id: "e-1", event_type: "im.message.receive_v1" }, event: { text } };
    const start = Buffer.alloc(16, 7);
    const cipher = createCipheriv("aes-256-cbc", createHash("sha256").update(secret).digest(), start);
    const bytes = Buffer.concat([start, cipher.update(JSON.stringify(event)), cipher.final()]);
    return JSON.stringify({ encrypt: bytes.toString("base64") });
}

export function sign({ secret: key, body, now, id }) {
    const hash = createHash("sha256").update(`${now}${id}${key}`).update(body).digest("hex");
    return { headers: { "X-Lark-Signature": hash, "X-Lark-Request-Timestamp": now, "X-Lark-Request-Nonce": id } };
}

export async function verify({ secret: encryptKey, headers, body }) {
    const dispatcher = new EventDispatcher({ encryptKey, logger: silent });
    dispatcher.register({ "im.message.receive_v1": () => "handled" });
    // In the form in which its adapters pass a request.
    const data = Object.assign(Object.create({ headers }), JSON.parse(body.toString()));
    return await dispatcher.invoke(data) === "handled";
}

export const laxer = ["reserialised", "whitespace", "stale", "future"];
