#!/usr/bin/env python3
"""Measures several nodes on one PostgreSQL server: events a second, delay of acknowledgement, takes, growth, retention.

Usage: benches/scale.py [--parts accept,backlog,grow,retention,http] [--events N] [--program HOOKGATE]

Starts a throw-away server, builds `benches/scale.rs` and `benches/scale_load.rs`, and prints a table for each part. `http`
sends over HTTP to one, two and three nodes, and needs the program. Read the figures as ratios: the server, the nodes and
the load share the processors of one machine.
"""

import argparse
import contextlib
import hashlib
import hmac
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests"))

from cluster.nodes import Node  # noqa: E402
from cluster.postgres import DATABASE, USER, Server  # noqa: E402
from cluster.routes import SECRET  # noqa: E402

PARTS = ("accept", "backlog", "grow", "retention", "http")
# As the documentation recommends for a server of its own.
SETTINGS = {
    "shared_buffers": "'1GB'",
    "max_wal_size": "'8GB'",
    "wal_compression": "on",
    "checkpoint_timeout": "'5min'",
}
SENDERS = 64
SECONDS = 6
ROUTE = """
[routes.hook]
path = "/hook"
mode = "queue"
provider = "github"
secret = {{ env = "WEBHOOK_SECRET" }}
[routes.hook.destinations.app]
url = "http://127.0.0.1:{app}/in"
concurrency = 256
"""


@contextlib.contextmanager
def server() -> Iterator[tuple[Server, pathlib.Path]]:
    """Starts a server in a temporary folder."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hookgate-scale-"))
    folder.chmod(0o755)
    one = Server(folder, "one")
    try:
        one.create(**SETTINGS)
        yield one, folder
    finally:
        one.stop()
        shutil.rmtree(folder, ignore_errors=True)


def build(name: str) -> str:
    """Builds a benchmark and returns the path of its program."""
    command = ["cargo", "bench", "--bench", name, "--no-run", "--message-format", "json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = [json.loads(line) for line in done.stdout.split("\n") if line.startswith("{")]
    return next(each["executable"] for each in messages if each.get("executable") and each["target"]["name"] == name)


def request() -> bytes:
    """Returns a signed request of 1 KiB. The signature covers the body only, so that every id can use it."""
    body = json.dumps({"padding": "x" * 1000}).encode().ljust(1024)
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    head = (
        "POST /hook HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\n"
        f"X-GitHub-Delivery: {{id}}\r\nX-Hub-Signature-256: sha256={signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def send(load: str, file: pathlib.Path, nodes: list[Node], rate: float) -> dict[str, float]:
    """Sends for a while and returns the figures."""
    ports = [str(node.port) for node in nodes]
    command = [load, "send", str(file), str(SENDERS), str(SECONDS), str(rate), *ports]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def over_http(program: str, load: str) -> None:
    """Measures acknowledged events a second over HTTP, with their deliveries, for one to three nodes."""
    print(f"over HTTP, {SENDERS} senders, signed events of 1 KiB, {SECONDS} s each, delivered at the same time:")
    for count in (1, 2, 3):
        with server() as (database, folder), subprocess.Popen(
            [load, "app"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as app:
            assert app.stdin and app.stdout
            port = int(app.stdout.readline())
            url = f"postgres://{USER}@127.0.0.1:{database.port}/{DATABASE}?sslmode=disable"
            nodes = []
            for name in "abc"[:count]:
                nodes.append(Node(name, folder, program, f'url = "{url}"\nnode = "{name}"', ROUTE.format(app=port)))
            try:
                for node in nodes:
                    node.start()
                file = folder / "request"
                file.write_bytes(request())
                full = send(load, file, nodes, 0)
                half = send(load, file, nodes, full["rate"] / 2)
            finally:
                for node in nodes:
                    node.kill()
            app.stdin.close()
            delivered = int(app.stdout.readline())
        print(
            f"  {count} nodes: {full['rate']:.0f}/s (p50 {full['p50_ms']:.1f} ms, p99 {full['p99_ms']:.1f} ms), at half of "
            f"that p50 {half['p50_ms']:.1f} ms, p99 {half['p99_ms']:.1f} ms; {full['refused'] + half['refused']} refused; "
            f"{delivered} of {full['accepted'] + half['accepted']} delivered",
            flush=True,
        )


def main() -> None:
    """Runs the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="parts to run, separated by commas")
    parser.add_argument("--events", type=int, default=1_000_000, help="size to which `grow` grows (1,000,000)")
    parser.add_argument("--program", default=str(ROOT / "target/release/hookgate"), help="path of hookgate, for `http`")
    chosen = parser.parse_args()
    for part in chosen.parts.split(","):
        if part not in PARTS:
            sys.exit(f"unknown part {part}: choose from {', '.join(PARTS)}")
        if part == "http":
            over_http(str(pathlib.Path(chosen.program).resolve()), build("scale_load"))
            continue
        with server() as (database, _):
            more = [str(chosen.events)] if part == "grow" else []
            subprocess.run([build("scale"), part, str(database.port), *more], check=True)


if __name__ == "__main__":
    main()
