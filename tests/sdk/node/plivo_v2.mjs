// Plivo's SDK verifies message callbacks; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import plivo from "plivo";

export const provider = "plivo_v2";
export const sdk = "plivo@4.79.0";
export const secret = "fake-plivo-auth-token-1";
export const wrongSecret = "fake-plivo-auth-token-2";
export const bodies = "samples";
export const contentType = "application/x-www-form-urlencoded";
export const samples = ["From=14155550100&To=14155550101&MessageUUID=97ceeb52-58b6-11e1&Text=Zo%C3%AB+%E2%9C%93+10.0"];

export function sign({ secret: key, id, url }) {
    const mac = createHmac("sha256", key).update(url + id).digest("base64");
    return { headers: { "X-Plivo-Signature-V2": mac, "X-Plivo-Signature-V2-Nonce": id } };
}

export function verify({ secret: key, headers, url }) {
    return plivo.validateSignature(url, headers["x-plivo-signature-v2-nonce"], headers["x-plivo-signature-v2"], key);
}

export const laxer = [];
