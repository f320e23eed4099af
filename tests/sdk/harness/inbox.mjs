// Deliveries from the store. The libraries of Standard Webhooks accept the signature of each attempt. With `resign`,
// the sender's own SDK accepts an event from yesterday, because it is signed again.

import { createHmac, randomBytes } from "node:crypto";

import { until } from "../../wait.mjs";
import { ORIGIN } from "./gate.mjs";

const LIMIT_MS = 5000;
const DAY = 86_400;
const SENDERS_SECRET = "fake-github-secret-0002";
const SECRETS = [0, 1].map(() => `whsec_${randomBytes(32).toString("base64")}`);
const BODIES = ['{"type":"event_callback","event_id":"Ev1","id":"evt_1"}', '{"note":"Zoë ✓ 你好","n":10.0}', JSON.stringify({ more: "x".repeat(100_000) })];

export function deliveries(drivers, libraries) {
    const resigned = drivers.filter(({ id }) => ["stripe", "slack"].includes(id));
    const kept = { mode: "queue", tolerance: "2d", destinations: { upstream: { retry: "none" } } };
    const routes = resigned.map((driver) => ({
        name: `resigned_${driver.id}`, path: `/resigned_${driver.id}`, provider: driver.provider, secret: driver.secret,
        extra: { ...kept, resign: "provider" },
    }));
    routes.push({
        name: "delivered", path: "/delivered", provider: "github", secret: SENDERS_SECRET,
        extra: { mode: "queue", destinations: { upstream: { secret: SECRETS } } },
    });
    return { routes, hold: (world, tell) => hold(world, tell, resigned, libraries) };
}

async function hold(world, tell, drivers, libraries) {
    for (const driver of drivers) {
        const faulty = [];
        for (const [index, text] of BODIES.entries()) {
            const body = Buffer.from(text);
            const now = Math.floor(Date.now() / 1000) - DAY;
            const signed = await driver.sign({ secret: driver.secret, body, now, url: `${ORIGIN}/resigned_${driver.id}` });
            const seen = await send(world, `resigned_${driver.id}`, body, Object.entries(signed.headers), index);
            if (!seen?.body.equals(body)) {
                faulty.push(`body ${index} did not arrive as it was sent`);
                continue;
            }
            const before = Object.fromEntries(Object.entries(signed.headers).map(([name, value]) => [name.toLowerCase(), value]));
            if (await takes(driver, before, body)) faulty.push(`body ${index}: the SDK takes yesterday's own signature`);
            if (!await takes(driver, seen.headers, seen.body)) faulty.push(`body ${index}: the SDK refuses what was signed anew`);
        }
        tell(`signed anew for ${driver.sdk}`, faulty, 2 * BODIES.length);
    }
    const faulty = [];
    for (const [index, text] of BODIES.entries()) {
        const body = Buffer.from(text);
        const digest = createHmac("sha256", SENDERS_SECRET).update(body).digest("hex");
        const own = [["X-GitHub-Event", "push"], ["X-GitHub-Delivery", `delivered-${index}`], ["X-Hub-Signature-256", `sha256=${digest}`]];
        const seen = await send(world, "delivered", body, own, index);
        for (const [language, verify] of Object.entries(libraries)) {
            for (const secret of SECRETS) {
                if (!seen || verify(secret, seen) !== "taken") faulty.push(`body ${index}: refused by ${language}`);
            }
            const changed = { ...seen, body: Buffer.from(`${text} `) };
            if (!seen || verify(SECRETS[0], changed) !== "refused") faulty.push(`body ${index}: a changed one is taken by ${language}`);
        }
    }
    tell("deliveries signed for standardwebhooks (npm and PyPI)", faulty, 6 * BODIES.length);
}

// Sends an event that the gate stores, and waits for its delivery.
async function send(world, route, body, headers, index) {
    const name = `${route}-${index}`;
    const all = [...headers, ["content-type", "application/json"], ["x-sdk-case", name], ["x-forwarded-for", `10.9.${index}.1`]];
    const answer = await world.client.send({ method: "POST", url: `${ORIGIN}/${route}`, headers: all, body }, "plain");
    if (answer.status !== 200) return null;
    return await until("the delivery", LIMIT_MS, () => world.app.taken.get(name)).catch(() => null);
}

async function takes(driver, headers, body) {
    try {
        return await driver.verify({ secret: driver.secret, headers, body }) !== false;
    } catch {
        return false;
    }
}
