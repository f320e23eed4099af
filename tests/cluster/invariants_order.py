"""The promises about exchanges at the same time and about the order of events."""

import collections

from .evidence import Evidence
from .findings import Finding
from .records import Exchange
from .routes import BY_NAME, ROUTES, destination

# The app notices the end of a connection later than a node that was killed and started at once can begin again.
CUT_SLACK = 0.05


def check_overlaps(evidence: Evidence) -> Finding:
    """Checks that there are never two exchanges of one delivery, nor of one order key, at the same time."""
    finding = Finding(3, "never two exchanges of one delivery or order key at once")
    groups: dict[tuple[str, ...], list[Exchange]] = collections.defaultdict(list)
    for exchange in evidence.exchanges:
        if BY_NAME[exchange.route].mode == "proxy":
            continue
        # Tries of one event at several nodes reach the app before a commit: dedup of first attempts is each node's.
        if BY_NAME[exchange.route].mode == "hybrid" and len(evidence.sending_of[exchange.event].tries) > 1:
            continue
        groups["delivery", exchange.event, exchange.route, exchange.destination].append(exchange)
        order = destination(exchange.route, exchange.destination).order
        if order:
            key = exchange.key if order == "key" else ""
            groups["key", key, exchange.route, exchange.destination].append(exchange)
    for name, exchanges in groups.items():
        exchanges.sort(key=lambda each: each.began)
        longest = exchanges[0]
        for each in exchanges[1:]:
            if _overlap(longest, each):
                if _is_excused(evidence, longest) or _is_excused(evidence, each):
                    finding.excused += 1
                else:
                    finding.violate(f"{name}: {_story(evidence, longest)} and {_story(evidence, each)}")
            if _end(each) > _end(longest):
                longest = each
    finding.checked = f"{len(evidence.exchanges)} exchanges, {len(groups)} deliveries and keys"
    return finding


def _end(exchange: Exchange) -> float:
    if exchange.ended is None:
        return exchange.began
    return exchange.ended - (CUT_SLACK if exchange.is_cut else 0.0)


def _overlap(earlier: Exchange, later: Exchange) -> bool:
    return later.began < _end(earlier)


def _is_excused(evidence: Evidence, exchange: Exchange) -> bool:
    forgotten = evidence.is_forgotten(exchange.began) or evidence.is_lost(exchange.began)
    return forgotten or evidence.was_frozen(exchange)


def _story(evidence: Evidence, exchange: Exchange) -> str:
    began = exchange.began - evidence.faults.began
    took = (exchange.ended or exchange.began) - exchange.began
    return f"{exchange.event} {exchange.node}#{exchange.attempt} at {began:.3f} s for {took:.3f} s -> {exchange.status}"


def check_order(evidence: Evidence) -> Finding:
    """Checks that the first exchanges of an order key come in the order in which its events were acknowledged.

    It holds for events whose sender waited for the response before the next one. Events sent at the same time may come
    in either order.
    """
    finding = Finding(3, "events of one order key begin in the order of their acknowledgement")
    compared = 0
    for route in ROUTES:
        for each in route.destinations:
            if not each.order:
                continue
            # The acknowledged events of each key: when the first try began, when it was acknowledged, the first exchange.
            events: dict[str, list[tuple[float, float, float, str]]] = collections.defaultdict(list)
            for sending in evidence.sendings:
                exchanges = evidence.by_place.get((sending.event, route.name, each.name))
                if sending.acknowledged is None or not exchanges or evidence.is_lost(sending.acknowledged):
                    continue
                key = sending.key if each.order == "key" else ""
                times = (sending.tries[0].began, sending.acknowledged, exchanges[0].began, sending.event)
                events[key].append(times)
            for key, times in events.items():
                compared += len(times)
                _compare(finding, f"{route.name}/{each.name} key {key!r}", times)
    finding.checked = f"{compared} events"
    return finding


def _compare(finding: Finding, name: str, events: list[tuple[float, float, float, str]]) -> None:
    by_answer = sorted(events, key=lambda each: each[1])
    place, latest = 0, (0.0, "")
    for began, _, first, event in sorted(events):
        # All events that were acknowledged before this one was sent.
        while by_answer[place][1] < began:
            latest = max(latest, (by_answer[place][2], by_answer[place][3]))
            place += 1
        if latest[0] > first:
            seconds = latest[0] - first
            finding.violate(f"{name}: {event} began {seconds:.3f} s before {latest[1]}, which was acknowledged earlier")
