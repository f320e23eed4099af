// Tests the console in a real browser, as a person uses it. Prints a line for each test and exits with 1 if one fails.
//
//   main.mjs PROGRAM [--shots FOLDER]

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

import { chromium } from "playwright-core";

import { until as waitUntil } from "../wait.mjs";
import { BROWSER, send, startWorld, TOKEN, VIEWER } from "./world.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const EVIL = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>";
// Only a limit: expected changes appear within moments, on a slow machine within seconds.
const LIMIT = 60_000;

const [program, ...rest] = process.argv.slice(2);
const shots = rest[0] === "--shots" ? rest[1] : null;

// A run that hangs counts as failed.
setTimeout(() => {
    console.log("test result: FAILED. 0 passed; 1 failed; it took longer than 15 minutes");
    process.exit(1);
}, 15 * 60_000).unref();

let passed = 0;
const failures = [];

async function test(name, work) {
    try {
        await work();
        passed += 1;
        console.log(`ok     ${name}`);
    } catch (error) {
        failures.push(name);
        console.log(`FAILED ${name}\n       ${String(error.stack ?? error).split("\n").slice(0, 8).join("\n       ")}`);
    }
}

function assert(holds, text) {
    if (!holds) throw new Error(text);
}

const until = (what, ask) => waitUntil(what, LIMIT, ask);

const world = await startWorld(program);
const browser = await chromium.launch(BROWSER);
const faults = [];

// Opens a separate browser context and records requests to other origins and errors of its pages as faults.
async function visitor(options = {}) {
    const context = await browser.newContext({ baseURL: world.admin, ...options });
    context.setDefaultTimeout(LIMIT);
    const page = await context.newPage();
    page.on("request", (request) => {
        if (new URL(request.url()).origin !== world.admin) faults.push(`requested ${request.url()}`);
    });
    page.on("console", (message) => {
        const isRefusal = message.text().includes("the server responded with a status of");
        if (message.type() === "error" && !isRefusal) faults.push(`${page.url()}: ${message.text()}`);
    });
    page.on("pageerror", (error) => faults.push(`${page.url()}: ${error}`));
    return page;
}

async function logIn(page, token = TOKEN) {
    await page.goto("/console/login");
    await page.getByLabel("Token").fill(token);
    await page.getByRole("button", { name: "Log in" }).click();
}

async function picture(page, name) {
    if (shots) await page.screenshot({ path: join(shots, `${name}.png`) });
}

function pages(ids) {
    return {
        overview: "/console/",
        events: "/console/events",
        "no-events": "/console/events?type=unused",
        event: `/console/events/${ids.dead}`,
        "dead-letters": "/console/deliveries?state=dead",
        deliveries: "/console/deliveries",
        destinations: "/console/destinations",
        destination: "/console/destinations/github/ci",
        rejections: "/console/rejections",
        request: `/console/requests/${ids.changed}`,
        alerts: "/console/alerts",
        replays: "/console/replays",
        bulk: "/console/bulk/replay?route=github",
        providers: "/console/providers",
        provider: "/console/providers/stripe",
        config: "/console/config",
        audit: "/console/audit",
        missing: "/console/nothing",
    };
}

const page = await visitor({ viewport: { width: 1360, height: 850 } });
const ids = {};

await test("a wrong token is rejected, a correct one opens the requested page", async () => {
    await page.goto("/console/events?route=github");
    assert(page.url().includes("/console/login?next="), `not the login: ${page.url()}`);
    await page.getByLabel("Token").fill("wrong");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByText("Wrong token.").waitFor();
    await page.getByLabel("Token").fill(TOKEN);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.waitForURL("**/console/events?route=github");
    const [cookie] = await page.context().cookies();
    assert(cookie.httpOnly && cookie.sameSite === "Strict", JSON.stringify(cookie));
});

