// Sinch's SDK verifies the Conversation API's callbacks; it cannot sign, so that is done here by the documented recipe.
// The whole package requires another one that cannot be installed at this version, so this imports its file.
import { createHmac } from "node:crypto";
import helper from "./node_modules/@sinch/sdk-client/dist/utils/authorization.helper.js";

export const provider = "sinch";
export const sdk = "@sinch/sdk-client@1.5.0";
export const secret = "fake-sinch-secret-0001";
export const wrongSecret = "fake-sinch-secret-0002";
export const bodies = "any";
export const timestamp = { header: "x-sinch-webhook-signature-timestamp", tolerance: 300, signed: true };

export function sign({ secret: key, body, now, id }) {
    const mac = createHmac("sha256", key).update(body).update(`.${id}.${now}`).digest("base64");
    return {
        headers: {
            "x-sinch-webhook-signature": mac,
            "x-sinch-webhook-signature-timestamp": now,
            "x-sinch-webhook-signature-nonce": id,
            "x-sinch-webhook-signature-algorithm": "HmacSHA256",
        },
    };
}

export function verify({ secret: key, headers, body }) {
    return helper.validateWebhookSignature(key, headers, body.toString());
}

export const laxer = ["stale", "future"];
