// Telnyx' SDK verifies with the account's public key.
import { createPrivateKey, createPublicKey, sign as signBytes } from "node:crypto";
import Telnyx from "telnyx";

export const provider = "telnyx";
export const sdk = "telnyx@7.24.0";
const key = createPrivateKey({ key: Buffer.from("302e020100300506032b657004220420" + "07".repeat(32), "hex"), format: "der", type: "pkcs8" });
const other = createPrivateKey({ key: Buffer.from("302e020100300506032b657004220420" + "08".repeat(32), "hex"), format: "der", type: "pkcs8" });
const raw = (private_) => createPublicKey(private_).export({ format: "der", type: "spki" }).subarray(-32).toString("base64");
export const secret = raw(key);
export const wrongSecret = raw(other);
export const bodies = "any";
export const timestamp = { header: "telnyx-timestamp", tolerance: 300, signed: true };
export const laxer = [];

export function sign(ctx) {
    const signer = ctx.secret === secret ? key : other;
    const mac = signBytes(null, Buffer.concat([Buffer.from(ctx.now + "|"), ctx.body]), signer).toString("base64");
    return { headers: { "telnyx-signature-ed25519": mac, "telnyx-timestamp": String(ctx.now) } };
}

export async function verify(ctx) {
    await new Telnyx({ apiKey: "fake", publicKey: ctx.secret }).webhooks.unwrap(ctx.body.toString(), { headers: ctx.headers, key: ctx.secret });
    return true;
}
