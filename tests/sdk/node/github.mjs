// Octokit's webhook methods, over events that GitHub really sent.
import { createRequire } from "node:module";

import { sign as signBody, verify as verifyBody } from "@octokit/webhooks-methods";

const examples = createRequire(import.meta.url)("@octokit/webhooks-examples");

export const provider = "github";
export const sdk = "@octokit/webhooks-methods@6.0.0";
export const secret = "It's a Secret to Everybody";
export const wrongSecret = "It's a secret to everybody";
export const bodies = "any";
// One example of each event.
export const samples = (examples.default ?? examples).map(({ examples: [event] }) => JSON.stringify(event));

export async function sign({ secret, body, id }) {
    const signature = await signBody(secret, body.toString());
    return { headers: { "X-Hub-Signature-256": signature, "X-GitHub-Delivery": id, "X-GitHub-Event": "push" } };
}

export function verify({ secret, headers, body }) {
    return verifyBody(secret, body.toString(), headers["x-hub-signature-256"]);
}
