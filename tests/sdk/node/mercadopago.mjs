// Mercado Pago's SDK verifies; it cannot sign, so that is done here by the documented recipe.
import { createHmac } from "node:crypto";
import { WebhookSignatureValidator } from "mercadopago";

export const provider = "mercadopago";
export const sdk = "mercadopago@3.6.1";
export const secret = "fake-mercadopago-secret-1";
export const wrongSecret = "fake-mercadopago-secret-2";
export const bodies = "any";
export const timestamp = { header: "x-signature", tolerance: 300, signed: true };

export function sign({ secret: key, now, id, url }) {
    const mac = createHmac("sha256", key).update(`id:123456;request-id:${id};ts:${now};`).digest("hex");
    return { url: `${url}?data.id=123456&type=payment`, headers: { "x-signature": `ts=${now},v1=${mac}`, "x-request-id": id } };
}

export function verify({ secret: key, headers, url }) {
    WebhookSignatureValidator.validate({
        xSignature: headers["x-signature"],
        xRequestId: headers["x-request-id"],
        dataId: new URL(url).searchParams.get("data.id"),
        secret: key,
        toleranceSeconds: 300,
    });
    return true;
}

export const laxer = ["junk", "duplicate_header"];