await test("a new event appears in an open list and can be opened", async () => {
    await page.goto("/console/events");
    await page.getByText("No events yet").waitFor();
    await page.getByRole("button", { name: "Live" }).click();
    await page.locator("#live[data-state=open]").waitFor();
    const sent = await send(world, "push", { ref: "refs/heads/main", size: 12345678901234567890n.toString(), ok: true });
    assert(sent.status === 200, `${sent.status} ${sent.text}`);
    ids.live = sent.id;
    await page.getByRole("link", { name: "push" }).waitFor();
    await page.locator(`#e-${sent.id} .chip.delivered`).waitFor();
    await page.getByRole("link", { name: "push" }).click();
    await page.waitForURL(`**/console/events/${sent.id}`);
    const text = await page.locator("#body-text").innerText();
    assert(text.includes('  "ref": "refs/heads/main"'), text);
    await page.getByText("All checks passed in").click();
    await page.getByText("signature", { exact: true }).first().waitFor();
    await page.getByRole("link", { name: "hex" }).click();
    await page.getByText("00000000  7b 22").waitFor();
});

await test("a text search finds text in bodies", async () => {
    const before = world.app.taken;
    await send(world, "ping", { zen: "Approachable is better than simple." });
    await until("the app has it", () => world.app.taken === before + 1);
    await page.goto("/console/events");
    await page.getByLabel("Text").fill("APPROACHABLE");
    await page.keyboard.press("Enter");
    await page.waitForURL("**/console/events?text=APPROACHABLE");
    await page.getByRole("link", { name: "ping" }).waitFor();
    assert((await page.locator("tbody tr").count()) === 1, "the search found an event without the text");
    assert((await page.getByRole("link", { name: "Replay…" }).count()) === 0, "a replay would ignore the text filter");
    await page.goto("/console/events?text=nothing-of-that-kind");
    await page.getByText("Nothing matches").waitFor();
});

await test("an operator retries a dead letter", async () => {
    world.app.status = 500;
    ids.dead = (await send(world, "release.published", { note: EVIL })).id;
    await until("both deliveries are dead", async () => {
        await page.goto("/console/deliveries?state=dead");
        return (await page.locator("tbody tr").count()) === 2;
    });
    await picture(page, "dead-letters");
    world.app.status = 200;
    const before = world.app.taken;
    await page.getByRole("button", { name: "Retry now" }).first().click();
    await page.getByText("The delivery is attempted now.").waitFor();
    await until("the app has it", () => world.app.taken === before + 1);
});

await test("a replay is counted before it starts", async () => {
    const before = world.app.taken;
    await page.goto("/console/events?type=push");
    await page.getByRole("link", { name: "Replay…" }).click();
    await page.getByRole("heading", { name: "Replay 1 delivery?" }).waitFor();
    await picture(page, "bulk");
    assert(world.app.taken === before, "an event was delivered although the replay was only counted");
    await page.getByRole("button", { name: "Replay 1" }).click();
    await page.getByText("The replay has begun.").waitFor();
    await until("the app has it again", () => world.app.taken === before + 1);
    await page.goto(`/console/events/${ids.live}`);
    await page.getByText("Replayed to").waitFor();
});

await test("an operator pauses and resumes a destination", async () => {
    await page.goto("/console/destinations");
    await page.getByRole("button", { name: "Pause ci" }).click();
    await page.getByText("Paused. New events are accepted and wait.").waitFor();
    await page.getByText("paused", { exact: true }).waitFor();
    const before = world.app.taken;
    const sent = await send(world, "issues", { action: "opened" });
    await page.goto(`/console/events/${sent.id}`);
    await page.locator(".chip.pending").waitFor();
    assert(world.app.taken === before, "a paused destination received an event");
    await page.goto("/console/destinations");
    await page.getByRole("button", { name: "Resume ci" }).click();
    await page.getByText("Resumed.").waitFor();
    await until("the app has the waiting event", () => world.app.taken === before + 1);
});

