// Twitter's own receiver of webhooks verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import { validateSignature } from "twitter-autohook";

export const provider = "twitter";
export const sdk = "twitter-autohook@1.7.2";
export const secret = "fakeConsumerSecret0001";
export const wrongSecret = "fakeConsumerSecret0002";
export const bodies = "any";

export function sign(ctx) {
    const mac = createHmac("sha256", ctx.secret).update(ctx.body).digest("base64");
    return { headers: { "x-twitter-webhooks-signature": `sha256=${mac}` } };
}

export function verify(ctx) {
    return validateSignature(ctx.headers, { consumer_secret: ctx.secret }, ctx.body.toString());
}

export const laxer = [];
