"""Senders behind a load balancer: they sign events, choose a node at random, and send again until they get a 2xx."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import random
import time

from .event_loop import LoopThread
from .records import Sending, Try
from .routes import SECRET, choose
from .waiting import let_time_pass_async, wait_for

ANSWER_LIMIT = 15.0
PADDING = "x" * 200
# Share of the events whose sender does not send again after a failure.
GIVES_UP = 0.03


class _Connection:
    """A kept connection to one node."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, head: str, body: bytes) -> int:
        """Sends a request and returns the status. Any error closes the connection."""
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                if self._streams is None:
                    self._streams = await asyncio.open_connection("127.0.0.1", self._port)
                reader, writer = self._streams
                writer.write(head.encode() + body)
                await writer.drain()
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
                length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
                await reader.readexactly(length)
                if "connection: close" in lines:
                    self.close()
                return int(lines[0].split(" ")[1])
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the connection; the next request opens another one."""
        if self._streams is not None:
            with contextlib.suppress(OSError):
                self._streams[1].close()
        self._streams = None


class Senders:
    """A number of senders that send one event after the other, with pauses between them."""

    def __init__(self, loop: LoopThread, nodes: dict[str, int], seed: int, count: int, rate: float) -> None:
        self._loop = loop
        # Ports by the name of the node, as the load balancer knows them.
        self.nodes = dict(nodes)
        self._seed = seed
        self._count = count
        self._pause = count / rate
        self.sendings: list[Sending] = []
        self._is_stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins the load."""
        self._loop.call(self._start())

    async def _start(self) -> None:
        self._is_stopping = False
        round_ = len(self._tasks)
        self._tasks += [asyncio.create_task(self._run(round_ + each)) for each in range(self._count)]

    def stop(self, limit: float) -> None:
        """Ends the load. Each sender first brings its current event through."""
        self._is_stopping = True
        wait_for("every sender gets its last event through", lambda: all(task.done() for task in self._tasks), limit)
        for task in self._tasks:
            task.result()

    @property
    def acknowledged(self) -> int:
        """Returns the number of acknowledged events so far."""
        return sum(1 for sending in self.sendings if sending.acknowledged is not None)

    async def _run(self, number: int) -> None:
        source = random.Random(f"{self._seed} {number}")
        connections: dict[str, _Connection] = {}
        count = 0
        while not self._is_stopping:
            count += 1
            route, kind = choose(source)
            # The others are busy with events of the store while the database is away.
            if number % 4 == 3:
                route = "proxy"
            # Some keys belong to one sender, whose events have one order; others are shared.
            key = f"own-{number}" if source.random() < 0.5 else f"shared-{source.randrange(4)}"
            sending = Sending(f"evt-{self._seed}-{number}-{count}", route, kind, key, number)
            self.sendings.append(sending)
            is_doomed = source.random() < 0.3
            await self._bring_through(sending, is_doomed, source, connections)
            await let_time_pass_async("the sender rests", source.expovariate(1 / self._pause))
        for connection in connections.values():
            connection.close()

    async def _bring_through(
        self, sending: Sending, is_doomed: bool, source: random.Random, connections: dict[str, _Connection]
    ) -> None:
        head, body = _request(sending, is_doomed)
        gives_up = source.random() < GIVES_UP
        pause = 0.05
        copies = 2 if sending.route == "once" else 1
        while True:
            nodes = source.sample(sorted(self.nodes.items()), min(copies, len(self.nodes)))
            tries = []
            for node, port in nodes:
                connection = connections.setdefault(node, _Connection(port))
                tries.append(_try(sending, node, connection, head, body))
            for one in await asyncio.gather(*tries):
                if one.status is not None and 200 <= one.status < 300:
                    sending.acknowledged, sending.status = one.ended, one.status
            if sending.acknowledged is not None:
                return
            if gives_up:
                sending.gave_up = True
                return
            await let_time_pass_async("the sender waits before the next try", pause * (0.5 + source.random()))
            pause = min(pause * 2, 1.0)


async def _try(sending: Sending, node: str, connection: _Connection, head: str, body: bytes) -> Try:
    """Sends an event to a node once, and records it."""
    one = Try(node, time.monotonic(), 0.0, None)
    sending.tries.append(one)
    try:
        one.status = await connection.send(head, body)
    except (OSError, EOFError, TimeoutError, ValueError) as error:
        one.error = type(error).__name__
    one.ended = time.monotonic()
    return one


def _request(sending: Sending, is_doomed: bool) -> tuple[str, bytes]:
    document = {"id": sending.event, "key": sending.key, "doomed": is_doomed, "padding": PADDING}
    body = json.dumps(document).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    lines = (
        f"POST /{sending.route} HTTP/1.1",
        "Host: hooks.example.com",
        "Content-Type: application/json",
        f"X-GitHub-Event: {sending.kind}",
        f"X-GitHub-Delivery: {sending.event}",
        f"X-Hub-Signature-256: sha256={signature}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(lines) + "\r\n\r\n", body
