"""The promises of several nodes on one store, checked from the record of a run."""

import collections
from collections.abc import Iterable

from .evidence import Evidence
from .findings import Finding
from .invariants_order import check_order, check_overlaps
from .records import Exchange, Sending
from .routes import BY_NAME, ROUTES, Destination
from .tables import OPEN

# An exchange that a pause finds between the database and the app still begins.
PAUSE_SLACK = 0.3
# Between the taking of an attempt, which the rate counts, and its exchange at the app.
RATE_SLACK = 0.5


def check_all(evidence: Evidence) -> list[Finding]:
    """Checks every invariant."""
    return [
        check_arrival(evidence),
        check_repeats(evidence),
        check_overlaps(evidence),
        check_order(evidence),
        check_limits(evidence),
        check_pauses(evidence),
        check_away(evidence),
        check_drained(evidence),
        check_store(evidence),
        check_server(evidence),
    ]


def check_arrival(evidence: Evidence) -> Finding:
    """Checks that each acknowledged event reached each destination that wants it, or is dead or open."""
    finding = Finding(1, "what was acknowledged arrives")
    count, dead, still_open = 0, 0, 0
    for sending in evidence.sendings:
        if sending.acknowledged is None:
            if not sending.gave_up:
                finding.violate(f"{sending.event}: never accepted in {len(sending.tries)} tries")
            continue
        for destination in BY_NAME[sending.route].destinations:
            if not destination.wants(sending.kind):
                continue
            count += 1
            place = (sending.event, sending.route, destination.name)
            row = evidence.rows.get(place)
            if row and row.state == "delivered" and not evidence.taken(place):
                finding.violate(f"{place}: delivered on record, but the app never took it")
            if evidence.taken(place):
                continue
            if row and row.state == "dead" and destination.may_die:
                dead += 1
            elif row and row.state in OPEN:
                still_open += 1
            elif evidence.is_lost(sending.acknowledged):
                finding.excused += 1
            else:
                finding.violate(f"{place}: acknowledged with {sending.status}, {row.state if row else 'no row'}")
    acknowledged = sum(1 for sending in evidence.sendings if sending.acknowledged is not None)
    finding.checked = f"{acknowledged} events, {count} deliveries, {dead} dead, {still_open} open"
    return finding


def check_repeats(evidence: Evidence) -> Finding:
    """Checks that the app took an event twice only where an attempt of unknown outcome is on record between."""
    finding = Finding(2, "what was taken is not repeated without cause")
    repeated = 0
    for place in evidence.by_place:
        taken = evidence.taken(place)
        if len(taken) < 2:
            continue
        repeated += 1
        sending = evidence.sending_of[place[0]]
        allowed = 1 + evidence.unknown_outcomes(place)
        # The first attempt of these routes precedes the commit, so a try at another node makes another one. With shared
        # claims this takes a try that failed, since its node may not have recorded that the app took the event.
        if sending.route == "once":
            allowed += sum(1 for each in sending.tries if each.status is None or each.status >= 500)
            if evidence.faults.is_claim_lost(sending):
                allowed += len(sending.tries) - 1
        elif BY_NAME[sending.route].mode != "queue":
            allowed += len(sending.tries) - 1
        if len(taken) <= allowed:
            continue
        if any(evidence.is_forgotten(each.began) or evidence.is_lost(each.began) for each in taken):
            finding.excused += 1
            continue
        story = ", ".join(f"{each.node}#{each.attempt} {each.began - evidence.faults.began:.3f}" for each in taken)
        finding.violate(f"{place}: taken {len(taken)} times, {allowed} allowed: {story}")
    for duplicate in evidence.duplicates:
        finding.violate(f"stored more than once: {duplicate}")
    finding.checked = f"{repeated} repeated of {len(evidence.by_place)}"
    return finding


def check_limits(evidence: Evidence) -> Finding:
    """Checks concurrency and rate of each destination over all nodes."""
    finding = Finding(4, "concurrency and rate hold over all nodes")
    words = []
    for route in ROUTES:
        for destination in route.destinations:
            # Hybrid's first attempts bypass both.
            if route.mode != "queue" or not destination.concurrency:
                continue
            exchanges = [e for e in evidence.exchanges if (e.route, e.destination) == (route.name, destination.name)]
            counted = [e for e in exchanges if not evidence.is_forgotten(e.began)]
            finding.excused += len(exchanges) - len(counted)
            name = f"{route.name}/{destination.name}"
            most, moment = most_at_once(counted)
            words.append(f"{name} {most} of {destination.concurrency}")
            if most > destination.concurrency:
                since = moment - evidence.faults.began
                finding.violate(f"{name}: {most} at once, {destination.concurrency} allowed, at {since:.3f} s")
            if destination.rate is not None:
                _check_rate(finding, name, destination, counted)
    finding.checked = ", ".join(words)
    return finding


def most_at_once(exchanges: Iterable[Exchange]) -> tuple[int, float]:
    """Returns the largest number of exchanges at the same time, and the moment."""
    # At equal times an end comes before a begin.
    changes = sorted([(e.began, 1) for e in exchanges] + [(e.ended or e.began, -1) for e in exchanges])
    now, most, when = 0, 0, 0.0
    for moment, change in changes:
        now += change
        if now > most:
            most, when = now, moment
    return most, when


