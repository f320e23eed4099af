// The real gate with a store, an app that can be set to fail, and a sender that signs like GitHub.

import { spawn } from "node:child_process";
import { createHmac, randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

// Options that start the browser. Signals stay with this process, which stops the gate and the browser itself.
export const BROWSER = {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox"],
    handleSIGHUP: false,
    handleSIGINT: false,
    handleSIGTERM: false,
};

export const TOKEN = "correct-horse-battery-staple";
export const VIEWER = "a-board-that-only-looks-at-it";
const SECRET = "it-is-a-secret-to-everybody";

// Starts an app that counts the events it accepts and responds with `app.status`.
async function startApp() {
    const app = { status: 200, taken: 0 };
    const server = http.createServer((request, response) => {
        request.resume();
        request.on("end", () => {
            if (app.status === 200) app.taken += 1;
            response.statusCode = app.status;
            response.end(app.status === 200 ? "thanks" : "<b>the database is away</b>");
        });
    });
    await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
    app.url = `http://127.0.0.1:${server.address().port}`;
    app.stop = () => server.close();
    return app;
}

// Starts a chat service that accepts alerts and keeps their texts.
async function startChat() {
    const chat = { texts: [] };
    const server = http.createServer(async (request, response) => {
        let body = "";
        for await (const part of request) body += part;
        chat.texts.push(JSON.parse(body).text);
        response.end("ok");
    });
    await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
    chat.url = `http://127.0.0.1:${server.address().port}/services/T0/B0`;
    chat.stop = () => server.close();
    return chat;
}

function config(folder, app, chat) {
    const inThreeDays = new Date(Date.now() + 3 * 86_400_000).toISOString().slice(0, 10);
    const destination = (route, name, more = "") => `
[routes.${route}.destinations.${name}]
url = "${app.url}/${name}"
retry = { max_attempts = 1 }
${more}`;
    return `
[server]
listen = ["127.0.0.1:0"]
per_source_rate_limit = false
state_dir = "${folder}/state"

[admin]
listen = "127.0.0.1:0"
token = { env = "CONSOLE_TOKEN" }

[[admin.tokens]]
name = "board"
role = "viewer"
token = { env = "CONSOLE_VIEWER" }

[store]
url = "sqlite:${folder}/hookgate.db"
min_free = "1MiB"

[log]
format = "json"

[alerts.team]
type = "slack"
url = "${chat.url}"

[watch]
interval = "200ms"

[routes.github]
path = "/github"
provider = "github"
secret = { env = "HOOKS_GITHUB" }
mode = "queue"
${destination("github", "ci")}
${destination("github", "audit-log", 'events = ["release*"]')}

[routes.stripe]
path = "/stripe"
provider = "stripe"
secret = { env = "HOOKS_STRIPE", until = ${inThreeDays} }
upstream = "${app.url}/stripe"
`;
}

// Starts the app and the gate. `stop` ends both and removes their files.
export async function startWorld(program) {
    const folder = mkdtempSync(join(tmpdir(), "hookgate-console-"));
    const app = await startApp();
    const chat = await startChat();
    const path = join(folder, "hookgate.toml");
    writeFileSync(path, config(folder, app, chat), { mode: 0o600 });
    const env = {
        ...process.env,
        CONSOLE_TOKEN: TOKEN,
        CONSOLE_VIEWER: VIEWER,
        HOOKS_GITHUB: SECRET,
        HOOKS_STRIPE: "whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH",
    };
    const child = spawn(program, ["run", "--config", path], { env, stdio: ["ignore", "pipe", "pipe"] });
    // Any end of this process must end the gate, and with it the browser.
    process.on("exit", () => child.kill("SIGKILL"));
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));
    const log = [];
    const places = await new Promise((ready, failed) => {
        const found = {};
        const read = (line) => {
            log.push(line);
            const entry = line.startsWith("{") ? JSON.parse(line) : {};
            if (entry.message === "listening" || entry.event === "listening") found.hooks = `http://${entry.address}`;
            if (entry.message === "admin listening" || entry.event === "admin listening") found.admin = `http://${entry.address}`;
            if (found.hooks && found.admin) ready(found);
        };
        createInterface({ input: child.stdout }).on("line", read);
        createInterface({ input: child.stderr }).on("line", read);
        child.on("exit", () => failed(new Error(`the gate ended:\n${log.join("\n")}`)));
    });
    const stop = async () => {
        child.removeAllListeners("exit");
        const isRunning = child.exitCode === null && child.signalCode === null;
        const ended = new Promise((over) => child.on("exit", over));
        child.kill("SIGKILL");
        if (isRunning) await ended;
        app.stop();
        chat.stop();
        rmSync(folder, { recursive: true, force: true });
    };
    return { ...places, app, chat, log, stop };
}

// Sends an event of GitHub and returns the response. `tail` is appended to the body after it was signed.
export async function send(world, type, body, { secret = SECRET, headers = {}, id = randomUUID(), tail = "" } = {}) {
    const text = JSON.stringify(body);
    const answer = await fetch(`${world.hooks}/github`, {
        method: "POST",
        body: text + tail,
        headers: {
            "content-type": "application/json",
            "x-github-event": type,
            "x-github-delivery": id,
            "x-hub-signature-256": `sha256=${createHmac("sha256", secret).update(text).digest("hex")}`,
            ...headers,
        },
    });
    return { status: answer.status, id: answer.headers.get("hookgate-request-id"), text: await answer.text() };
}
