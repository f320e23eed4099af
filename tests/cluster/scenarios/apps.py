"""An app that goes away for all destinations at once."""

import time

from ..findings import Finding, Report
from ..rig import Options, Rig
from ..waiting import let_time_pass
from .registry import scenario

# The breaker opens after five failures in a row, and then allows a probe after 5 s, and another one after 10 s.
OPENS_WITHIN = 4.0
PROBES = 4


@scenario("app-away", seconds=20.0)
def app_away(options: Options) -> Report:
    """Lets the app fail for a while: the circuit breaker opens on all nodes, and one node at a time probes."""
    finding = Finding(10, "an open circuit breaker holds on all nodes")
    with Rig("app-away", options) as rig:
        rig.warm_up()
        rig.app.is_down = True
        began = time.monotonic()
        rig.note("the app fails")
        let_time_pass("the app is away", options.seconds)
        rig.app.is_down = False
        ended = time.monotonic()
        rig.note("the app is back")
        let_time_pass("the load goes on", 3.0)
        report = rig.settle()
        probes = [
            each.began - began
            for each in rig.app.exchanges
            if each.destination == "guarded" and began + OPENS_WITHIN < each.began < ended
        ]
        finding.checked = f"{len(probes)} probes of all nodes"
        if len(probes) > PROBES:
            times = ", ".join(f"{each:.2f}" for each in probes)
            finding.violate(f"{len(probes)} attempts while it was open, {PROBES} expected: after {times} s")
        report.findings.append(finding)
        return report
