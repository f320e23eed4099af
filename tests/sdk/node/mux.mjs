// Mux's SDK verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import Mux from "@mux/mux-node";

export const provider = "mux";
export const sdk = "@mux/mux-node@15.3.0";
export const secret = "fake-mux-signing-secret-01";
export const wrongSecret = "fake-mux-signing-secret-02";
export const bodies = "any";
export const timestamp = { header: "mux-signature", tolerance: 300, signed: true };
export const laxer = ["future","duplicate_header","junk"];

export function sign(ctx) {
    const at = String(ctx.now);
    const mac = createHmac("sha256", ctx.secret).update(at + ".").update(ctx.body).digest("hex");
    return { headers: { "Mux-Signature": `t=${at},v1=${mac}` } };
}

export async function verify(ctx) {
    await new Mux({ tokenId: "x", tokenSecret: "x", webhookSecret: ctx.secret }).webhooks.verifySignature(ctx.body.toString(), ctx.headers, ctx.secret);
    return true;
}
