"""Nodes that are killed or stopped."""

import random

from ..findings import Report
from ..rig import Options, Rig
from ..waiting import let_time_pass
from .registry import scenario


@scenario("kill", times=30)
def kill(options: Options) -> Report:
    """Kills nodes with SIGKILL at random moments; each tenth one also loses its state folder."""
    source = random.Random(options.seed)
    with Rig("kill", options) as rig:
        rig.warm_up()
        for count in range(options.times):
            name = source.choice(sorted(rig.nodes))
            keeps_state = options.store == "sqlite" or source.random() >= 0.1
            rig.kill_node(name, keeps_state)
            # Sometimes another node has time to take over.
            let_time_pass("the node is down", source.choice((0.0, 0.0, 0.2, 1.0)))
            rig.nodes[name].start()
            let_time_pass("the next kill comes at any moment", source.uniform(0.05, 1.0))
            if count % 10 == 9:
                rig.note(f"{count + 1} kills, {rig.senders.acknowledged} events acknowledged")
        return rig.settle()


@scenario("node-lost", seconds=40.0)
def node_lost(options: Options) -> Report:
    """Kills a node that does not come back, so that the others take over its deliveries."""
    with Rig("node-lost", options) as rig:
        rig.warm_up(5.0)
        rig.note("node a is killed for good")
        rig.kill_node("a")
        rig.balance("a", False)
        let_time_pass("the other nodes take over", options.seconds)
        return rig.settle()


@scenario("freeze", seconds=0.0)
def freeze(options: Options) -> Report:
    """Stops nodes for 5, 30 and 90 s with SIGSTOP, also in the middle of a transaction."""
    source = random.Random(options.seed)
    with Rig("freeze", options) as rig:
        rig.warm_up()
        # Many short stops, since only some of them hit a transaction.
        for _ in range(15):
            with rig.frozen(source.choice(sorted(rig.nodes))):
                let_time_pass("a node is frozen for a moment", source.uniform(0.1, 1.5))
            let_time_pass("the node goes on", source.uniform(0.05, 0.5))
        for seconds in (options.seconds,) if options.seconds else (5.0, 30.0, 90.0):
            name = source.choice(sorted(rig.nodes))
            rig.note(f"node {name} is frozen for {seconds:.0f} s")
            with rig.frozen(name):
                let_time_pass("the load balancer has not noticed yet", min(seconds, 5.0))
                rig.balance(name, False)
                let_time_pass("the node is frozen", seconds - 5.0)
            rig.balance(name, True)
            rig.note(f"node {name} goes on")
            let_time_pass("the node is back", 5.0)
        return rig.settle()
