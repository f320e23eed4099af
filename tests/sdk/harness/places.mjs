// Locations in a request of the values that its driver added: headers, and query parameters.

export function places(request) {
    const headers = request.headers.map(([name]) => ({ kind: "header", name: name.toLowerCase() }));
    return [...headers, ...pairs(request.url).map(([name]) => ({ kind: "query", name }))];
}

export function read(request, { kind, name }) {
    const all = kind === "header" ? request.headers : pairs(request.url);
    return all.find(([key]) => key.toLowerCase() === name.toLowerCase())?.[1];
}

export function without(request, place) {
    return change(request, place, () => []);
}

export function withValue(request, place, value) {
    return change(request, place, (name) => [[name, value]]);
}

export function withTwo(request, place, first, second) {
    return change(request, place, (name) => [[name, first], [name, second]]);
}

// Parameters are handled as they are written. Only the driver escapes the values that it adds.
function change(request, { kind, name }, make) {
    const all = kind === "header" ? request.headers : pairs(request.url);
    const changed = all.flatMap(([key, value]) => (key.toLowerCase() === name.toLowerCase() ? make(key) : [[key, value]]));
    if (kind === "header") return { ...request, headers: changed };
    const query = changed.map(([key, value]) => `${key}=${encodeStrange(value)}`).join("&");
    return { ...request, url: request.url.split("?")[0] + (query === "" ? "" : `?${query}`) };
}

function pairs(url) {
    const at = url.indexOf("?");
    if (at < 0) return [];
    return url.slice(at + 1).split("&").map((pair) => {
        const [key, ...rest] = pair.split("=");
        return [key, rest.join("=")];
    });
}

function encodeStrange(value) {
    return value.replace(/[^!-~]/g, encodeURIComponent);
}

// Returns headers as a web framework passes them to an SDK: lower-case names, and repeated headers joined as node does.
export function joined(headers) {
    const result = {};
    for (const [name, value] of headers) {
        const key = name.toLowerCase();
        // A server removes the spaces around a value.
        const text = value.trim();
        result[key] = key in result ? `${result[key]}, ${text}` : text;
    }
    return result;
}
