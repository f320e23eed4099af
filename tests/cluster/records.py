"""The records of a run: what senders sent, what the app received, and which faults there were. All times are monotonic."""

import dataclasses
import time


@dataclasses.dataclass(slots=True)
class Try:
    """One request of a sender. Without a status, no response came."""

    node: str
    began: float
    ended: float
    status: int | None
    error: str = ""


@dataclasses.dataclass(slots=True)
class Sending:
    """One event and all tries to send it."""

    event: str
    route: str
    kind: str
    key: str
    sender: int
    tries: list[Try] = dataclasses.field(default_factory=list)
    # When the first 2xx arrived.
    acknowledged: float | None = None
    status: int | None = None
    gave_up: bool = False


@dataclasses.dataclass(slots=True)
class Exchange:
    """One request at the app. Without a status, the connection ended before the response."""

    event: str
    route: str
    destination: str
    key: str
    node: str
    attempt: str
    began: float
    ended: float | None = None
    status: int | None = None
    # Whether the node closed the connection before the response.
    is_cut: bool = False

    @property
    def is_taken(self) -> bool:
        """Returns whether the app took the event."""
        return self.status is not None and 200 <= self.status < 300


@dataclasses.dataclass(slots=True)
class Span:
    """A time with a begin and an end."""

    began: float
    ended: float = float("inf")

    def has(self, moment: float) -> bool:
        """Returns whether a moment is inside."""
        return self.began <= moment <= self.ended

    @property
    def seconds(self) -> float:
        """Returns its length."""
        return self.ended - self.began


@dataclasses.dataclass(slots=True)
class Pause:
    """A pause of a destination that was answered at `began` and lifted at `ended`."""

    route: str
    destination: str
    span: Span


@dataclasses.dataclass
class Faults:
    """The faults of a run, as far as the promises make exceptions for them."""

    # Moments at which the server may have forgotten what it had not flushed.
    crashes: list[float] = dataclasses.field(default_factory=list)
    # Failovers to a server that may lack what was acknowledged just before.
    lossy: list[float] = dataclasses.field(default_factory=list)
    # Times during which no node reached a database that takes writes.
    away: list[Span] = dataclasses.field(default_factory=list)
    # Moments at which the database took writes again.
    back: list[float] = dataclasses.field(default_factory=list)
    frozen: list[tuple[str, Span]] = dataclasses.field(default_factory=list)
    killed: list[tuple[str, float]] = dataclasses.field(default_factory=list)
    pauses: list[Pause] = dataclasses.field(default_factory=list)
    # Times during which some node may not reach the database, and remembers only its own events.
    cut_off: list[Span] = dataclasses.field(default_factory=list)
    began: float = dataclasses.field(default_factory=time.monotonic)
    is_quiet: bool = False

    def is_claim_lost(self, sending: Sending) -> bool:
        """Returns whether a node may have handled an event without the database."""
        spans = self.away + self.cut_off
        return any(each.began <= span.ended + 5.0 and span.began <= each.ended + 1.0 for span in spans for each in sending.tries)

    def note(self, text: str) -> None:
        """Prints a line with the seconds since the start of the run."""
        if not self.is_quiet:
            print(f"    {time.monotonic() - self.began:7.1f} s  {text}", flush=True)
