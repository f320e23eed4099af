// Adyen's SDK: verifies webhooks of the balance platform and of management.
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";

const { hmacValidator } = createRequire(import.meta.url)("@adyen/api-library");

export const provider = "adyen_platform";
export const sdk = "@adyen/api-library@32.1.0";
export const secret = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056";
export const wrongSecret = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA057";
export const route = {};
export const contentType = "application/json";
export const bodies = "any";

// The SDK cannot sign; this is the documented recipe.
export function sign(ctx) {
    const mac = createHmac("sha256", Buffer.from(ctx.secret, "hex")).update(ctx.body).digest("base64");
    return { headers: { "HmacSignature": mac } };
}

export async function verify(ctx) {
    const validator = new hmacValidator();
    return validator.validateHMACSignature(ctx.secret, ctx.headers.hmacsignature, ctx.body.toString());
}

export const laxer = [
    "junk", // Buffer.from passes over what is not base64
    "duplicate_header", // what follows the first value is passed over
    "malformed",
];
export const stricter = [];
