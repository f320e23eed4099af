// Test cases of one driver: the requests of its sender, and generic damage to them that needs no knowledge of the
// driver.
//
// A case is { name, word, wanted, request, transport }. `wanted` is "taken", "refused", or "alike" for damage of which
// only the SDK can say whether it touches something signed. `word` is what a driver lists in `laxer` or `stricter`.

import { randomUUID } from "node:crypto";

import { goodBodies, spoiltBodies } from "./bodies.mjs";
import { ORIGIN } from "./gate.mjs";
import { places, read, without, withTwo, withValue } from "./places.mjs";

export async function casesOf(driver, path) {
    const maker = new Maker(driver, path);
    const cases = [];
    for (const [name, body, transport] of goodBodies(driver)) {
        const request = await maker.sign({ body });
        cases.push({ name: `${name}, ${transport}`, wanted: "taken", request, transport });
    }
    const [, body] = goodBodies(driver).find(([name]) => name === "escapes") ?? goodBodies(driver)[0];
    const good = await maker.sign({ body });
    cases.push(...await maker.spoiltSecret(body), ...await maker.spoiltTime(body), ...await maker.spoiltBody(good));
    cases.push(...await maker.spoiltTarget(good), ...await maker.spoiltPlaces(good));
    return cases.map((one) => ({ transport: "h1", ...one }));
}

class Maker {
    constructor(driver, path) {
        this.driver = driver;
        this.url = `${ORIGIN}${path}`;
        this.id = randomUUID();
        this.now = Math.floor(Date.now() / 1000);
    }

    async sign({ body, secret = this.driver.secret, now = this.now, id = this.id, url = this.url }) {
        const method = this.driver.method ?? "POST";
        const signed = await this.driver.sign({ secret, body, now, id, url, method });
        const headers = Object.entries(signed.headers ?? {}).map(([name, value]) => [name, String(value)]);
        if (!headers.some(([name]) => name.toLowerCase() === "content-type")) {
            headers.unshift(["Content-Type", this.driver.contentType ?? "application/json"]);
        }
        return { method, url: signed.url ?? url, headers, body: Buffer.from(signed.body ?? body) };
    }

    async spoiltSecret(body) {
        const request = await this.sign({ body, secret: this.driver.wrongSecret });
        return [{ name: "signed with another secret", word: "secret", wanted: "refused", request }];
    }

    async spoiltTime(body) {
        const time = this.driver.timestamp;
        if (!time || time.signed === false) return [];
        const far = time.tolerance + 120;
        const at = (offset) => this.sign({ body, now: this.now + offset });
        return [
            { name: "as old as may be", wanted: "taken", request: await at(-Math.floor(time.tolerance / 2)) },
            { name: "too old", word: "stale", wanted: "refused", request: await at(-far) },
            { name: "years too old", word: "stale", wanted: "refused", request: await at(-94_608_000) },
            { name: "from the future", word: "future", wanted: "refused", request: await at(far) },
            { name: "from years ahead", word: "future", wanted: "refused", request: await at(94_608_000) },
        ];
    }

    async spoiltBody(good) {
        const cases = [];
        for (const [name, word, body] of spoiltBodies(good.body)) {
            const isSigned = word === "body" && await this.differs(good, { body });
            cases.push({ name, word, wanted: isSigned ? "refused" : "alike", request: { ...good, body } });
        }
        return cases;
    }

    // The request itself names its target, so a captured one must not pass on another path or for another host.
    async spoiltTarget(good) {
        const longer = good.url + (good.url.includes("?") ? "&" : "?");
        const cases = [{ name: "another query", word: "url", wanted: "alike", request: { ...good, url: `${longer}x=1` } }];
        const elsewhere = await this.sign({ body: good.body, url: this.url.replace(ORIGIN, "https://elsewhere.test") });
        // A signature that is new each time shows nothing about the host, nor does one over a body that signing
        // changes.
        const again = await this.sign({ body: good.body });
        const isSame = JSON.stringify(again.headers) === JSON.stringify(good.headers) && again.body.equals(good.body);
        if (isSame && JSON.stringify(elsewhere.headers) !== JSON.stringify(good.headers)) {
            const request = { ...elsewhere, url: elsewhere.url.replace("https://elsewhere.test", ORIGIN) };
            request.headers = [...request.headers, ["X-Forwarded-Host", "elsewhere.test"], ["Forwarded", "host=elsewhere.test"]];
            cases.push({ name: "signed for another host", word: "url", wanted: "refused", request });
        }
        return cases;
    }

