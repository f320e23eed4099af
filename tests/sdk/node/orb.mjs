// Orb's SDK verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import Orb from "orb-billing";

export const provider = "orb";
export const sdk = "orb-billing@6.11.0";
export const secret = "fake-orb-secret-0001";
export const wrongSecret = "fake-orb-secret-0002";
export const bodies = "any";
export const timestamp = { header: "x-orb-timestamp", tolerance: 300, signed: true };
export const laxer = ["duplicate_header","junk"];

export function sign(ctx) {
    const at = new Date(ctx.now * 1000).toISOString();
    const mac = createHmac("sha256", ctx.secret).update(`v1:${at}:`).update(ctx.body).digest("hex");
    return { headers: { "X-Orb-Timestamp": at, "X-Orb-Signature": `v1=${mac}` } };
}

export async function verify(ctx) {
    await new Orb({ apiKey: "fake" }).webhooks.verifySignature(ctx.body.toString(), ctx.headers, ctx.secret);
    return true;
}