def _check_rate(finding: Finding, name: str, destination: Destination, exchanges: list[Exchange]) -> None:
    # A bucket that is never overdrawn means that no window has more than its burst and its share.
    rate, burst = destination.rate or 0.0, destination.burst
    tokens, last, lowest = float(burst), None, 0.0
    for moment in sorted(each.began for each in exchanges):
        if last is not None:
            tokens = min(float(burst), tokens + rate * (moment - last))
        last = moment
        tokens -= 1
        lowest = min(lowest, tokens)
    if lowest < -(rate * RATE_SLACK + 1):
        finding.violate(f"{name}: {-lowest:.0f} attempts beyond {rate:.0f}/s with a burst of {burst}")


def check_pauses(evidence: Evidence) -> Finding:
    """Checks that no attempt begins after a pause was answered."""
    finding = Finding(5, "nothing begins after a pause was answered")
    latest = 0.0
    for pause in evidence.faults.pauses:
        for each in evidence.exchanges:
            if (each.route, each.destination) != (pause.route, pause.destination) or not pause.span.has(each.began):
                continue
            late = each.began - pause.span.began
            if late > PAUSE_SLACK:
                finding.violate(f"{each.route}/{each.destination}: {each.event} at {each.node}, {late:.3f} s late")
            else:
                latest = max(latest, late)
    finding.checked = f"{len(evidence.faults.pauses)} pauses, latest {latest * 1000:.0f} ms"
    return finding


def check_away(evidence: Evidence) -> Finding:
    """Checks that nothing was acknowledged from a store while the database was away, and that proxy routes went on."""
    finding = Finding(6, "the database away: no acknowledgement from it, proxy routes go on")
    proxied, slowest = 0, 0.0
    for span in evidence.faults.away:
        for sending in evidence.sendings:
            first = sending.tries[0].began if sending.tries else 0.0
            if not span.has(first):
                continue
            mode = BY_NAME[sending.route].mode
            if sending.route == "proxy":
                proxied += _count_proxied(finding, evidence, sending, span.ended)
                slowest = max(slowest, *(each.ended - each.began for each in sending.tries))
            elif mode != "proxy" and sending.acknowledged is not None and sending.acknowledged < span.ended:
                # In hybrid mode the app's own response is not the store's. The app never responds with 202.
                if mode == "queue" or sending.status == 202:
                    finding.violate(f"{sending.event} of route {sending.route}: {sending.status} while it was away")
    seconds = sum(span.seconds for span in evidence.faults.away)
    finding.checked = f"{seconds:.1f} s away, {proxied} proxied, slowest {slowest:.2f} s"
    return finding


def _count_proxied(finding: Finding, evidence: Evidence, sending: Sending, until: float) -> int:
    count = 0
    for each in sending.tries:
        if each.ended > until:
            break
        if each.status == 200:
            count += 1
        # A node that is gone or frozen is not the database's matter.
        elif each.status is not None or not _is_gone(evidence, each.node, each.began, each.ended):
            finding.violate(f"{sending.event}: proxy route answered {each.status or each.error} at {each.node}")
    return count


def _is_gone(evidence: Evidence, node: str, began: float, ended: float) -> bool:
    killed = any(name == node and moment <= ended for name, moment in evidence.faults.killed)
    frozen = any(name == node and span.began <= ended and began <= span.ended for name, span in evidence.faults.frozen)
    return killed or frozen


def check_drained(evidence: Evidence) -> Finding:
    """Checks that everything was delivered within a bound after the faults."""
    finding = Finding(7, "all drains after the faults")
    states = collections.Counter(row.state for row in evidence.deliveries)
    for row in evidence.deliveries:
        if row.state not in OPEN:
            continue
        # The first attempt of a hybrid route of a node that was killed waits for minutes.
        if row.route == "hybrid" and row.state == "in flight" and evidence.faults.killed:
            finding.excused += 1
        else:
            finding.violate(f"{row.event} at {row.route}/{row.destination}: {row.state} after {evidence.drain_limit:.0f} s")
    drained = f"{evidence.drained:.1f} s" if evidence.drained is not None else "never"
    finding.checked = f"drained after {drained}, bound {evidence.drain_limit:.0f} s, {dict(states)}"
    return finding


def check_store(evidence: Evidence) -> Finding:
    """Checks that the store finds no damage in itself, and that the numbers of attempts have no gaps."""
    finding = Finding(8, "the store is sound")
    for text in evidence.store_check:
        finding.violate(text)
    for row in evidence.deliveries:
        numbers = sorted(attempt.number for attempt in evidence.attempts_of[row.number])
        wanted = list(range(1, row.attempts + 1))
        if row.state in ("delivered", "dead") and numbers != wanted:
            finding.violate(f"delivery {row.number} of {row.event}: attempts {numbers}, but it counts {row.attempts}")
    finding.checked = f"{len(evidence.deliveries)} deliveries, {len(evidence.attempts)} attempts"
    return finding


def check_server(evidence: Evidence) -> Finding:
    """Checks the server's log and sessions, and the logs of the nodes."""
    finding = Finding(9, "no deadlock, no session stuck in a transaction, no panic")
    for text in evidence.deadlocks + evidence.long_transactions + evidence.panics:
        finding.violate(text)
    finding.checked = f"{len(evidence.deadlocks)} deadlocks, {len(evidence.long_transactions)} long transactions"
    return finding
