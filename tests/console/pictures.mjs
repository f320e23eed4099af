// Takes the screenshots for the guide, of a gate with a little traffic:
//
//   pictures.mjs PROGRAM FOLDER

import { join } from "node:path";

import { chromium } from "playwright-core";

import { until as waitUntil } from "../wait.mjs";
import { BROWSER, send, startWorld, TOKEN } from "./world.mjs";

const [program, folder] = process.argv.slice(2);

const repository = { id: 35129377, full_name: "example/shop", default_branch: "main" };
const sender = { login: "ann", id: 583231 };
const EVENTS = [
    ["push", { ref: "refs/heads/main", after: "6dcb09b5b57875f3", repository, sender }],
    ["pull_request", { action: "opened", number: 411, repository, sender }],
    ["issues", { action: "opened", issue: { number: 402, title: "Checkout is slow" }, repository, sender }],
    ["check_run", { action: "completed", check_run: { conclusion: "success" }, repository, sender }],
    ["workflow_run", { action: "completed", workflow_run: { conclusion: "success" }, repository, sender }],
    ["issue_comment", { action: "created", comment: { body: "On it." }, repository, sender }],
    ["pull_request", { action: "closed", number: 411, repository, sender }],
    ["push", { ref: "refs/heads/main", after: "e83c5163316f89bf", repository, sender }],
];
const RELEASE = { action: "published", release: { tag_name: "v4.2.0", draft: false, prerelease: false }, repository, sender };

const until = (ask) => waitUntil(String(ask), 30_000, ask);

const world = await startWorld(program);
const browser = await chromium.launch(BROWSER);
const viewport = { width: 1040, height: 600 };

async function visitor(colorScheme) {
    const page = await (await browser.newContext({ baseURL: world.admin, colorScheme, viewport })).newPage();
    await page.goto("/console/login");
    await page.getByLabel("Token").fill(TOKEN);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    return page;
}

for (const [type, body] of EVENTS) await send(world, type, body);
await until(() => world.app.taken === EVENTS.length);
world.app.status = 500;
const release = await send(world, "release", RELEASE);
const light = await visitor("light");
await until(async () => {
    await light.goto("/console/deliveries?state=dead");
    return (await light.locator("tbody tr").count()) === 2;
});
world.app.status = 200;
await light.getByRole("button", { name: "Retry now" }).first().click();
await until(() => world.app.taken === EVENTS.length + 1);
const changed = await send(world, "push", EVENTS[0][1], { tail: "\n" });

const take = (page, name) => page.screenshot({ path: join(folder, `${name}.png`) });
await light.goto("/console/events");
await light.locator(`#e-${release.id}`).waitFor();
await take(light, "events");
await light.goto(`/console/requests/${changed.id}`);
await light.getByText("What to do").waitFor();
await take(light, "refusal");
const dark = await visitor("dark");
await dark.goto(`/console/events/${release.id}`);
await dark.locator("#body-text").waitFor();
await take(dark, "event");

await browser.close();
await world.stop();
