// Discord's library verifies with the application's public key.
import { createPrivateKey, createPublicKey, sign as signBytes } from "node:crypto";
import { verifyKey } from "discord-interactions";

export const provider = "discord";
export const sdk = "discord-interactions@4.4.0";
const key = createPrivateKey({ key: Buffer.from("302e020100300506032b657004220420" + "07".repeat(32), "hex"), format: "der", type: "pkcs8" });
const other = createPrivateKey({ key: Buffer.from("302e020100300506032b657004220420" + "08".repeat(32), "hex"), format: "der", type: "pkcs8" });
const raw = (private_) => createPublicKey(private_).export({ format: "der", type: "spki" }).subarray(-32).toString("hex");
export const secret = raw(key);
export const wrongSecret = raw(other);
export const bodies = "any";
export const timestamp = { header: "x-signature-timestamp", tolerance: 300, signed: true };
export const laxer = ["stale", "future"];

export function sign(ctx) {
    const signer = ctx.secret === secret ? key : other;
    const mac = signBytes(null, Buffer.concat([Buffer.from(ctx.now + ""), ctx.body]), signer).toString("hex");
    return { headers: { "X-Signature-Ed25519": mac, "X-Signature-Timestamp": String(ctx.now) } };
}

export async function verify(ctx) {
    return await verifyKey(ctx.body, ctx.headers["x-signature-ed25519"], ctx.headers["x-signature-timestamp"], ctx.secret);
}
