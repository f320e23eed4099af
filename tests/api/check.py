"""Starts the gate with a store, sends it events, and runs schemathesis against its admin API.

It runs twice: with names and ids that exist, so that requests succeed, and with generated values. The seed is fixed, so
that a run can be repeated. Tails are excluded, because their responses do not end.
"""

import hashlib
import hmac
import http.server
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

SECRET = "s3cret-of-a-test-0123456789abcdef"
TOKEN = "zQ4v9Jm2Lr7Xw1Bt"
CONFIG = """
[server]
listen = ["127.0.0.1:0"]
[admin]
listen = "127.0.0.1:0"
token = "{token}"
[store]
url = "sqlite:hookgate.db"
min_free = "1MiB"
[log]
format = "json"
[routes.hook]
path = "/hook"
provider = "github"
secret = "{secret}"
mode = "queue"
upstream = "http://127.0.0.1:{app}/in"
[routes.hook.destinations.upstream]
retry = {{ schedule = ["50ms"], max_attempts = 2, jitter = 0 }}
breaker = false
"""


class App(http.server.BaseHTTPRequestHandler):
    """Accepts all events except the type `issues`, which become dead letters."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(500 if self.headers.get("x-github-event") == "issues" else 200)
        self.end_headers()

    def log_message(self, *_):
        pass


def start_app():
    app = http.server.ThreadingHTTPServer(("127.0.0.1", 0), App)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    return app.server_address[1]


def addresses(gate):
    """Reads the addresses of the gate and of its admin listener from its log."""
    found = {}
    for line in gate.stderr:
        told = json.loads(line)
        if told.get("message") in ("listening", "admin listening"):
            found[told["message"]] = told["address"]
        if len(found) == 2:
            # Keep reading: if the pipe filled up, the gate would block on its log.
            threading.Thread(target=gate.stderr.read, daemon=True).start()
            return found["listening"], found["admin listening"]
    sys.exit("the gate did not start")


def send(address, number):
    body = json.dumps({"number": number}).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "content-type": "application/json",
        "x-hub-signature-256": f"sha256={signature if number else 64 * '0'}",
        "x-github-delivery": f"delivery-{number}",
        "x-github-event": "issues" if number % 3 == 0 else "push",
    }
    request = urllib.request.Request(f"http://{address}/hook", body, headers)
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as refused:
        # Only the first event has a wrong signature.
        assert (number, refused.code) == (0, 401), refused


def ask(admin, path, document=None):
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    body = document and json.dumps(document).encode()
    request = urllib.request.Request(f"http://{admin}/api/v1/{path}", body, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def wait_until(what, condition):
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"waited 20 seconds in vain: {what}")
        time.sleep(0.05)


def names(admin):
    """Waits for the dead letters, and returns a schemathesis config with names and ids that exist."""
    wait_until("dead letters", lambda: len(ask(admin, "deliveries?state=dead")["deliveries"]) >= 3)
    dead = ask(admin, "deliveries?state=dead")["deliveries"]
    refused = ask(admin, "verdicts?verdict=refused")["verdicts"]
    assert len(refused) == 1, refused
    replay = ask(admin, "replays", {"search": {"route": "hook"}})["replay"]["id"]
    return f"""
