// Compares the verdicts of SDK and gate about one request.

import { joined } from "./places.mjs";

const SDK_LIMIT_MS = 10_000;

let nextCase = 0;

// Returns the SDK's verdict: "takes", "refuses", or null if it can only sign.
export async function askSdk(driver, { request, signedNow }) {
    if (!driver.verify) return null;
    const { method, url, headers, body } = request;
    const now = signedNow ?? Math.floor(Date.now() / 1000);
    let timer;
    const limit = new Promise((done) => { timer = setTimeout(done, SDK_LIMIT_MS, false); });
    try {
        const asked = driver.verify({ secret: driver.secret, headers: joined(headers), body, url, method, now });
        return (await Promise.race([asked, limit])) === true ? "takes" : "refuses";
    } catch {
        return "refuses";
    } finally {
        clearTimeout(timer);
    }
}

// Returns the gate's verdict: "takes" if the app got exactly this request, "refuses" if the gate responded with 401 and
// the app got nothing. Anything else is a fault.
export async function askGate({ client, app }, { request, transport }) {
    nextCase += 1;
    const number = String(nextCase);
    const source = `10.${(nextCase >> 16) & 255}.${(nextCase >> 8) & 255}.${nextCase & 255}`;
    const headers = [...request.headers, ["X-Sdk-Case", number], ["X-Forwarded-For", source]];
    let answer;
    try {
        answer = await client.send({ ...request, headers }, transport);
    } catch (error) {
        return { verdict: `broke: ${error.message}` };
    }
    const taken = app.taken.get(number);
    app.taken.delete(number);
    return { ...answer, verdict: verdictOf(answer.status, taken, request) };
}

function verdictOf(status, taken, request) {
    if (taken === undefined) {
        if (status === 401) return "refuses";
        // A repeated value, or one that is not a number, may be refused before anything is verified.
        return status >= 400 && status < 500 ? `refuses with ${status}` : `answered ${status}, and the app got nothing`;
    }
    if (status !== 200) return `answered ${status} though the app got it`;
    if (!taken.body.equals(request.body)) return "forwarded another body";
    for (const [name, value] of Object.entries(joined(request.headers))) {
        if (taken.headers[name] !== Buffer.from(value, "latin1").toString("latin1")) return `forwarded another ${name}`;
    }
    return "takes";
}

// Returns the error in the two verdicts, or null. `used` collects the words of `laxer` that applied.
export function faultOf(driver, { wanted, word }, sdk, gate, used) {
    const isLaxer = (driver.laxer ?? []).includes(word);
    const isStricter = (driver.stricter ?? []).includes(word);
    const isRefused = gate.startsWith("refuses");
    // A request with two `Authorization` headers is refused before anything is verified.
    const mayFail = isRefused && (wanted === "alike" || word === "duplicate_header");
    if (gate !== "takes" && gate !== "refuses" && !mayFail) return "the gate failed";
    if (wanted === "taken") {
        if (sdk === "refuses" && !isStricter) return "the SDK refuses what its sender sends";
        return gate === "takes" ? null : "the gate refuses what the sender sends";
    }
    if (wanted === "refused" && !isRefused) return "the gate takes what is damaged";
    if (sdk === "refuses" && !isRefused && !isStricter) return "the gate takes what the SDK refuses";
    if (sdk === "takes" && isRefused) {
        if (isLaxer) used.add(word);
        // If the damage is to something unsigned, the gate may refuse for another reason.
        else if (wanted === "refused" || gate === "refuses") return "the SDK takes what the gate refuses";
    }
    if (sdk === "refuses" && !isRefused) used.add(word);
    return null;
}
