"""Times that a run measures: how fast nodes take over, and how long a failover stops acknowledgements."""

import statistics

from .evidence import Evidence
from .routes import BY_NAME


def measure(evidence: Evidence) -> list[str]:
    """Returns one line per measurement that the run has data for."""
    lines = [_acknowledgement(evidence)]
    if takeovers := find_takeovers(evidence):
        lines.append(f"takeover of an attempt of a killed node: {_summary(takeovers)}")
    if outages := find_outages(evidence, [span.began for span in evidence.faults.away]):
        lines.append(f"from the loss of the database to the next acknowledgement from the store: {_summary(outages)}")
    if returns := find_outages(evidence, evidence.faults.back):
        lines.append(f"from the return of the database to the next acknowledgement from the store: {_summary(returns)}")
    return lines


def _summary(values: list[float]) -> str:
    median, most = statistics.median(values), max(values)
    return f"median {median:.2f} s, longest {most:.2f} s, {len(values)} cases"


def _acknowledgement(evidence: Evidence) -> str:
    """Describes the response times of queue routes at their first try."""
    times = sorted(
        sending.tries[0].ended - sending.tries[0].began
        for sending in evidence.sendings
        if sending.tries and sending.tries[0].status == 200 and BY_NAME[sending.route].mode == "queue"
    )
    if not times:
        return "no event of a queue route was acknowledged at its first try"
    middle, high = times[len(times) // 2], times[len(times) * 99 // 100]
    return f"acknowledgement of queue routes: median {middle * 1000:.1f} ms, p99 {high * 1000:.1f} ms, {len(times)} events"


def find_takeovers(evidence: Evidence) -> list[float]:
    """Returns for each exchange that a kill cut off the time until the next exchange of the same delivery began."""
    found = []
    for node, moment in evidence.faults.killed:
        for exchanges in evidence.by_place.values():
            for each, following in zip(exchanges, exchanges[1:]):
                if each.node == node and each.is_cut and each.began <= moment and abs((each.ended or 0.0) - moment) < 0.5:
                    found.append(following.began - moment)
    return found


def find_outages(evidence: Evidence, moments: list[float]) -> list[float]:
    """Returns for each moment the time until a queue route acknowledged an event that was stored after it.

    Events whose first try is older do not count: they may have been stored before.
    """
    found = []
    for moment in moments:
        later = [
            sending.acknowledged - moment
            for sending in evidence.sendings
            if sending.acknowledged is not None
            and BY_NAME[sending.route].mode == "queue"
            and sending.acknowledged > moment
            and sending.tries[0].began > _lost_before(evidence, moment)
        ]
        if later:
            found.append(min(later))
    return found


def _lost_before(evidence: Evidence, moment: float) -> float:
    """Returns when the outage began that ended at a moment, or the moment itself."""
    return max((span.began for span in evidence.faults.away if span.began <= moment), default=moment)
