// Twilio's helper library signs and verifies forms.
import twilio from "twilio";

export const provider = "twilio";
export const sdk = "twilio@6.2.0";
export const secret = "12345fakeauthtoken";
export const wrongSecret = "12345fakeauthtokem";
export const bodies = "samples";
export const contentType = "application/x-www-form-urlencoded";
export const samples = ["Digits=1234&To=%2B18005551212&Body=Zo%C3%AB+%E2%9C%93+10.0"];
export const laxer = [];

export function sign(ctx) {
    const fields = Object.fromEntries(new URLSearchParams(ctx.body.toString()));
    return { headers: { "X-Twilio-Signature": twilio.getExpectedTwilioSignature(ctx.secret, ctx.url, fields) } };
}

export async function verify(ctx) {
    const fields = Object.fromEntries(new URLSearchParams(ctx.body.toString()));
    return twilio.validateRequest(ctx.secret, ctx.headers["x-twilio-signature"], ctx.url, fields);
}
