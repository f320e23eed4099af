// Sends one request over TLS: HTTP/1.1 with a length, HTTP/1.1 in chunks, or HTTP/2. The target is sent as it is
// written: nothing here may normalize an escape.

import http2 from "node:http2";
import https from "node:https";
import tls from "node:tls";

import { HOST, ORIGIN } from "./gate.mjs";

const LIMIT_MS = 20_000;

export class Client {
    constructor(port, certificate) {
        this.port = port;
        this.certificate = certificate;
        this.agent = new https.Agent({ keepAlive: true, maxSockets: 16 });
        this.session = null;
    }

    send(request, transport) {
        return transport === "h2" ? this.sendOverHttp2(request) : this.sendOverHttp1(request, transport === "chunked");
    }

    stop() {
        this.agent.destroy();
        this.session?.close();
    }

    sendOverHttp1({ method, url, headers, body }, isChunked) {
        const framing = isChunked ? ["transfer-encoding", "chunked"] : ["content-length", String(body.length)];
        return new Promise((done, failed) => {
            const request = https.request({
                agent: this.agent, host: "127.0.0.1", port: this.port, servername: HOST, ca: this.certificate,
                method, path: target(url), headers: ["host", HOST, ...headers.flat(), ...framing],
            }, (response) => collect(response).then((text) => done(answer(response.statusCode, text)), failed));
            request.setTimeout(LIMIT_MS, () => request.destroy(new Error("no answer")));
            request.on("error", failed);
            for (const piece of isChunked ? pieces(body) : [body]) request.write(piece);
            request.end();
        });
    }

    sendOverHttp2({ method, url, headers, body }) {
        const fields = { ":method": method, ":path": target(url), ":scheme": "https", ":authority": HOST };
        for (const [name, value] of headers) {
            fields[name.toLowerCase()] = [...(fields[name.toLowerCase()] ?? []), value];
        }
        return new Promise((done, failed) => {
            const stream = this.openSession().request(fields);
            let status = 0;
            stream.on("response", (head) => { status = head[":status"]; });
            stream.on("error", failed);
            stream.setTimeout(LIMIT_MS, () => stream.destroy(new Error("no answer")));
            collect(stream).then((text) => done(answer(status, text)), failed);
            stream.end(body);
        });
    }

    openSession() {
        if (!this.session || this.session.closed || this.session.destroyed) {
            const options = { host: "127.0.0.1", port: this.port, servername: HOST, ca: this.certificate };
            const connect = () => tls.connect({ ...options, ALPNProtocols: ["h2"] });
            this.session = http2.connect(ORIGIN, { createConnection: connect });
            this.session.on("error", () => {});
        }
        return this.session;
    }
}

function target(url) {
    return url.slice(ORIGIN.length) || "/";
}

function* pieces(body) {
    // Odd sizes, so that pieces end inside characters.
    const size = Math.max(7, Math.ceil(body.length / 5) | 1);
    for (let at = 0; at < body.length; at += size) yield body.subarray(at, at + size);
}

async function collect(stream) {
    const parts = [];
    for await (const part of stream) parts.push(part);
    return Buffer.concat(parts).toString();
}

function answer(status, text) {
    return { status, requestId: /"request_id":"([^"]+)"/.exec(text)?.[1] };
}
