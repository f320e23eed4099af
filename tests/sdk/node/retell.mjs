// Retell AI's SDK verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import Retell from "retell-sdk";

export const provider = "retell";
export const sdk = "retell-sdk@5.66.1";
export const secret = "key_fake_retell_0001";
export const wrongSecret = "key_fake_retell_0002";
export const bodies = "any";
export const timestamp = { header: "x-retell-signature", tolerance: 300, signed: true };
export const laxer = [];

export function sign(ctx) {
    const at = String(ctx.now * 1000);
    const mac = createHmac("sha256", ctx.secret).update(ctx.body).update(at).digest("hex");
    return { headers: { "X-Retell-Signature": `v=${at},d=${mac}` } };
}

export async function verify(ctx) {
    return await Retell.verify(ctx.body.toString(), ctx.secret, ctx.headers["x-retell-signature"]);
}
