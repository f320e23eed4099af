// LiveKit's server SDK: verifies. It can also sign, but only with the current time.
import { createHash } from "node:crypto";
import jwt from "jsonwebtoken";
import { WebhookReceiver } from "livekit-server-sdk";

export const provider = "livekit";
export const sdk = "livekit-server-sdk@2.19.2";
export const secret = "fakelivekitsecretfakelivekitsecret01";
export const wrongSecret = "fakelivekitsecretfakelivekitsecret02";
export const samples = [
    '{"event":"room_started","room":{"sid":"RM_1","name":"Zo\\u00eb ✓ 你好"},"id":"EV_9pRCGBsHPEiU","createdAt":"1700000000"}',
];
export const bodies = "samples";
// The end of a token: 300 seconds, and a minute for clocks that differ.
export const timestamp = { header: "authorization", tolerance: 300, signed: true };

const KEY = "APIfakekey0001";

export function sign(ctx) {
    const sha256 = createHash("sha256").update(ctx.body).digest("base64");
    const claims = { iss: KEY, nbf: ctx.now, exp: ctx.now + 300, sha256 };
    return { headers: { Authorization: jwt.sign(claims, ctx.secret, { noTimestamp: true }) } };
}

export async function verify(ctx) {
    await new WebhookReceiver(KEY, ctx.secret).receive(ctx.body.toString(), ctx.headers.authorization);
    return true;
}

// Its base64 library ignores invalid characters after the end.
export const laxer = ["junk"];
export const stricter = [];
