"""Everything that a run leaves for the checks: the records of senders and app, the tables, the logs and the faults."""

import collections
import dataclasses

from .records import Exchange, Faults, Sending
from .tables import AttemptRow, DeliveryRow

# An event at one destination.
Place = tuple[str, str, str]

# A crash of the server loses what was begun within its delay of writing the log, at most 3 x 200 ms, and some time to
# notice.
FORGOTTEN = 1.0
# A failover to an asynchronous standby loses what the standby had not received.
LOST = 2.0


@dataclasses.dataclass
class Evidence:
    """The records of one run, with indexes that several checks need."""

    sendings: list[Sending]
    exchanges: list[Exchange]
    deliveries: list[DeliveryRow]
    attempts: list[AttemptRow]
    faults: Faults
    # Events that were stored more than once.
    duplicates: list[str]
    # Seconds from the end of the load until no delivery was open, or nothing where some stayed open.
    drained: float | None
    drain_limit: float
    # Findings of the watch over the server's sessions, of its log, of the nodes' logs and of `store check`.
    long_transactions: list[str]
    deadlocks: list[str]
    panics: list[str]
    store_check: list[str]

    def __post_init__(self) -> None:
        self.by_place: dict[Place, list[Exchange]] = collections.defaultdict(list)
        for exchange in sorted(self.exchanges, key=lambda each: each.began):
            self.by_place[exchange.event, exchange.route, exchange.destination].append(exchange)
        self.rows: dict[Place, DeliveryRow] = {(row.event, row.route, row.destination): row for row in self.deliveries}
        self.sending_of: dict[str, Sending] = {sending.event: sending for sending in self.sendings}
        self.attempts_of: dict[int, list[AttemptRow]] = collections.defaultdict(list)
        for attempt in self.attempts:
            self.attempts_of[attempt.delivery].append(attempt)

    def taken(self, place: Place) -> list[Exchange]:
        """Returns the exchanges in which the app took an event."""
        return [exchange for exchange in self.by_place.get(place, ()) if exchange.is_taken]

    def unknown_outcomes(self, place: Place) -> int:
        """Counts the attempts on record with an unknown outcome: the app may have taken the event."""
        row = self.rows.get(place)
        return sum(1 for each in self.attempts_of[row.number] if each.status is None) if row else 0

    def is_forgotten(self, began: float) -> bool:
        """Returns whether a crash may have made the server forget an attempt that began at this moment."""
        return any(crash - FORGOTTEN <= began <= crash + 0.5 for crash in self.faults.crashes)

    def is_lost(self, acknowledged: float) -> bool:
        """Returns whether a failover to an asynchronous standby may have lost what was committed at this moment."""
        return any(moment - LOST <= acknowledged <= moment + 0.5 for moment in self.faults.lossy)

    def was_frozen(self, exchange: Exchange) -> bool:
        """Returns whether the node of an exchange was stopped in the middle of it or right before it."""
        return any(
            node == exchange.node and span.began <= (exchange.ended or span.ended) and exchange.began <= span.ended + 2.0
            for node, span in self.faults.frozen
        )
