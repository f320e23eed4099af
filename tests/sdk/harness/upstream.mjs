export function upstreamSignatures() {
    return { routes: [], async hold() {} };
}
