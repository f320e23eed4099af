// Bodies that a driver's sender might send, and damaged versions of them.

const PLAIN = '{"id":"evt_1","type":"invoice.paid","created":1700000000,"data":{"amount":1999}}';

// Text that changes if a parser writes the body again: escapes, `10.0`, exponents, spaces, the order of keys.
const ODD = '{"z":1,"id":"evt_2","type":"note.added", "total":10.0,"rate":1E3,"note":"Zo\\u00eb \\/ ✓ 日本 🎉","q":"\\"\\\\"}';

const SPREAD = '{\r\n\t"id" : "evt_3",\r\n\t"type" : "a.b",\r\n\t"list" : [ 1, 2 ]\r\n}\r\n';

function large() {
    const item = '{"object":"line_item","text":"größer ✓","amount":1999},';
    return `{"id":"evt_4","type":"a.b","data":[${item.repeat(Math.ceil((100 * 1024) / Buffer.byteLength(item)))}{}]}`;
}

// Returns name, body and transport of each good body.
export function goodBodies(driver) {
    const samples = (driver.samples ?? (driver.bodies === "samples" ? [] : [PLAIN])).map((text) => Buffer.from(text));
    const named = samples.flatMap((body, index) => {
        const transports = index === 0 ? ["h1", "chunked", "h2"] : ["h1"];
        return transports.map((transport) => [`sample ${index + 1}`, body, transport]);
    });
    if (driver.bodies === "samples") return named;
    const more = [["escapes", ODD, "h1"], ["escapes", ODD, "chunked"], ["escapes", ODD, "h2"], ["line ends", SPREAD, "h1"],
        ["100 KiB", large(), "h1"], ["100 KiB", large(), "chunked"], ["100 KiB", large(), "h2"]];
    return [...named, ...more.map(([name, text, transport]) => [name, Buffer.from(text), transport])];
}

// Returns name, the word by which a driver allows the damage, and the damaged body.
export function spoiltBodies(body) {
    const flipped = (at) => Buffer.from(body.map((byte, index) => (index === at ? byte ^ 1 : byte)));
    const spoilt = [
        ["body's first byte flipped", "body", flipped(0)],
        ["body's middle byte flipped", "body", flipped(body.length >> 1)],
        ["body's last byte flipped", "body", flipped(body.length - 1)],
        ["body cut by one byte", "body", body.subarray(0, -1)],
        ["byte-order mark before the body", "bom", Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), body])],
        ["line feed after the body", "whitespace", Buffer.concat([body, Buffer.from("\n")])],
    ];
    for (const [name, text] of rewritten(body)) spoilt.push([name, "reserialised", Buffer.from(text)]);
    return spoilt.filter(([, , changed]) => !changed.equals(body));
}

function rewritten(body) {
    try {
        const value = JSON.parse(body.toString());
        return [
            ["body written again, indented", JSON.stringify(value, null, 2)],
            ["body written again, with spaces", JSON.stringify(value, null, 1).replace(/\n\s*/g, " ")],
        ];
    } catch {
        return [];
    }
}
