// HubSpot's SDK, third signature.
import { createHmac } from "node:crypto";
import { Signature } from "@hubspot/api-client";

export const provider = "hubspot_v3";
export const sdk = "@hubspot/api-client@13.5.0";
export const secret = "fake-hubspot-client-secret";
export const wrongSecret = "fake-hubspot-client-secres";
export const bodies = "any";
export const timestamp = { header: "x-hubspot-request-timestamp", tolerance: 300, signed: true };
export const laxer = ["future"];

export function sign(ctx) {
    const at = String(ctx.now * 1000);
    const mac = createHmac("sha256", ctx.secret).update(ctx.method + ctx.url).update(ctx.body).update(at);
    return { headers: { "X-HubSpot-Signature-v3": mac.digest("base64"), "X-HubSpot-Request-Timestamp": at } };
}

export async function verify(ctx) {
    return Signature.isValid({
        signature: ctx.headers["x-hubspot-signature-v3"],
        clientSecret: ctx.secret,
        requestBody: ctx.body.toString(),
        signatureVersion: "v3",
        httpMethod: ctx.method,
        url: ctx.url,
        timestamp: Number(ctx.headers["x-hubspot-request-timestamp"]),
    });
}
