// Plivo's SDK verifies voice callbacks; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import { parse } from "node:querystring";
import plivo from "plivo";

export const provider = "plivo";
export const sdk = "plivo@4.79.0";
export const secret = "fake-plivo-auth-token-1";
export const wrongSecret = "fake-plivo-auth-token-2";
export const bodies = "samples";
export const contentType = "application/x-www-form-urlencoded";
export const samples = [
    "From=14155550100&To=14155550101&CallUUID=97ceeb52-58b6-11e1&Event=StartApp&Digits=2&Digits=1&Note=Zo%C3%AB+%E2%9C%93+10.0",
];

export function sign({ secret: key, body, id, url }) {
    const text = Object.entries(parse(body.toString())).sort(([a], [b]) => (a < b ? -1 : 1))
        .flatMap(([name, value]) => [value].flat().sort().map((one) => name + one)).join("");
    const mac = createHmac("sha256", key).update(`${url}?a=b&x=1.${text}.${id}`).digest("base64");
    // Parameters are sorted before they are signed.
    return { url: `${url}?x=1&a=b`, headers: { "X-Plivo-Signature-V3": mac, "X-Plivo-Signature-V3-Nonce": id } };
}

export function verify({ secret: key, headers, body, url, method }) {
    const fields = { ...parse(body.toString()) };
    const { "x-plivo-signature-v3": signature, "x-plivo-signature-v3-nonce": nonce } = headers;
    return plivo.validateV3Signature(method, url, nonce, key, signature, fields);
}

export const laxer = ["junk", "duplicate_header"];
