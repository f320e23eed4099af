// Zoom's Rivet: verifies, over the parsed JSON serialized again.
import { createHmac } from "node:crypto";
import { AwsLambdaReceiver } from "@zoom/rivet/meetings";

export const provider = "zoom";
export const sdk = "@zoom/rivet@0.4.0";
export const secret = "fakeZoomSecretToken01";
export const wrongSecret = "fakeZoomSecretToken02";
export const route = {};
export const contentType = "application/json";
export const samples = [
    '{"event":"meeting.started","event_ts":1700000000123,"payload":{"object":{"topic":"Zoë ✓ 你好"}}}',
];
export const bodies = "samples"; // JSON.stringify has to give back the bytes that were sent

export function sign(ctx) {
    const message = `v0:${ctx.now}:${ctx.body.toString()}`;
    const mac = createHmac("sha256", ctx.secret).update(message).digest("hex");
    return { headers: { "x-zm-signature": `v0=${mac}`, "x-zm-request-timestamp": String(ctx.now) } };
}

export async function verify(ctx) {
    const receiver = new AwsLambdaReceiver({ webhooksSecretToken: ctx.secret });
    receiver.init({ eventEmitter: { emit: async () => {} } });
    const debug = console.debug;
    console.debug = () => {}; // it prints every request
    try {
        const answer = await receiver.start()({ body: ctx.body.toString(), headers: ctx.headers }, {});
        return answer.statusCode === 200;
    } finally {
        console.debug = debug;
    }
}

export const timestamp = { header: "x-zm-request-timestamp", tolerance: 300, signed: true };
export const laxer = [
    "stale", // looks at no window
    "future", // looks at no window
    "reserialised",
    "whitespace",
];
export const stricter = [];
