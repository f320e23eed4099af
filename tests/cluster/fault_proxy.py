"""A TCP proxy between one node and one PostgreSQL server that can delay, swallow or cut the connection.

Each pair of node and server has its own proxy, so that a fault can hit one node only. No packet filter is needed.
"""

import asyncio
import contextlib
import enum
import socket
import struct
import time

from .event_loop import LoopThread
from .frames import CommitWatch
from .waiting import let_time_pass_async

# A statement that stores an event, as opposed to beats, takings and outcomes.
STORES_EVENTS = r"\binsert\s+into\s+(?:\w+\.)?event\b"


class Mode(enum.Enum):
    """The fault that a proxy injects into all its connections, old and new."""

    PASS = "pass"
    # Reads nothing and closes nothing, in both directions: a network that drops packets.
    HOLE = "hole"
    # Cuts connections as they come, like a host without a server.
    RESET = "reset"


class _Link:
    """One proxied connection."""

    def __init__(self) -> None:
        self.watch = CommitWatch(STORES_EVENTS)
        self.is_dead = False
        self.writers: list[asyncio.StreamWriter] = []
        self.tasks: list[asyncio.Task[None]] = []

    def cut(self) -> None:
        """Ends both sides with RST, so that neither side waits for the other one."""
        for task in self.tasks:
            task.cancel()
        for writer in self.writers:
            connection = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class FaultProxy:
    """Listens on a port of its own and forwards to `target`."""

    def __init__(self, loop: LoopThread, target: int) -> None:
        self._loop = loop
        self._target = target
        self._mode = Mode.PASS
        self._delay = 0.0
        self._armed = 0
        self._links: set[_Link] = set()
        self._is_open = asyncio.Event()
        # Times at which the answer to a COMMIT was swallowed.
        self.swallowed: list[float] = []
        self.port = 0
        loop.call(self._listen())

    async def _listen(self) -> None:
        self._is_open.set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    def set(self, mode: Mode, delay: float = 0.0) -> None:
        """Begins or ends a fault. `delay` is in seconds and for each direction."""
        self._loop.soon(self._set, mode, delay)

    def _set(self, mode: Mode, delay: float) -> None:
        self._mode, self._delay = mode, delay
        if mode is Mode.HOLE:
            self._is_open.clear()
        else:
            self._is_open.set()
        for link in list(self._links):
            # A connection whose answer was swallowed does not come back when the network does.
            if mode is Mode.RESET or (mode is Mode.PASS and link.is_dead):
                link.cut()

    def swallow_commits(self, count: int) -> None:
        """Lets the next `count` COMMITs of events through and never passes anything on their connections again."""
        self._loop.soon(self._arm, count)

    def _arm(self, count: int) -> None:
        self._armed = count

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link()
        link.writers.append(writer)
        self._links.add(link)
        try:
            if self._mode is Mode.RESET:
                return
            await self._is_open.wait()
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target)
            link.writers.append(to_writer)
            for source, sink, is_client in ((reader, to_writer, True), (to_reader, writer, False)):
                queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
                link.tasks.append(asyncio.create_task(self._read(link, source, queue, is_client)))
                link.tasks.append(asyncio.create_task(self._write(queue, sink)))
            # One side that ends ends both, when what it sent has been passed on.
            for result in await asyncio.gather(*link.tasks, return_exceptions=True):
                if isinstance(result, Exception) and not isinstance(result, OSError):
                    raise result
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            link.cut()
            self._links.discard(link)

    async def _read(
        self, link: _Link, reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]], is_client: bool
    ) -> None:
        data = b"-"
        while data:
            await self._is_open.wait()
            try:
                data = await reader.read(1 << 16)
            except OSError:
                # The other side must see the reset too, unless the network drops it.
                await self._is_open.wait()
                link.cut()
                return
            # The hole may have begun while the read was waiting.
            await self._is_open.wait()
            if link.is_dead:
                await asyncio.Event().wait()
            if is_client and link.watch.feed(data) and self._armed > 0:
                self._armed -= 1
                self.swallowed.append(time.monotonic())
                link.is_dead = True
            queue.put_nowait((time.monotonic() + self._delay, data))

    async def _write(self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        # Reading goes on during the delay, so that the delay does not lower the throughput.
        while True:
            due, data = await queue.get()
            await let_time_pass_async("the delay of this link", due - time.monotonic())
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()
