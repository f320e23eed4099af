"""The app behind all destinations: an HTTP server that records each exchange and misbehaves by the seed."""

import asyncio
import collections
import contextlib
import json
import time

from .event_loop import LoopThread
from .records import Exchange
from .routes import draw
from .waiting import let_time_pass_async

ANSWER = "HTTP/1.1 {} {}\r\ncontent-length: 0\r\n\r\n"


class App:
    """Answers 2xx mostly, sometimes late, with 5xx or not at all."""

    def __init__(self, loop: LoopThread, seed: int) -> None:
        self._loop = loop
        self._seed = seed
        # Appended on the loop, read by the main thread after the load.
        self.exchanges: list[Exchange] = []
        self._seen: collections.Counter[tuple[str, str, str]] = collections.Counter()
        self._connections: set[asyncio.StreamWriter] = set()
        # Answers all with 503 while set.
        self.is_down = False
        self.port = 0
        loop.call(self._listen())

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = dict(_split(line) for line in head[1:] if line)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                if not await self._exchange(head[0].split(" ")[1], headers, body, reader, writer):
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(writer)
            with contextlib.suppress(OSError):
                writer.close()

    async def _exchange(
        self, path: str, headers: dict[str, str], body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Records one exchange and answers it. Returns whether the connection goes on."""
        began = time.monotonic()
        _, route, destination, node = path.split("/")
        document = json.loads(body)
        exchange = Exchange(
            document["id"],
            route,
            destination,
            document["key"],
            node,
            headers.get("hookgate-attempt", ""),
            began,
        )
        self.exchanges.append(exchange)
        count = self._seen[exchange.event, route, destination]
        self._seen[exchange.event, route, destination] += 1
        status, pause = self._behave(exchange, document, count)
        # A client that goes away ends the exchange, whatever the app still meant to answer.
        gone = asyncio.ensure_future(reader.read(1))
        try:
            is_gone = await _lasts_shorter(gone, pause)
        finally:
            gone.cancel()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await gone
        # Noted before the answer leaves: the next attempt of a node cannot begin before this time.
        exchange.ended = time.monotonic()
        exchange.is_cut = is_gone
        if is_gone or status is None:
            return False
        exchange.status = status
        writer.write(ANSWER.format(status, "OK" if status == 200 else "Trouble").encode())
        await writer.drain()
        return True

    def _behave(self, exchange: Exchange, document: dict[str, object], count: int) -> tuple[int | None, float]:
        """Chooses the status and the delay of an answer. No status means that the connection is closed instead."""
        chance = draw(self._seed, exchange.event, exchange.route, exchange.destination, count)
        quick = draw(self._seed, exchange.event, count) * 0.004
        if exchange.route == "proxy":
            return 200, quick
        # Long enough for the second copy to come in the meantime.
        if exchange.route == "once":
            return 200, quick * 20
        if self.is_down or (exchange.destination == "picky" and document.get("doomed")):
            return 503, quick
        if chance < 0.05:
            return 500, quick
        if chance < 0.06:
            return None, quick
        if chance < 0.07:
            return 200, 1.2
        # Later than `answer_within` of the hybrid route.
        if chance < 0.12:
            return 200, 0.05 + 0.4 * draw(exchange.event)
        return 200, quick


def _split(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()


async def _lasts_shorter(other: asyncio.Future[bytes], pause: float) -> bool:
    """Waits for a time, and returns whether the other future ended within it."""
    timer = asyncio.ensure_future(let_time_pass_async("the app works", pause))
    try:
        await asyncio.wait((other, timer), return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
    return other.done()
