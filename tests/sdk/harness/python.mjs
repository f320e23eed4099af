// Drivers in Python, with the same interface as those in Node: one process, one JSON line each way per call.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

export async function loadPython(interpreter, folder, only) {
    const child = spawn(interpreter, [`${folder}/harness.py`], { stdio: ["pipe", "pipe", "inherit"] });
    const waiting = [];
    createInterface({ input: child.stdout }).on("line", (line) => waiting.shift()?.(JSON.parse(line)));
    child.on("exit", (code) => waiting.splice(0).forEach((done) => done({ error: `Python ended with ${code}` })));
    const call = (message) => new Promise((done, failed) => {
        waiting.push((reply) => (reply.error === undefined ? done(reply.value) : failed(new Error(reply.error))));
        child.stdin.write(`${JSON.stringify(message)}\n`);
    });
    const listed = await call({ call: "list", only });
    return { drivers: listed.map((one) => face(one, call)), stop: () => child.stdin.end() };
}

function face(listed, call) {
    const { driver, error, can_verify: canVerify } = listed;
    if (error) return { id: listed.id, language: "python", fault: error };
    const pack = (ctx) => ({ ...ctx, body: ctx.body.toString("base64") });
    return {
        ...driver,
        id: listed.id,
        language: "python",
        async sign(ctx) {
            const signed = await call({ call: "sign", id: listed.id, ctx: pack(ctx) });
            return signed.body === undefined ? signed : { ...signed, body: Buffer.from(signed.body, "base64") };
        },
        ...(canVerify && { verify: (ctx) => call({ call: "verify", id: listed.id, ctx: pack(ctx) }) }),
    };
}
