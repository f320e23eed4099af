// SendGrid's library verifies with the verification key.
import { createPublicKey, generateKeyPairSync, sign as signBytes } from "node:crypto";
import sendgrid from "@sendgrid/eventwebhook";

export const provider = "sendgrid";
export const sdk = "@sendgrid/eventwebhook@8.0.0";
const pair = () => generateKeyPairSync("ec", { namedCurve: "prime256v1" });
const key = pair();
const other = pair();
const text = (one) => createPublicKey(one.privateKey).export({ format: "der", type: "spki" }).toString("base64");
const library = new sendgrid.EventWebhook();
export const secret = text(key);
export const wrongSecret = text(other);
export const bodies = "any";
export const timestamp = { header: "x-twilio-email-event-webhook-timestamp", tolerance: 300, signed: true };
export const laxer = ["stale", "future", "duplicate_header", "junk", "malformed"];

// Makes a signature whose base64 ends in `=`. Only then does the library ignore characters after it, and the length of
// signatures varies.
function padded(text, key) {
    for (;;) {
        const bytes = signBytes("sha256", text, key);
        if (bytes.length % 3 !== 0) return bytes.toString("base64");
    }
}

export function sign(ctx) {
    const signer = ctx.secret === secret ? key : other;
    const text = Buffer.concat([Buffer.from(String(ctx.now)), ctx.body]);
    return { headers: {
        "X-Twilio-Email-Event-Webhook-Signature": padded(text, signer.privateKey),
        "X-Twilio-Email-Event-Webhook-Timestamp": String(ctx.now),
    } };
}

export async function verify(ctx) {
    const key = library.convertPublicKeyToECDSA(ctx.secret);
    const read = (name) => ctx.headers[`x-twilio-email-event-webhook-${name}`];
    return library.verifySignature(key, ctx.body, read("signature"), read("timestamp"));
}
