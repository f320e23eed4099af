// Worldline's SDK verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import worldline from "onlinepayments-sdk-nodejs";

export const provider = "worldline";
export const sdk = "onlinepayments-sdk-nodejs@6.2.0";
export const secret = "fake-worldline-secret-1";
export const wrongSecret = "fake-worldline-secret-2";
export const bodies = "any";

export function sign(ctx) {
    const mac = createHmac("sha256", ctx.secret).update(ctx.body).digest("base64");
    return { headers: { "X-GCS-Signature": mac, "X-GCS-KeyId": "fake-key-id" } };
}

export async function verify(ctx) {
    const store = { getSecretKey: async () => ctx.secret };
    await worldline.webhooks.init(store).validate(ctx.body, ctx.headers);
    return true;
}

// It requires the name of the key, which the gate does not need.
export const stricter = ["missing"];