[parameters]
"path.uid" = "{dead[0]["event"]}"
"path.request_id" = "{refused[0]["request_id"]}"
"path.route" = "hook"
"path.name" = "upstream"
[[operations]]
include-path-regex = "^/api/v1/deliveries/"
parameters = {{ "path.id" = {dead[0]["id"]} }}
[[operations]]
include-path-regex = "^/api/v1/replays/"
parameters = {{ "path.id" = {replay} }}
[[operations]]
include-path-regex = "^/api/v1/providers/"
parameters = {{ "path.id" = "github" }}
"""


def refuse_strangers(admin):
    """Checks that each operation rejects a missing and a wrong token.

    schemathesis would do the same, but with so many wrong tokens that the gate makes it wait.
    """
    paths = ask(admin, "openapi.json")["paths"]
    for path, methods in paths.items():
        for method in methods:
            for headers in ({}, {"authorization": "Bearer wrong-wrong-wrong"}):
                path = path.replace("{", "").replace("}", "")
                request = urllib.request.Request(
                    f"http://{admin}{path}", method=method.upper(), headers=headers
                )
                try:
                    urllib.request.urlopen(request, timeout=10).close()
                    sys.exit(f"{method} {path} succeeds without a valid token")
                except urllib.error.HTTPError as refused:
                    wanted = (401, 429) if headers else (401,)
                    assert refused.code in wanted, (method, path, refused.code)


# Statuses that the gate may respond with when it rejects a request. The `default` of the document would allow any.
REFUSALS = ["400", "401", "403", "404", "409", "413", "415", "422", "429", "503"]


def refs(part):
    """Returns the names of the schemas that a part of the document references."""
    if isinstance(part, list):
        return {name for item in part for name in refs(item)}
    if not isinstance(part, dict):
        return set()
    own = {part["$ref"].rsplit("/", 1)[1]} if "$ref" in part else set()
    return own | {name for item in part.values() for name in refs(item)}


def reached(part, schemas):
    """Returns the names of all schemas that a part of the document references, directly or through others."""
    found, todo = set(), refs(part)
    while todo:
        name = todo.pop()
        found.add(name)
        todo |= refs(schemas[name]) - found
    return found


def strict(document):
    """Returns a stricter document: the gate may send only fields and statuses that the document names.

    The published document is open, because clients must accept new fields of later versions.
    """
    schemas = document["components"]["schemas"]
    operations = [each for path in document["paths"].values() for each in path.values()]
    asked = reached([each.get("requestBody", {}) for each in operations], schemas)
    told = reached([each["responses"] for each in operations], schemas)
    parts = refs([schema.get("allOf", []) for schema in schemas.values()])
    closed = 0
    for name in told - asked - parts:
        if "properties" in schemas[name] or "allOf" in schemas[name]:
            schemas[name].setdefault("unevaluatedProperties", False)
            closed += 1
    assert closed > 40, closed
    for each in operations:
        refused = each["responses"].pop("default")
        each["responses"] |= {status: refused for status in REFUSALS}
    return document


def does_hold(schemathesis, admin, config, more):
    """Returns whether all responses match the document."""
    document = config.with_suffix(".openapi.json")
    document.write_text(json.dumps(strict(ask(admin, "openapi.json"))))
    command = [schemathesis, "--config-file", str(config)]
    command += ["run", str(document), "--url", f"http://{admin}"]
    command += ["--header", f"Authorization: Bearer {TOKEN}"]
    command += ["--checks", "all", "--exclude-checks", "ignored_auth"]
    command += ["--exclude-operation-id", "tail_events", "--exclude-operation-id", "tail_verdicts"]
    command += ["--seed", "1", "--workers", "2", "--request-timeout", "20", "--no-color", *more]
    return subprocess.run(command, check=False, cwd=config.parent).returncode == 0


def main():
    program, schemathesis = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "hookgate.toml"
        config.write_text(CONFIG.format(token=TOKEN, secret=SECRET, app=start_app()))
        gate = subprocess.Popen(
            [program, "run", "--config", str(config)], stderr=subprocess.PIPE, text=True
        )
        try:
            public, admin = addresses(gate)
            for number in range(12):
                send(public, number)
            settings = Path(__file__).with_name("schemathesis.toml").read_text()
            named = Path(folder) / "named.toml"
            named.write_text(settings + names(admin))
            free = Path(folder) / "free.toml"
            free.write_text(settings)
            failed = [
                config.name
                for config, more in [
                    (named, ["--phases", "fuzzing", "--max-examples", "10"]),
                    (free, ["--max-examples", "25"]),
                ]
                if not does_hold(schemathesis, admin, config, more)
            ]
            alive = gate.poll() is None
            if alive:
                refuse_strangers(admin)
        finally:
            gate.kill()
            gate.wait()
    if not alive:
        sys.exit("the gate exited during the test")
    if failed:
        sys.exit(f"responses do not match the document: {', '.join(failed)}")


main()
