// WorkOS's SDK verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import { WorkOS } from "@workos-inc/node";

export const provider = "workos";
export const sdk = "@workos-inc/node@8.13.0";
export const secret = "fakeWorkOSSecret0001";
export const wrongSecret = "fakeWorkOSSecret0002";
// The SDK hashes the JSON as it would write it itself, so only such bodies will do.
export const samples = ['{"id":"event_01EHZNVPK3SFK441A1RGBFSHRT","event":"user.created","data":{"note":"Zoë ✓","n":10}}'];
export const bodies = "samples";
export const timestamp = { header: "workos-signature", tolerance: 180, signed: true };
export const laxer = [];

export const stricter = ["url"];

export function sign(ctx) {
    const at = String(ctx.now * 1000);
    const mac = createHmac("sha256", ctx.secret).update(at + ".").update(ctx.body).digest("hex");
    return { headers: { "WorkOS-Signature": `t=${at}, v1=${mac}` } };
}

export async function verify(ctx) {
    await new WorkOS("sk_fake").webhooks.constructEvent({ payload: JSON.parse(ctx.body), sigHeader: ctx.headers["workos-signature"], secret: ctx.secret });
    return true;
}
