// Signatures of the gate for the app. The libraries of Standard Webhooks in Node and Python accept them. Ed25519, which
// these libraries do not support, is verified by the specification.

import { execFileSync } from "node:child_process";
import { createHash, createHmac, createPrivateKey, createPublicKey, randomBytes, verify as checkSignature } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";

import { ORIGIN } from "./gate.mjs";

const SECRETS = [0, 1].map(() => `whsec_${randomBytes(32).toString("base64")}`);
const SEED = createHash("sha256").update("a seed of a test").digest();
const TRANSPORTS = ["plain", "chunked", "h2"];
const SENDERS_SECRET = "fake-github-secret-0001";
const PUBLIC = createPublicKey(createPrivateKey({
    key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), SEED]),
    format: "der",
    type: "pkcs8",
}));

const PYTHON = `
import base64, json, sys
from standardwebhooks.webhooks import Webhook
asked = json.load(sys.stdin)
try:
    Webhook(asked["secret"]).verify(base64.b64decode(asked["body"]), asked["headers"])
    print("taken")
except Exception:
    print("refused")
`;

export function upstreamSignatures(folder, interpreter) {
    const { Webhook } = createRequire(join(folder, "node", "package.json"))("standardwebhooks");
    const route = {
        name: "signed",
        path: "/signed",
        provider: "github",
        secret: SENDERS_SECRET,
        extra: { sign_upstream: [...SECRETS, `whsk_${SEED.toString("base64")}`] },
    };
    const byNode = (secret, { headers, body }) => {
        try {
            new Webhook(secret).verify(body, headers);
            return "taken";
        } catch {
            return "refused";
        }
    };
    const byPython = (secret, { headers, body }) => {
        const asked = JSON.stringify({ secret, headers, body: body.toString("base64") });
        return execFileSync(interpreter, ["-c", PYTHON], { input: asked }).toString().trim();
    };
    return { routes: [route], libraries: { node: byNode, python: byPython }, hold: (world, tell) => hold(world, tell, { node: byNode, python: byPython }) };
}

async function hold(world, tell, libraries) {
    const faulty = [];
    let count = 0;
    const bodies = ['{"action":"opened"}', '{"note":"Zoë ✓ 你好","n":10.0}', " \n{}", JSON.stringify({ more: "x".repeat(100_000) })];
    for (const [index, text] of bodies.entries()) {
        const body = Buffer.from(text);
        const seen = await send(world, body, `signed-${index}`, TRANSPORTS[index % TRANSPORTS.length]);
        const expect = (what, wanted, found) => {
            count += 1;
            if (wanted !== found) faulty.push(`${what} of body ${index}: ${found} instead of ${wanted}`);
        };
        if (!seen) {
            faulty.push(`body ${index} did not arrive`);
            continue;
        }
        for (const [name, verdict] of Object.entries(libraries)) {
            for (const secret of SECRETS) expect(name, "taken", verdict(secret, seen));
            expect(`${name}, another secret`, "refused", verdict(`whsec_${randomBytes(32).toString("base64")}`, seen));
            const longer = { ...seen, body: Buffer.concat([seen.body, Buffer.from(" ")]) };
            expect(`${name}, a longer body`, "refused", verdict(SECRETS[0], longer));
            const other = { ...seen, headers: { ...seen.headers, "webhook-id": "another" } };
            expect(`${name}, another id`, "refused", verdict(SECRETS[0], other));
        }
        expect("v1a", true, byKey(seen));
        expect("v1a, a longer body", false, byKey({ ...seen, body: Buffer.concat([seen.body, Buffer.from(" ")]) }));
        expect("the stranger's id", false, seen.headers["webhook-id"].includes("forged"));
    }
    tell("what the gate signs (standardwebhooks in Node and Python)", faulty, count);
}

function byKey({ headers, body }) {
    const text = Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`), body]);
    const signatures = headers["webhook-signature"].split(" ").filter((one) => one.startsWith("v1a,"));
    return signatures.some((one) => checkSignature(null, text, PUBLIC, Buffer.from(one.slice(4), "base64")));
}

async function send(world, body, name, transport) {
    const mac = createHmac("sha256", SENDERS_SECRET).update(body).digest("hex");
    await world.client.send({
        method: "POST",
        url: `${ORIGIN}/signed`,
        headers: [
            ["content-type", "application/json"],
            ["x-hub-signature-256", `sha256=${mac}`],
            ["x-github-event", "issues"],
            ["x-github-delivery", `${name}.dotted`],
            ["webhook-id", "forged"],
            ["webhook-signature", "v1,forged"],
            ["x-sdk-case", name],
        ],
        body,
    }, transport);
    return world.app.taken.get(name);
}
