// Braintree's SDK makes sample notifications and parses them.
import braintree from "braintree";

export const provider = "braintree";
export const sdk = "braintree@3.40.0";
const gateway = (privateKey) => new braintree.BraintreeGateway({ environment: braintree.Environment.Sandbox, merchantId: "m", publicKey: "fakePublicKey", privateKey });
export const secret = "fakePrivateKey0001";
export const wrongSecret = "fakePrivateKey0002";
// The gate answers Braintree's URL check with it.
export const route = { verify_token: "fakePublicKeyOfAKey01" };
export const contentType = "application/x-www-form-urlencoded";
export const samples = [""];
export const bodies = "samples";
export const laxer = [];

export function sign(ctx) {
    const made = gateway(ctx.secret).webhookTesting.sampleNotification(braintree.WebhookNotification.Kind.SubscriptionWentPastDue, "my_id");
    return { headers: {}, body: Buffer.from(new URLSearchParams({ bt_signature: made.bt_signature, bt_payload: made.bt_payload }).toString()) };
}

export async function verify(ctx) {
    const form = new URLSearchParams(ctx.body.toString());
    await gateway(ctx.secret).webhookNotification.parse(form.get("bt_signature"), form.get("bt_payload"));
    return true;
}
