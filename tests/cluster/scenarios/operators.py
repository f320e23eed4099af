"""Operators who act at the same time on different nodes."""

import contextlib
import random
import threading
import time

from ..findings import Finding, Report
from ..nodes import AdminError, Node
from ..records import Pause, Span
from ..rig import Options, Rig
from ..waiting import let_time_pass
from .registry import scenario

PAUSED = (("queue", "bulk"), ("fifo", "keyed"), ("queue", "capped"))


@scenario("operators", times=12)
def operators(options: Options) -> Report:
    """Pauses and resumes destinations and retries dead letters through different nodes at the same time."""
    finding = Finding(10, "operators' commands succeed on every node")
    with Rig("operators", options) as rig:
        rig.warm_up()
        is_over = threading.Event()
        retried: list[int] = []
        threads = [
            threading.Thread(target=_retry_dead, args=(node, is_over, retried, finding), daemon=True)
            for node in rig.nodes.values()
        ]
        for thread in threads:
            thread.start()
        source = random.Random(options.seed)
        for _ in range(options.times):
            route, name = source.choice(PAUSED)
            pausing, resuming = source.choices(sorted(rig.nodes), k=2)
            rig.nodes[pausing].ask("POST", f"destinations/{route}/{name}/pause")
            pause = Pause(route, name, Span(time.monotonic()))
            rig.faults.pauses.append(pause)
            let_time_pass("the destination is paused", source.uniform(0.5, 2.5))
            pause.span.ended = time.monotonic()
            rig.nodes[resuming].ask("POST", f"destinations/{route}/{name}/resume")
            let_time_pass("the destination works", source.uniform(0.2, 1.0))
        is_over.set()
        for thread in threads:
            thread.join(30)
        report = rig.settle()
        finding.checked = f"{len(rig.faults.pauses)} pauses, {sum(retried)} retried dead letters"
        report.findings.append(finding)
        return report


def _retry_dead(node: Node, is_over: threading.Event, retried: list[int], finding: Finding) -> None:
    """Retries all dead letters of one destination again and again, as an impatient operator does."""
    selection = {"search": {"route": "queue", "destination": "picky", "state": "dead"}}
    while not is_over.wait(0.5):
        with contextlib.suppress(TimeoutError):
            try:
                changed = node.ask("POST", "deliveries/retry", selection)
                retried.append(int(changed["count"]))
            except (AdminError, OSError) as error:
                finding.violate(f"node {node.name}: {error}")
