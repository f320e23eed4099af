"""Shows that the checks see what they look for: each case is a record with one broken promise, and must be found.

Times are seconds since the begin of a run. Run it with `tests/cluster/run --selftest`.
"""

import dataclasses
from collections.abc import Callable

from .evidence import Evidence
from .invariants import check_all
from .records import Exchange, Faults, Pause, Sending, Span, Try
from .tables import AttemptRow, DeliveryRow

Change = Callable[[Evidence], None]


def sent(event: str, route: str, began: float, kind: str = "push", key: str = "k") -> Sending:
    """Returns an event that was acknowledged 10 ms after it was sent."""
    one = Try("a", began, began + 0.01, 200)
    return Sending(event, route, kind, key, 0, [one], began + 0.01, 200)


def exchanged(event: str, began: float, route: str = "queue", destination: str = "bulk", key: str = "k") -> Exchange:
    """Returns an exchange of 10 ms in which the app took an event."""
    return Exchange(event, route, destination, key, "a", "1", began, began + 0.01, 200)


def sound() -> Evidence:
    """Returns a record without a violation."""
    sendings = [sent("e1", "queue", 1.0), sent("e2", "fifo", 1.0), sent("e3", "fifo", 2.0), sent("e4", "proxy", 3.0)]
    exchanges = [
        exchanged("e1", 1.1),
        exchanged("e2", 1.1, "fifo", "keyed"),
        exchanged("e3", 2.1, "fifo", "keyed"),
        exchanged("e4", 3.0, "proxy", "upstream"),
    ]
    rows = [
        DeliveryRow(1, "e1", "queue", "bulk", "delivered", 1, ""),
        DeliveryRow(2, "e2", "fifo", "keyed", "delivered", 1, ""),
        DeliveryRow(3, "e3", "fifo", "keyed", "delivered", 1, ""),
    ]
    attempts = [AttemptRow(number, 1, 200, "") for number in (1, 2, 3)]
    faults = Faults(began=0.0, is_quiet=True)
    return Evidence(sendings, exchanges, rows, attempts, faults, [], 1.0, 90.0, [], [], [], [])


def _row(evidence: Evidence, place: int, **changes: object) -> None:
    evidence.deliveries[place] = dataclasses.replace(evidence.deliveries[place], **changes)  # type: ignore[arg-type]


def _lose(evidence: Evidence) -> None:
    del evidence.exchanges[0], evidence.deliveries[0]


def _pretend_delivered(evidence: Evidence) -> None:
    del evidence.exchanges[0]


def _bury(evidence: Evidence) -> None:
    # Only one destination may have dead letters.
    del evidence.exchanges[0]
    _row(evidence, 0, state="dead")


def _repeat(evidence: Evidence) -> None:
    evidence.exchanges.append(exchanged("e1", 1.5))


def _store_twice(evidence: Evidence) -> None:
    evidence.duplicates.append("e1")


def _overlap_delivery(evidence: Evidence) -> None:
    evidence.exchanges[0].ended, evidence.exchanges[0].status = 2.0, 500
    evidence.exchanges.append(exchanged("e1", 1.5))


def _overlap_key(evidence: Evidence) -> None:
    evidence.exchanges[1].ended = 2.105


def _reorder(evidence: Evidence) -> None:
    evidence.exchanges[1].began, evidence.exchanges[1].ended = 2.5, 2.6


def _crowd(evidence: Evidence) -> None:
    for number in range(9):
        evidence.sendings.append(sent(f"c{number}", "queue", 5.0))
        evidence.exchanges.append(exchanged(f"c{number}", 5.1 + number / 1000))


def _hurry(evidence: Evidence) -> None:
    for number in range(40):
        evidence.sendings.append(sent(f"h{number}", "queue", 5.0, "release"))
        evidence.exchanges.append(exchanged(f"h{number}", 5.1 + number / 2, destination="guarded"))
        evidence.exchanges.append(exchanged(f"h{number}", 5.1 + number / 90, destination="capped"))
        evidence.exchanges.append(exchanged(f"h{number}", 5.1 + number / 2, destination="bulk"))


def _ignore_pause(evidence: Evidence) -> None:
    evidence.faults.pauses.append(Pause("queue", "bulk", Span(0.5, 2.0)))


def _acknowledge_away(evidence: Evidence) -> None:
    evidence.faults.away.append(Span(0.5, 1.5))


def _stop_proxy(evidence: Evidence) -> None:
    evidence.faults.away.append(Span(2.5, 3.5))
    evidence.sendings[3].tries[0].status = 503


def _leave_open(evidence: Evidence) -> None:
    evidence.drained = None
    _row(evidence, 0, state="pending")


def _leave_in_flight(evidence: Evidence) -> None:
    _row(evidence, 0, state="in flight")


def _damage(evidence: Evidence) -> None:
    evidence.store_check.append("damaged")


def _lose_attempt(evidence: Evidence) -> None:
    _row(evidence, 0, attempts=2)


def _deadlock(evidence: Evidence) -> None:
    evidence.deadlocks.append("deadlock detected")


# The number of the invariant that each change breaks.
CASES: tuple[tuple[int, Change], ...] = (
    (1, _lose),
    (1, _pretend_delivered),
    (1, _bury),
    (2, _repeat),
    (2, _store_twice),
    (3, _overlap_delivery),
    (3, _overlap_key),
    (3, _reorder),
    (4, _crowd),
    (4, _hurry),
    (5, _ignore_pause),
    (6, _acknowledge_away),
    (6, _stop_proxy),
    (7, _leave_open),
    (7, _leave_in_flight),
    (8, _damage),
    (8, _lose_attempt),
    (9, _deadlock),
)


def main() -> int:
    """Runs all cases and returns the exit code."""
    wrong = [finding.show() for finding in check_all(sound()) if finding.violations]
    for number, change in CASES:
        evidence = sound()
        change(evidence)
        # The indexes are made of what the change left.
        evidence = dataclasses.replace(evidence)
        found = {finding.number for finding in check_all(evidence) if finding.violations}
        if number not in found:
            wrong.append(f"{change.__name__}: invariant {number} was not found, only {sorted(found)}")
    print("\n".join(wrong) if wrong else f"{len(CASES)} broken promises, all found")
    return 1 if wrong else 0
