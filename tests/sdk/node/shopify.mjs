// Shopify's API library verifies; it cannot sign, so the signature is made as Shopify documents it.
import { createHmac } from "node:crypto";

import "@shopify/shopify-api/adapters/node";
import { shopifyApi } from "@shopify/shopify-api";

export const provider = "shopify";
export const sdk = "@shopify/shopify-api@15.0.0";
export const secret = "shpss_not_a_real_secret_1";
export const wrongSecret = "shpss_not_a_real_secret_2";
export const bodies = "any";
// It requires every header that Shopify sends, although no header is signed.
export const stricter = ["missing", "empty"];

function api(apiSecretKey) {
    return shopifyApi({
        apiKey: "key", apiSecretKey, hostName: "hooks.test", apiVersion: "2026-10", isEmbeddedApp: false,
        logger: { level: 0, log: () => {} },
    });
}

export function sign({ secret, body, id }) {
    return {
        headers: {
            "X-Shopify-Hmac-Sha256": createHmac("sha256", secret).update(body).digest("base64"),
            "X-Shopify-Topic": "orders/create",
            "X-Shopify-Webhook-Id": id,
            "X-Shopify-API-Version": "2026-10",
            "X-Shopify-Shop-Domain": "shop.myshopify.com",
        },
    };
}

export async function verify({ secret, headers, body, url, method }) {
    const rawRequest = { method, url, headers };
    const result = await api(secret).webhooks.validate({ rawBody: body.toString(), rawRequest });
    return result.valid;
}
