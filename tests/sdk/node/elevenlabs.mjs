// ElevenLabs's SDK verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import { ElevenLabsClient } from "@elevenlabs/elevenlabs-js";

export const provider = "elevenlabs";
export const sdk = "@elevenlabs/elevenlabs-js@2.73.0";
export const secret = "wsec_fake0001";
export const wrongSecret = "wsec_fake0002";
export const bodies = "any";
export const timestamp = { header: "elevenlabs-signature", tolerance: 1800, signed: true };
export const laxer = ["future","duplicate_header","junk"];

export function sign(ctx) {
    const at = String(ctx.now);
    const mac = createHmac("sha256", ctx.secret).update(at + ".").update(ctx.body).digest("hex");
    return { headers: { "ElevenLabs-Signature": `t=${at},v0=${mac}` } };
}

export async function verify(ctx) {
    await new ElevenLabsClient({ apiKey: "fake" }).webhooks.constructEvent(ctx.body.toString(), ctx.headers["elevenlabs-signature"], ctx.secret);
    return true;
}
