// The real gate with one route per driver, and an app that records its requests.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const HOST = "hooks.test";
export const ORIGIN = `https://${HOST}`;

// Each case has a separate source, since the gate suppresses log lines about a source that is refused again and again.
const SERVER = `[server]
listen = ["127.0.0.1:0"]
trusted_proxies = ["127.0.0.1/32"]
per_source_rate_limit = false
max_connections_per_source = 1000
`;

// Starts an app that responds with 200 and records each request under the number in its x-sdk-case header.
export async function startApp() {
    const taken = new Map();
    const server = http.createServer({ maxHeaderSize: 65536 }, (request, response) => {
        const pieces = [];
        request.on("data", (piece) => pieces.push(piece));
        request.on("end", () => {
            taken.set(request.headers["x-sdk-case"], { headers: request.headers, body: Buffer.concat(pieces) });
            response.end("ok");
        });
    });
    await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
    return { taken, port: server.address().port, stop: () => server.close() };
}

// Routes that the gate rejects are left out, and returned with its errors.
export async function startGate(program, routes, appPort) {
    const folder = mkdtempSync(join(tmpdir(), "hookgate-sdk-"));
    const certificate = makeCertificate(folder);
    const environment = { ...process.env };
    const refused = new Map();
    const texts = new Map();
    routes.forEach((route, index) => {
        const variable = `SDK_SECRET_${index}`;
        if (route.secret !== undefined) environment[variable] = route.secret;
        texts.set(route.name, routeText(route, variable, appPort));
    });
    const config = join(folder, "hookgate.toml");
    const write = (chosen) => writeFileSync(config, `${head(folder)}${chosen.join("\n")}`);
    write([...texts.values()]);
    if (check(program, config, environment) !== null) {
        for (const [name, text] of texts) {
            write([text]);
            const fault = check(program, config, environment);
            if (fault !== null) {
                refused.set(name, fault);
                texts.delete(name);
            }
        }
        write([...texts.values()]);
    }
    const gate = await run(program, config, environment);
    return { ...gate, certificate, refused, stop: () => stop(gate.child, folder) };
}

function head(folder) {
    return `${SERVER}
[tls]
cert = "${folder}/cert.pem"
key = "${folder}/cert.key"

[store]
url = "sqlite:${folder}/hookgate.db"

[log]
format = "json"

`;
}

function routeText(route, variable, appPort) {
    const keys = {
        path: route.path,
        provider: route.provider,
        ...(route.secret === undefined ? {} : { secret: { env: variable } }),
        public_url: ORIGIN,
        max_body: "4MiB",
        dedup: false,
        upstream: `http://127.0.0.1:${appPort}/app`,
        ...route.extra,
    };
    // Keys that a driver sets to null are left out.
    const lines = Object.entries(keys).filter(([, value]) => value !== null);
    return `[routes.${route.name}]\n${lines.map(([key, value]) => `${key} = ${toml(value)}`).join("\n")}\n`;
}

function toml(value) {
    if (Array.isArray(value)) return `[${value.map(toml).join(", ")}]`;
    if (typeof value !== "object") return JSON.stringify(value);
    return `{ ${Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)} = ${toml(inner)}`).join(", ")} }`;
}

function makeCertificate(folder) {
    execFileSync("openssl", [
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", `/CN=${HOST}`, "-addext", `subjectAltName=DNS:${HOST}`,
        "-keyout", join(folder, "cert.key"), "-out", join(folder, "cert.pem"),
    ], { stdio: "ignore" });
    return readFileSync(join(folder, "cert.pem"));
}

// Returns the output of `check` if it fails, otherwise null.
function check(program, config, environment) {
    try {
        execFileSync(program, ["check", "--config", config], { env: environment, stdio: "pipe" });
        return null;
    } catch (error) {
        return `${error.stdout}${error.stderr}`.trim();
    }
}

function run(program, config, environment) {
    const child = spawn(program, ["run", "--config", config], { env: environment, stdio: ["ignore", "ignore", "pipe"] });
    const log = new Map();
    const last = [];
    return new Promise((started, failed) => {
        child.on("exit", (code) => failed(new Error(`the gate ended with ${code}:\n${last.join("\n")}`)));
        createInterface({ input: child.stderr }).on("line", (line) => {
            last.push(line);
            if (last.length > 20) last.shift();
            const entry = parse(line);
            if (entry?.request_id) log.set(entry.request_id, entry);
            if ((entry?.message ?? entry?.event) === "listening") {
                const port = Number(entry.address.split(":").pop());
                started({ child, port, log });
            }
        });
    });
}

function parse(line) {
    try {
        const entry = JSON.parse(line);
        return { ...entry, ...entry.fields };
    } catch {
        return null;
    }
}

function stop(child, folder) {
    return new Promise((done) => {
        child.removeAllListeners("exit");
        child.on("exit", done);
        child.kill("SIGTERM");
        setTimeout(() => child.kill("SIGKILL"), 5000).unref();
    }).finally(() => rmSync(folder, { recursive: true, force: true }));
}
