// HubSpot's SDK, second signature: a plain digest with the URL in it.
import { createHash } from "node:crypto";
import { Signature } from "@hubspot/api-client";

export const provider = "hubspot_v2";
export const sdk = "@hubspot/api-client@13.5.0";
export const secret = "fake-hubspot-client-secret";
export const wrongSecret = "fake-hubspot-client-secres";
export const bodies = "any";
export const laxer = ["duplicate_header", "empty", "malformed", "missing", "unsigned"];

export function sign(ctx) {
    const digest = createHash("sha256").update(ctx.secret + ctx.method + ctx.url).update(ctx.body).digest("hex");
    return { headers: { "X-HubSpot-Signature": digest, "X-HubSpot-Signature-Version": "v2" } };
}

export async function verify(ctx) {
    return Signature.isValid({
        signature: ctx.headers["x-hubspot-signature"],
        clientSecret: ctx.secret,
        requestBody: ctx.body.toString(),
        signatureVersion: "v2",
        httpMethod: ctx.method,
        url: ctx.url,
        timestamp: Number(ctx.headers["x-hubspot-request-timestamp"]),
    });
}
