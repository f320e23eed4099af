"""Serves the drivers of this folder to the harness: one JSON line in, one out."""

import base64
import contextlib
import importlib.util
import json
import pathlib
import sys
import traceback

FOLDER = pathlib.Path(__file__).parent
KEYS = {
    "provider": "provider",
    "sdk": "sdk",
    "secret": "secret",
    "wrong_secret": "wrongSecret",
    "route": "route",
    "content_type": "contentType",
    "samples": "samples",
    "bodies": "bodies",
    "timestamp": "timestamp",
    "laxer": "laxer",
    "stricter": "stricter",
    "method": "method",
}
MODULES = {}


def listed(only):
    drivers = []
    for path in sorted(FOLDER.glob("*.py")):
        if path.name == "harness.py" or (only and path.stem not in only):
            continue
        entry = {"id": path.stem}
        try:
            module = load(path.stem)
            entry["driver"] = {to: plain(getattr(module, name)) for name, to in KEYS.items() if hasattr(module, name)}
            entry["can_verify"] = hasattr(module, "verify")
        except BaseException:
            entry["error"] = traceback.format_exc(limit=-2)
        drivers.append(entry)
    return drivers


def load(name):
    # A driver may have the name of its package, so the folder is not added to the path.
    spec = importlib.util.spec_from_file_location(f"driver_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    MODULES[name] = module
    return module


def plain(value):
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value


def sign(module, ctx):
    signed = dict(module.sign(ctx))
    if "body" in signed:
        body = signed["body"]
        signed["body"] = base64.b64encode(body.encode() if isinstance(body, str) else body).decode()
    return signed


def verify(module, ctx):
    try:
        return bool(module.verify(ctx))
    except Exception:
        return False


def answer(message):
    if message["call"] == "list":
        return listed(message.get("only"))
    ctx = dict(message["ctx"], body=base64.b64decode(message["ctx"]["body"]))
    return {"sign": sign, "verify": verify}[message["call"]](MODULES[message["id"]], ctx)


def main():
    sys.path[:] = [path for path in sys.path if pathlib.Path(path or ".").resolve() != FOLDER]
    out = sys.stdout
    for line in sys.stdin:
        try:
            # Output of an SDK must not mix with the responses.
            with contextlib.redirect_stdout(sys.stderr):
                reply = {"value": answer(json.loads(line))}
        except BaseException:
            reply = {"error": traceback.format_exc(limit=-2)}
        out.write(json.dumps(reply) + "\n")
        out.flush()


main()
