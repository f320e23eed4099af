// Compares the gate with the official SDKs. Each driver signs and verifies with one SDK, the gate has a route for it,
// and both judge the same requests. Prints a line per driver; exits with 1 if anything differs.
//
//   main.mjs PROGRAM PYTHON [ID...]       all drivers, or those with these ids

import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { until } from "../../wait.mjs";
import { casesOf } from "./cases.mjs";
import { startApp, startGate } from "./gate.mjs";
import { deliveries } from "./inbox.mjs";
import { askGate, askSdk, faultOf } from "./judge.mjs";
import { loadPython } from "./python.mjs";
import { Client } from "./send.mjs";
import { upstreamSignatures } from "./upstream.mjs";

const FOLDER = join(dirname(fileURLToPath(import.meta.url)), "..");
const AT_ONCE = 12;
const SHOWN = 12;

const [program, interpreter, ...only] = process.argv.slice(2);
let faults = 0;
let total = 0;

function tell(name, faulty, count, notes = []) {
    total += count;
    faults += faulty.length;
    console.log(`${faulty.length === 0 ? "ok    " : "FAILED"} ${name}: ${count} cases${faulty.length ? `, ${faulty.length} failed` : ""}`);
    for (const note of [...faulty.slice(0, SHOWN), ...notes]) console.log(`         ${note}`);
    if (faulty.length > SHOWN) console.log(`         and ${faulty.length - SHOWN} more`);
}

async function loadNode() {
    const folder = join(FOLDER, "node");
    const files = readdirSync(folder).filter((name) => name.endsWith(".mjs")).sort();
    const wanted = files.map((name) => name.slice(0, -4)).filter((id) => only.length === 0 || only.includes(id));
    return Promise.all(wanted.map(async (id) => {
        try {
            return { ...await import(pathToFileURL(join(folder, `${id}.mjs`))), id, language: "node" };
        } catch (error) {
            return { id, language: "node", fault: String(error.stack ?? error).split("\n").slice(0, 3).join(" ") };
        }
    }));
}

function routeOf(driver, name, secret) {
    return { name, path: `/${name}`, provider: driver.provider, secret, extra: driver.route ?? {} };
}

// Judges every case of a driver on one of its routes. Returns the errors, the number of cases, and the words of the
// driver that applied.
async function hold(driver, route, world) {
    const cases = await casesOf(driver, `/${route}`);
    const used = new Set();
    const faulty = [];
    const sdk = [];
    for (const one of cases) sdk.push(await askSdk(driver, one));
    await inTurns(cases, async (one, index) => {
        const gate = await askGate(world, one);
        const fault = faultOf(driver, one, sdk[index], gate.verdict, used);
        if (fault) faulty.push({ one, gate, fault, sdk: sdk[index] });
    });
    return { cases, faulty, used };
}

async function inTurns(list, work) {
    const waiting = list.map((one, index) => [one, index]);
    const worker = async () => {
        for (let next = waiting.shift(); next; next = waiting.shift()) await work(...next);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

// Returns one line for the operator, with the gate's log line about the request.
async function describe({ one, gate, fault, sdk }, world) {
    const logged = until("the line in the log", 1000, () => world.gate.log.get(gate.requestId));
    const { reason, check, name, fault: what, age_seconds: age } = await logged.catch(() => ({}));
    const detail = [check, name, what, age].filter((part) => part !== undefined).join(" ");
    const log = reason ? `; its log: ${reason} (${detail})` : "";
    return `${one.name} [${one.word ?? one.wanted}]: ${fault} (SDK ${sdk ?? "cannot say"}, gate ${gate.verdict}${log})`;
}

async function report(driver, name, world) {
    const title = `${driver.language} ${driver.id}`;
    if (driver.fault) return tell(title, [`cannot be loaded: ${driver.fault}`], 0);
    const refused = world.gate.refused.get(name);
    if (refused) return tell(title, [`the gate refuses its route: ${refused}`], 0);
    try {
        const { cases, faulty, used } = await hold(driver, name, world);
        const lines = [];
        for (const one of faulty) lines.push(lines.length < SHOWN ? await describe(one, world) : one.fault);
        for (const word of [...driver.laxer ?? [], ...driver.stricter ?? []]) {
            if (!used.has(word)) lines.push(`says ${word} of its SDK, which is not so`);
        }
        return tell(`${title} (${driver.sdk}${driver.verify ? "" : ", signs only"})`, lines, cases.length);
    } catch (error) {
        return tell(title, [`the driver failed: ${error.stack}`], 0);
    }
}

// Checks that this test can fail: a route with another secret must refuse the requests of its driver's sender, and an
// SDK that accepts everything or nothing must be noticed.
async function testItself(driver, world) {
    const good = (one) => one.wanted === "taken";
    const { cases, faulty } = await hold(driver, "self_test", world);
    const missed = cases.filter((one) => good(one) && !faulty.some((other) => other.one === one));
    const blind = await hold({ ...driver, verify: () => true }, `node_${driver.id}`, world);
    const deaf = await hold({ ...driver, verify: () => false }, `node_${driver.id}`, world);
    const unnoticed = [
        [missed.length > 0, "a wrong secret in the gate"],
        [blind.faulty.length === 0, "an SDK that takes everything"],
        [deaf.faulty.length === 0, "an SDK that refuses everything"],
    ];
    const lines = unnoticed.filter(([isMissed]) => isMissed).map(([, what]) => `did not notice ${what}`);
    tell("this test can fail", lines, 3);
}

const python = await loadPython(interpreter, join(FOLDER, "python"), only);
const drivers = [...await loadNode(), ...python.drivers];
const named = drivers.map((driver) => [driver, `${driver.language}_${driver.id}`]);
const usable = named.filter(([driver]) => !driver.fault);
// A driver whose route has a secret that can be wrong.
const isProbe = (driver) => driver.language === "node" && driver.verify && driver.route?.secret !== null;
const [probe] = usable.find(([driver]) => isProbe(driver)) ?? [];
const app = await startApp();
const signatures = upstreamSignatures(FOLDER, interpreter);
const routes = usable.map(([driver, name]) => routeOf(driver, name, driver.secret));
if (probe) routes.push(routeOf(probe, "self_test", probe.wrongSecret));
const stored = deliveries(drivers.filter(({ fault, language }) => !fault && language === "node"), signatures.libraries);
const gate = await startGate(program, [...routes, ...signatures.routes, ...stored.routes], app.port);
const world = { app, gate, client: new Client(gate.port, gate.certificate) };

for (const [driver, name] of named) await report(driver, name, world);
if (probe) await testItself(probe, world);
await signatures.hold(world, tell);
await stored.hold(world, tell);

const sdks = new Set(drivers.map(({ sdk, id, language }) => `${language} ${(sdk ?? id).replace(/(.)@.*$/, "$1")}`));
console.log(`${sdks.size} SDKs, ${drivers.length} drivers, ${total} cases, ${faults} failed`);
world.client.stop();
python.stop();
app.stop();
await gate.stop();
process.exit(faults === 0 ? 0 : 1);
