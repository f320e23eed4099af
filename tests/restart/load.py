"""Senders of signed events, and the app that gets them. Both record what they see."""

import asyncio
import hashlib
import hmac
import json
import time

SECRET = "restart-test-secret-0123456789"


class App:
    """Answers with 200. The time that it takes is in the body of the event."""

    def __init__(self):
        self.arrivals = {}
        self.ended = {}
        self.server = None

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024)
        self.port = self.server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        try:
            while True:
                head = await read_head(reader)
                if head is None:
                    break
                body = await reader.readexactly(int(head.get("content-length", "0")))
                event = json.loads(body)
                name = event["name"]
                self.arrivals.setdefault(name, []).append(time.monotonic())
                await asyncio.sleep(event.get("seconds", 0))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                await writer.drain()
                self.ended.setdefault(name, []).append(time.monotonic())
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def read_head(reader):
    try:
        text = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    lines = text.decode().split("\r\n")
    head = {"": lines[0]}
    for line in lines[1:]:
        if line:
            name, value = line.split(":", 1)
            head[name.lower()] = value.strip()
    return head


def request(path, name, seconds=0.0, close=True):
    body = json.dumps({"name": name, "seconds": seconds}).encode()
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: gate.test\r\ncontent-type: application/json\r\n"
        f"x-github-event: push\r\nx-github-delivery: {name}\r\nx-hub-signature-256: sha256={digest}\r\n"
        f"content-length: {len(body)}\r\n" + ("connection: close\r\n" if close else "") + "\r\n"
    )
    return head.encode() + body


class Sender:
    """Sends events one after the other, and records how long each waited for its response."""

    def __init__(self, port):
        self.port = port
        self.results = []
        self.connection = None

    async def send(self, path, name, seconds=0.0, keep=False, limit=60):
        began = time.monotonic()
        try:
            status = await asyncio.wait_for(self.exchange(path, name, seconds, keep), limit)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
            status = f"{type(error).__name__}: {error}"
            self.connection = None
        took = time.monotonic() - began
        self.results.append((began, took, path, name, status))
        return status, took

    async def exchange(self, path, name, seconds, keep):
        # As connection pools do before they use a connection again.
        if self.connection is not None and self.connection[0].at_eof():
            self.connection = None
        if self.connection is None:
            self.connection = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.connection
        writer.write(request(path, name, seconds, close=not keep))
        await writer.drain()
        head = await read_head(reader)
        if head is None:
            raise ConnectionResetError("closed without a response")
        await reader.readexactly(int(head.get("content-length", "0")))
        if not keep or head.get("connection", "").lower() == "close":
            writer.close()
            self.connection = None
        return int(head[""].split()[1])


class Load:
    """Senders on all routes, until they are stopped."""

    def __init__(self, port, paths, senders=6, pause=0.02):
        self.senders = [Sender(port) for _ in range(senders)]
        self.paths = paths
        self.pause = pause
        self.is_over = False
        self.tasks = []

    def start(self):
        for number, sender in enumerate(self.senders):
            self.tasks.append(asyncio.create_task(self.run(number, sender)))

    async def run(self, number, sender):
        count = 0
        # Every second sender keeps its connection, as providers do.
        keep = number % 2 == 1
        while not self.is_over:
            path = self.paths[(number // 2 + count) % len(self.paths)]
            await sender.send(path, f"load-{number}-{count}-{time.time_ns()}", keep=keep)
            count += 1
            await asyncio.sleep(self.pause)

    async def stop(self):
        self.is_over = True
        await asyncio.gather(*self.tasks)

    def all_served(self):
        return all(sender.results for sender in self.senders)

    def results(self):
        return [result for sender in self.senders for result in sender.results]


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0
