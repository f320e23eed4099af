// For scripts of the tests: waits until `ask` returns something true, and returns it. Throws after `limit` milliseconds.
export async function until(what, limit, ask) {
    const end = Date.now() + limit;
    for (;;) {
        const found = await ask();
        if (found) return found;
        if (Date.now() > end) throw new Error(`waited ${limit} ms in vain: ${what}`);
        await new Promise((later) => setTimeout(later, 10));
    }
}
