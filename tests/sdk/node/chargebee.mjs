// Chargebee's SDK compares the user name and password in the request; nothing is signed.
import { basicAuthValidator } from "chargebee";

export const provider = "chargebee";
export const sdk = "chargebee@3.33.0";
export const secret = "webhooks:fake-password-0001";
export const wrongSecret = "webhooks:fake-password-0002";
export const bodies = "any";

export function sign(ctx) {
    return { headers: { Authorization: `Basic ${Buffer.from(ctx.secret).toString("base64")}` } };
}

export async function verify(ctx) {
    await basicAuthValidator((user, password) => `${user}:${password}` === ctx.secret)(ctx.headers);
    return true;
}

export const laxer = ["malformed", "junk"]; // base64 is read with whatever foreign characters stand in it
