// Bolt's verification of requests; it cannot sign, so the signature is made as Slack documents it.
import { createHmac } from "node:crypto";

import bolt from "@slack/bolt";

export const provider = "slack";
export const sdk = "@slack/bolt@5.1.0";
export const secret = "8f742231b10e8888abcd99yyyzzz85a5";
export const wrongSecret = "8f742231b10e8888abcd99yyyzzz85a6";
export const bodies = "any";
export const samples = ["token=abc&command=%2Fweather&text=94070+%E2%9C%93&trigger_id=13345224609.738474920"];
export const timestamp = { header: "x-slack-request-timestamp", tolerance: 300, signed: true };
export const laxer = [
    // Bolt only refuses timestamps that are too old.
    "future",
    // The signature is split at each `=`, and text after the second one is ignored.
    "junk",
];

export function sign({ secret, body, now }) {
    const digest = createHmac("sha256", secret).update(`v0:${now}:`).update(body).digest("hex");
    return { headers: { "X-Slack-Request-Timestamp": String(now), "X-Slack-Signature": `v0=${digest}` } };
}

export function verify({ secret, headers, body }) {
    bolt.verifySlackRequest({
        signingSecret: secret,
        body: body.toString(),
        headers: {
            "x-slack-signature": headers["x-slack-signature"],
            "x-slack-request-timestamp": headers["x-slack-request-timestamp"] && Number(headers["x-slack-request-timestamp"]),
        },
    });
    return true;
}
