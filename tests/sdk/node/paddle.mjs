// Paddle Billing's SDK verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import { Paddle } from "@paddle/paddle-node-sdk";

export const provider = "paddle";
export const sdk = "@paddle/paddle-node-sdk@3.10.0";
export const secret = "pdl_ntfset_fake_0001";
export const wrongSecret = "pdl_ntfset_fake_0002";
export const bodies = "any";
export const timestamp = { header: "paddle-signature", tolerance: 5, signed: true };
export const laxer = ["duplicate_header", "junk", "future"];

export function sign(ctx) {
    const at = String(ctx.now);
    const mac = createHmac("sha256", ctx.secret).update(at + ":").update(ctx.body).digest("hex");
    return { headers: { "Paddle-Signature": `ts=${at};h1=${mac}` } };
}

export async function verify(ctx) {
    return await new Paddle("fake").webhooks.isSignatureValid(ctx.body.toString(), ctx.secret, ctx.headers["paddle-signature"]);
}
