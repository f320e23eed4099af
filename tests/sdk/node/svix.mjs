// Svix's own library.
import { Webhook } from "svix";

export const provider = "svix";
export const sdk = "svix@2.5.0";
export const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
export const wrongSecret = "whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
export const bodies = "any";
export const timestamp = { header: "svix-timestamp", tolerance: 300, signed: true };
// Repeated headers arrive joined. The time is read up to the first character that is not a digit, and invalid entries
// of the signature list are ignored.
export const laxer = ["duplicate_header", "junk"];

export function sign({ secret, body, now, id }) {
    const signature = new Webhook(secret).sign(id, new Date(now * 1000), body.toString());
    return { headers: { "svix-id": id, "svix-timestamp": String(now), "svix-signature": signature } };
}

export function verify({ secret, headers, body }) {
    new Webhook(secret).verify(body, headers);
    return true;
}
