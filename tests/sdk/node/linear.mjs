// Linear's SDK: verifies. The time is in the body, so only bodies made for it pass.
import { createHmac } from "node:crypto";
import { LinearWebhookClient } from "@linear/sdk/webhooks";

export const provider = "linear";
export const sdk = "@linear/sdk@98.0.0";
export const secret = "lin_wh_fakeSecret01";
export const wrongSecret = "lin_wh_fakeSecret02";
export const route = {};
export const contentType = "application/json";
export const samples = [
    '{"action":"create","type":"Issue","data":{"title":"Zoë ✓","estimate":10.0}}',
];
export const bodies = "samples"; // `webhookTimestamp` has to be in the body

export function sign(ctx) {
    const rest = ctx.body.toString().replace(/^\{/, "");
    const body = Buffer.from(`{"webhookTimestamp":${ctx.now * 1000},${rest}`);
    const mac = createHmac("sha256", ctx.secret).update(body).digest("hex");
    return { headers: { "Linear-Signature": mac }, body };
}

export async function verify(ctx) {
    return new LinearWebhookClient(ctx.secret).verify(ctx.body, ctx.headers["linear-signature"]);
}

export const timestamp = { json: "/webhookTimestamp", tolerance: 60, signed: true };
export const laxer = [];
export const stricter = [];