await test("an operator finds out why a request was rejected", async () => {
    ids.refused = (await send(world, "push", { a: 1 }, { secret: "another-secret" })).id;
    await send(world, "push", { a: 2 }, { secret: "another-secret" });
    await page.goto("/console/rejections");
    await page.getByRole("heading", { name: "bad-signature on github" }).waitFor();
    await page.getByText("2 ×").waitFor();
    await page.getByText("Usually", { exact: true }).first().waitFor();
    await page.getByLabel("Request id").fill(ids.refused);
    await page.getByRole("button", { name: "Find" }).click();
    await page.waitForURL(`**/console/requests/${ids.refused}`);
    await page.getByText("What it means").waitFor();
    await page.locator(".checks .failed").waitFor();
    ids.changed = (await send(world, "push", { a: 3 }, { tail: "\n" })).id;
    await page.goto(`/console/requests/${ids.changed}`);
    await page.getByText("The end of the body was changed in transit").waitFor();
    await page.getByText("What to do").waitFor();
});

await test("an operator sees an alert that was sent, and acknowledges it", async () => {
    await until("the chat has the alert", () => world.chat.texts.some((text) => text.includes("Secrets near their end")));
    await page.goto("/console/");
    await page.getByRole("link", { name: "Alerts" }).first().click();
    await page.getByText("expires in").first().waitFor();
    await page.getByText("accepts messages").waitFor();
    await picture(page, "alerts-open");
    await page.getByRole("button", { name: /^Acknowledge alert/ }).first().click();
    await page.getByText("Acknowledged. Receivers are notified again").waitFor();
    await page.getByText("known to admin").first().waitFor();
    await until("the chat knows who has it", () => world.chat.texts.some((text) => text.includes("Acknowledged by admin")));
});

await test("text from a sender stays text in bodies, headers and types", async () => {
    const sent = await send(world, "push", { evil: EVIL }, { headers: { "x-evil": EVIL, "x-github-event": EVIL } });
    assert(sent.status === 200, `${sent.status} ${sent.text}`);
    for (const address of ["/console/events", `/console/events/${sent.id}`, `/console/events/${sent.id}?body=raw`, "/console/deliveries", `/console/events?type=${encodeURIComponent(EVIL)}`, `/console/events?since=${encodeURIComponent(EVIL)}`, `/console/rejections?request=${encodeURIComponent(EVIL)}`]) {
        await page.goto(address);
        assert((await page.title()) !== "taken", `a script ran on ${address}`);
        assert((await page.locator("img").count()) === 0, `a picture of a sender on ${address}`);
    }
    await page.goto(`/console/events/${ids.dead}`);
    const answer = page.locator("details:has(> summary:text-is('Response'))").first();
    await answer.locator("summary").click();
    await answer.getByText("<b>the database is away</b>").waitFor();
});

await test("an event can be copied as a curl command", async () => {
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.goto(`/console/events/${ids.live}`);
    await page.locator("[data-copy=curl]").click();
    await page.getByText("Copied").waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert(copied.startsWith("curl -X POST http") && copied.includes("--data-raw '{\"ref\""), copied);
});

await test("a viewer sees no buttons and cannot make changes", async () => {
    const viewer = await visitor();
    await logIn(viewer, VIEWER);
    await viewer.getByRole("heading", { name: "Overview" }).waitFor();
    for (const address of Object.values(pages(ids))) {
        await viewer.goto(address);
        const forms = await viewer.locator("main form[method=post]").count();
        assert(forms === 0, `a button for a viewer on ${address}`);
    }
    await viewer.goto("/console/destinations");
    const token = await viewer.locator("input[name=form_token]").first().inputValue();
    const status = await viewer.evaluate(async (token) => {
        const body = new URLSearchParams({ form_token: token });
        return (await fetch("/console/destinations/github/ci/pause", { method: "POST", body })).status;
    }, token);
    assert(status === 403, `a viewer paused a destination: ${status}`);
    await viewer.context().close();
});

await test("a form without the token of the session is rejected", async () => {
    await page.goto("/console/destinations");
    const statuses = await page.evaluate(async () => {
        const post = async (body) => (await fetch("/console/destinations/github/ci/pause", { method: "POST", body: new URLSearchParams(body) })).status;
        return [await post({}), await post({ form_token: "0".repeat(64) })];
    });
    assert(statuses.every((status) => status === 403), JSON.stringify(statuses));
});

