"""Nodes whose clocks are wrong."""

import random

from ..findings import Report
from ..rig import Options, Rig
from ..waiting import let_time_pass
from .registry import scenario


@scenario("clocks", times=10)
def clocks(options: Options) -> Report:
    """Runs nodes with clocks that are an hour behind, 5 minutes ahead, or step; kills one now and then."""
    source = random.Random(options.seed)
    with Rig("clocks", options) as rig:
        for name, offset in zip(rig.nodes, ("-1h", "+5m", "+0"), strict=False):
            rig.nodes[name].stop()
            rig.nodes[name].set_clock(offset)
            rig.nodes[name].start()
        rig.warm_up()
        for count in range(options.times):
            name = sorted(rig.nodes)[-1]
            offset = source.choice(("+0", "-1h", "+1h", "-30s", "+2d"))
            rig.nodes[name].set_clock(offset)
            rig.note(f"the clock of node {name} steps to {offset}")
            let_time_pass("the clock is wrong", source.uniform(0.5, 3.0))
            if count % 3 == 2:
                killed = source.choice(sorted(rig.nodes))
                rig.kill_node(killed)
                rig.nodes[killed].start()
        return rig.settle()
