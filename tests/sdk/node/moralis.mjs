// Moralis's SDK verifies. It serializes the parsed body again, so it accepts only bodies that come out the same.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { Core } = require("@moralisweb3/common-core");
const { Streams } = require("@moralisweb3/streams");
const { keccak256 } = require("ethereumjs-util");

export const provider = "moralis";
export const sdk = "@moralisweb3/streams@2.27.2";
export const secret = "fake-moralis-secret-0001";
export const wrongSecret = "fake-moralis-secret-0002";
export const samples = [
    '{"confirmed":true,"chainId":"0x1","streamId":"s-1","tag":"Zoë ✓ 你好","block":{"number":"1","hash":"0xab","timestamp":"1700000000"}}',
    '{"confirmed":false,"chainId":"0x89","streamId":"s-2","tag":"","txs":[],"logs":[]}',
];
export const bodies = "samples";
export const laxer = ["reserialised", "whitespace"];

export function sign(ctx) {
    return { headers: { "X-Signature": `0x${keccak256(Buffer.concat([ctx.body, Buffer.from(ctx.secret)])).toString("hex")}` } };
}

export async function verify(ctx) {
    const core = Core.create();
    const streams = Streams.create(core);
    core.registerModules([streams]);
    core.start();
    core.config.set("streamsSecret", ctx.secret);
    return streams.verifySignature({ body: JSON.parse(ctx.body.toString()), signature: ctx.headers["x-signature"] });
}