await test("the keyboard alone reaches a row", async () => {
    await page.goto("/console/events");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    assert(await page.evaluate(() => document.activeElement.id === "main"), "the skip link does not skip");
    await page.keyboard.press("/");
    assert(await page.evaluate(() => document.activeElement.closest("form.filter") !== null), "`/` does not move the focus to the filter");
    const row = page.locator("a.row").first();
    for (let presses = 0; presses < 40; presses += 1) {
        if (await row.evaluate((link) => link === document.activeElement)) break;
        await page.keyboard.press("Tab");
    }
    const ring = await row.evaluate((link) => getComputedStyle(link, "::after").outlineStyle);
    assert(ring === "solid", `the focus on a row is invisible: ${ring}`);
    await page.keyboard.press("Enter");
    await page.waitForURL("**/console/events/0*");
});

for (const scheme of ["light", "dark"]) {
    await test(`every page passes axe and fits its window, ${scheme}`, async () => {
        const viewer = await visitor({ colorScheme: scheme, viewport: { width: 1360, height: 850 } });
        await viewer.goto("/console/login");
        const found = [];
        const look = async (name) => {
            await viewer.setViewportSize({ width: 1360, height: 850 });
            await viewer.evaluate(AXE);
            const result = await viewer.evaluate(() => axe.run());
            if (result.passes.length < 10) found.push(`${name}: axe ran almost no checks`);
            for (const fault of result.violations) found.push(`${name}: ${fault.id}: ${fault.nodes.map((node) => node.html.slice(0, 140)).slice(0, 3).join(" | ")}`);
            await picture(viewer, `${name}-${scheme}`);
            await viewer.setViewportSize({ width: 360, height: 740 });
            const width = await viewer.evaluate(() => document.documentElement.scrollWidth);
            if (width > 360) found.push(`${name}: ${width} pixels wide on a phone`);
            const narrow = await viewer.evaluate(() => axe.run());
            for (const fault of narrow.violations) found.push(`${name} on a phone: ${fault.id}: ${fault.nodes.map((node) => node.html.slice(0, 140)).slice(0, 3).join(" | ")}`);
            await picture(viewer, `${name}-${scheme}-phone`);
        };
        await look("login");
        await logIn(viewer);
        await viewer.getByRole("heading", { name: "Overview" }).waitFor();
        for (const [name, address] of Object.entries(pages(ids))) {
            await viewer.goto(address);
            await look(name);
        }
        const back = await viewer.evaluate(() => getComputedStyle(document.body).backgroundColor);
        assert((back === "rgb(246, 247, 249)") === (scheme === "light"), `the background is ${back}`);
        assert(found.length === 0, found.join("\n       "));
        await viewer.context().close();
    });
}

await test("pages work without the script", async () => {
    const viewer = await visitor({ javaScriptEnabled: false });
    await logIn(viewer);
    await viewer.getByRole("link", { name: "Events", exact: true }).click();
    await viewer.getByLabel("Type").fill("push");
    await viewer.getByRole("button", { name: "Filter" }).click();
    await viewer.locator("a.row").first().click();
    await viewer.locator("#body-text").waitFor();
    await viewer.context().close();
});

await test("a logout ends the session", async () => {
    await page.goto("/console/");
    await page.getByRole("button", { name: "Log out" }).click();
    await page.waitForURL("**/console/login");
    await page.goto("/console/events");
    assert(page.url().includes("/console/login"), "the session is still open");
});

await test("no page requested another origin, and no browser reported an error", async () => {
    assert(faults.length === 0, faults.join("\n       "));
});

await browser.close();
await world.stop();
console.log(`test result: ${failures.length === 0 ? "ok" : "FAILED"}. ${passed} passed; ${failures.length} failed; 0 ignored`);
process.exit(failures.length === 0 ? 0 : 1);
