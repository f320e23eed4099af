// CloudConvert's SDK: verifies.
import { createHmac } from "node:crypto";
import CloudConvert from "cloudconvert";

export const provider = "cloudconvert";
export const sdk = "cloudconvert@3.0.0";
export const secret = "fakeCloudConvertSecret01";
export const wrongSecret = "fakeCloudConvertSecret02";
export const route = {};
export const contentType = "application/json";
export const bodies = "any";

// The SDK cannot sign; this is the documented recipe.
export function sign(ctx) {
    const mac = createHmac("sha256", ctx.secret).update(ctx.body).digest("hex");
    return { headers: { "CloudConvert-Signature": mac } };
}

const Client = CloudConvert.default ?? CloudConvert;
const client = new Client("fake", true);

export async function verify(ctx) {
    const signature = ctx.headers["cloudconvert-signature"];
    return client.webhooks.verify(ctx.body.toString(), signature, ctx.secret);
}

export const laxer = [];
export const stricter = [];