    async spoiltPlaces(good) {
        const variants = {
            otherSecret: await this.sign({ body: good.body, secret: this.driver.wrongSecret }),
            otherTime: await this.sign({ body: good.body, now: this.now + 7 }),
            otherId: await this.sign({ body: good.body, id: randomUUID() }),
        };
        const cases = [];
        for (const place of places(good)) {
            if (place.name === "content-type") continue;
            const { isSignature, isSigned } = this.roleOf(place, good, variants);
            const wanted = isSignature || isSigned ? "refused" : "alike";
            for (const damage of spoilt(good, place, isSignature, variants.otherSecret)) {
                cases.push({ wanted, ...damage, name: `${place.name} ${damage.name}` });
            }
        }
        return cases;
    }

    // A signature depends on the secret. Another value is signed if it and the signature change together.
    roleOf(place, good, { otherSecret, otherTime, otherId }) {
        const isChanged = (other, where) => read(other, where) !== read(good, where);
        const isSignature = isChanged(otherSecret, place);
        const signatures = places(good).filter((where) => isChanged(otherSecret, where));
        const isSigned = [otherTime, otherId].some((other) => (
            isChanged(other, place) && signatures.some((where) => where.name !== place.name && isChanged(other, where))
        ));
        return { isSignature, isSigned };
    }

    async differs(good, change) {
        try {
            const other = await this.sign({ body: good.body, ...change });
            return JSON.stringify([other.headers, other.url]) !== JSON.stringify([good.headers, good.url]);
        } catch {
            return false;
        }
    }
}

// Returns name, word and request for each damage to one header or parameter.
function* spoilt(good, place, isSignature, otherSecret) {
    const value = read(good, place);
    const changed = (name, word, to) => ({ name, word, request: withValue(good, place, to) });
    yield { name: "missing", word: "missing", request: without(good, place) };
    yield changed("empty", "empty", "");
    yield changed("malformed", "malformed", "junk");
    yield changed("cut by its last character", "malformed", value.slice(0, -1));
    yield changed("cut by its first character", "malformed", value.slice(1));
    yield changed("with a foreign character in the middle", "malformed", splice(value, value.length >> 1, "!"));
    yield { name: "doubled", word: "duplicate_header", request: withTwo(good, place, value, value) };
    if (!isSignature) {
        // Its last digit or letter changed to the next one, so that a time stays within the tolerance.
        yield changed("changed", "unsigned", value.slice(0, -1) + String.fromCharCode(value.charCodeAt(value.length - 1) ^ 1));
        yield { name: "doubled with another value", word: "duplicate_header", request: withTwo(good, place, value, "1") };
        return;
    }
    const other = read(otherSecret, place);
    yield { name: "followed by another signature", word: "duplicate_header", request: withTwo(good, place, value, other) };
    yield { name: "preceded by another signature", word: "duplicate_header", request: withTwo(good, place, other, value) };
    for (const junk of ["zz", "!", "=", ",", "\u00e9"]) yield changed(`with ${junk} after it`, "junk", value + junk);
    yield changed("with junk before it", "junk_before", `zz${value}`);
    // Hexadecimal digits are the same in either case.
    const swapped = swapCase(value);
    if (swapped !== value && !isHex(value)) yield changed("in the other case", "case", swapped);
}

function splice(text, at, piece) {
    return text.slice(0, at) + piece + text.slice(at);
}

function swapCase(text) {
    return [...text].map((char) => (char === char.toLowerCase() ? char.toUpperCase() : char.toLowerCase())).join("");
}

// Only text that looks like a digest counts: at least 32 digits at the end, after the last other character.
function isHex(text) {
    return /(^|[^0-9a-z])[0-9a-f]{32,}$/i.test(text);
}
