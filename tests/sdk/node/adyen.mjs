// Adyen's SDK: signs and verifies the events of standard webhooks, value by value.
import { createRequire } from "node:module";

const { hmacValidator } = createRequire(import.meta.url)("@adyen/api-library");

export const provider = "adyen";
export const sdk = "@adyen/api-library@32.1.0";
export const secret = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056";
export const wrongSecret = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA057";
export const route = {};
export const contentType = "application/json";
export const bodies = "samples";

const event = (more) =>
    JSON.stringify({
        live: "false",
        notificationItems: [
            {
                NotificationRequestItem: {
                    additionalData: {},
                    amount: { value: 1130, currency: "EUR" },
                    pspReference: "7914073381342284",
                    eventCode: "AUTHORISATION",
                    merchantAccountCode: "TestMerchant",
                    merchantReference: "TestPayment-1407325143704",
                    success: "true",
                    ...more,
                },
            },
        ],
    });
export const samples = [
    event({}),
    event({ originalReference: "NC6HT9CRT65ZGN82", eventCode: "REFUND" }),
    event({ merchantReference: "shop:Zoë ✓ 你好:17", reason: "\u0007\"\\/\n" }),
    event({ amount: { value: 0, currency: "EUR" }, success: "false", reason: "x".repeat(100_000) }),
];

const item = (body) => JSON.parse(body.toString()).notificationItems[0].NotificationRequestItem;

export function sign(ctx) {
    const all = JSON.parse(ctx.body.toString());
    const mac = new hmacValidator().calculateHmac(item(ctx.body), ctx.secret);
    all.notificationItems[0].NotificationRequestItem.additionalData.hmacSignature = mac;
    return { headers: {}, body: Buffer.from(JSON.stringify(all)) };
}

export async function verify(ctx) {
    return new hmacValidator().validateHMAC(item(ctx.body), ctx.secret);
}

export const laxer = [];
export const stricter = [];
