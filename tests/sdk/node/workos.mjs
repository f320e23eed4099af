// WorkOS's SDK signs and verifies.
import { WorkOS } from "@workos-inc/node";

export const provider = "workos";
export const sdk = "@workos-inc/node@8.13.0";
export const secret = "fakeWorkOSSecret0001";
export const wrongSecret = "fakeWorkOSSecret0002";
export const bodies = "samples"; // JSON.stringify has to give back the bytes that were sent
export const samples = [
    '{"id":"event_01EHZNVPK3SFK441A1RGBFSHRT","event":"user.created","data":{"note":"Zoë ✓ 日本 🎉","n":10}}',
    '{"id":"event_01EHZNVPK3SFK441A1RGBFSHRU","event":"dsync.user.updated","data":{"q":"\\"\\\\/","n":1.5}}',
];
export const timestamp = { header: "workos-signature", tolerance: 180, signed: true };

const { webhooks } = new WorkOS("sk_test_fake");

export async function sign({ secret: key, body, now }) {
    const time = now * 1000;
    const mac = await webhooks.computeSignature(time, JSON.parse(body.toString()), key);
    return { headers: { "WorkOS-Signature": `t=${time}, v1=${mac}` } };
}

export function verify({ secret: key, headers, body }) {
    return webhooks.verifyHeader({ payload: JSON.parse(body.toString()), sigHeader: headers["workos-signature"], secret: key });
}

// It reads only the text after the first two equals signs of the header.
export const laxer = ["malformed", "junk", "junk_before", "duplicate_header", "reserialised", "whitespace", "future"];
