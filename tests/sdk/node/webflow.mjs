// Webflow's SDK verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import { WebflowClient } from "webflow-api";

export const provider = "webflow";
export const sdk = "webflow-api@3.3.4";
export const secret = "fake-webflow-secret-01";
export const wrongSecret = "fake-webflow-secret-02";
export const bodies = "any";
export const timestamp = { header: "x-webflow-timestamp", tolerance: 300, signed: true };
export const laxer = ["future", "stale"];

export function sign(ctx) {
    const at = String(ctx.now * 1000);
    const mac = createHmac("sha256", ctx.secret).update(`${at}:`).update(ctx.body).digest("hex");
    return { headers: { "x-webflow-timestamp": at, "x-webflow-signature": mac } };
}

export async function verify(ctx) {
    return await new WebflowClient({ accessToken: "fake" }).webhooks.verifySignature({ headers: ctx.headers, body: ctx.body.toString(), secret: ctx.secret });
}
