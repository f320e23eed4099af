"""The rows of the store, read beside the running nodes: from PostgreSQL through psql, from SQLite through its file."""

import dataclasses
import pathlib
import sqlite3
from typing import Protocol

from .postgres import Server

STATES = ("pending", "in flight", "waiting", "delivered", "dead", "cancelled")
OPEN = ("pending", "in flight", "waiting")


@dataclasses.dataclass(frozen=True)
class DeliveryRow:
    """One delivery with its event and destination."""

    number: int
    event: str
    route: str
    destination: str
    state: str
    attempts: int
    last_error: str


@dataclasses.dataclass(frozen=True)
class AttemptRow:
    """One attempt of a delivery on record."""

    delivery: int
    number: int
    status: int | None
    error: str


class Source(Protocol):
    """A place that answers queries with rows of text."""

    # The relation with open and ended deliveries.
    deliveries: str

    def rows(self, text: str) -> list[list[str]]:
        """Runs a query. NULL is an empty text."""


class SqliteSource:
    """The file of a single node."""

    deliveries = "delivery"

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def rows(self, text: str) -> list[list[str]]:
        """Runs a query. NULL is an empty text."""
        database = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=10)
        try:
            return [["" if value is None else str(value) for value in row] for row in database.execute(text)]
        finally:
            database.close()


class PostgresSource:
    """The server that takes writes at the moment."""

    deliveries = "hookgate.any_delivery"

    def __init__(self, server: Server) -> None:
        self.server = server

    def rows(self, text: str) -> list[list[str]]:
        """Runs a query. NULL is an empty text."""
        return self.server.rows(f"SET search_path = hookgate; {text}")


class Tables:
    """The questions that the rig asks the store's tables."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def open_by_route(self) -> dict[str, int]:
        """Counts deliveries that have not ended, by route."""
        text = f"""SELECT r.name, count(*) FROM {self.source.deliveries} d JOIN lane l ON l.id = d.lane
            JOIN destination t ON t.id = l.destination JOIN route r ON r.id = t.route WHERE d.state < 3 GROUP BY r.name"""
        return {route: int(count) for route, count in self.source.rows(text)}

    def states(self) -> dict[str, int]:
        """Counts deliveries by state."""
        rows = self.source.rows(f"SELECT state, count(*) FROM {self.source.deliveries} GROUP BY state")
        return {STATES[int(state)]: int(count) for state, count in rows}

    def deliveries(self) -> list[DeliveryRow]:
        """Reads all deliveries."""
        # The id that the sender gave is `webhook_id` where it is not `event_id`.
        text = f"""SELECT d.id, coalesce(e.event_id, e.webhook_id), r.name, t.name, d.state, d.attempts, d.last_error
            FROM {self.source.deliveries} d JOIN event e ON e.id = d.event JOIN lane l ON l.id = d.lane
            JOIN destination t ON t.id = l.destination JOIN route r ON r.id = t.route"""
        rows = self.source.rows(text)
        return [DeliveryRow(int(n), e, r, d, STATES[int(s)], int(a), error) for n, e, r, d, s, a, error in rows]

    def attempts(self) -> list[AttemptRow]:
        """Reads all attempts."""
        rows = self.source.rows("SELECT delivery, number, status, error FROM attempt")
        return [AttemptRow(int(d), int(n), int(s) if s else None, error) for d, n, s, error in rows]

    def duplicates(self) -> list[str]:
        """Lists sender's ids that were stored as more than one event."""
        text = """SELECT k.route, coalesce(e.event_id, e.webhook_id), count(*) FROM event e JOIN kind k ON k.id = e.kind
            GROUP BY 1, 2 HAVING count(*) > 1"""
        return [f"{event} of route {route}: {count} events" for route, event, count in self.source.rows(text)]
