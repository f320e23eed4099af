// Pusher's library verifies.
import { createHmac } from "node:crypto";
import Pusher from "pusher";

export const provider = "pusher";
export const sdk = "pusher@5.3.4";
export const secret = "7ad3773142a6692b25b8";
export const wrongSecret = "7ad3773142a6692b25b9";
export const bodies = "samples";
export const samples = ['{"time_ms":1700000000123,"events":[{"name":"channel_occupied","channel":"Zoë ✓"}]}'];
export const laxer = [];

export const stricter = ["duplicate_header", "empty", "malformed", "missing", "unsigned"];

export function sign(ctx) {
    const mac = createHmac("sha256", ctx.secret).update(ctx.body).digest("hex");
    return { headers: { "X-Pusher-Key": "278d425bdf160c739803", "X-Pusher-Signature": mac } };
}

export async function verify(ctx) {
    const pusher = new Pusher({ appId: "1", key: "278d425bdf160c739803", secret: ctx.secret });
    return pusher.webhook({ headers: ctx.headers, rawBody: ctx.body.toString() }).isValid();
}
