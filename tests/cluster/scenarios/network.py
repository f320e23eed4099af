"""Networks that drop, delay or cut the connections between nodes and servers."""

import random
import time

from ..fault_proxy import Mode
from ..findings import Report
from ..rig import Options, Rig
from ..waiting import let_time_pass, wait_for
from .failover import wait_for_work
from .registry import scenario


@scenario("hole-node", seconds=30.0)
def hole_node(options: Options) -> Report:
    """Drops all packets between one node and the database; the others take over its deliveries."""
    with Rig("hole-node", options) as rig:
        rig.warm_up()
        rig.disturb_sessions()
        rig.note("node a loses the database")
        rig.set_proxies(Mode.HOLE, node="a")
        let_time_pass("the hole lasts", options.seconds)
        rig.set_proxies(Mode.PASS, node="a")
        rig.note("node a has the database back")
        let_time_pass("the node works again", 5.0)
        return rig.settle()


@scenario("hole-all", seconds=60.0)
def hole_all(options: Options) -> Report:
    """Drops all packets between all nodes and the database."""
    with Rig("hole-all", options) as rig:
        rig.warm_up()
        with rig.away():
            rig.note("all nodes lose the database")
            rig.set_proxies(Mode.HOLE)
            let_time_pass("the hole lasts", options.seconds)
        rig.set_proxies(Mode.PASS)
        rig.faults.back.append(time.monotonic())
        rig.note("all nodes have the database back")
        wait_for_work(rig)
        let_time_pass("the load goes on", 5.0)
        return rig.settle()


def swallow_commit(rig: Rig, name: str) -> None:
    """Lets one COMMIT of events of a node through, and nothing of its connection after that."""
    proxies = rig.proxies[name]
    before = sum(len(proxy.swallowed) for proxy in proxies)
    for proxy in proxies:
        proxy.swallow_commits(1)
    wait_for("the answer to a COMMIT is swallowed", lambda: sum(len(proxy.swallowed) for proxy in proxies) > before, 30)


@scenario("hole-after-commit", times=10)
def hole_after_commit(options: Options) -> Report:
    """Drops everything on a connection right after a COMMIT was sent on it."""
    source = random.Random(options.seed)
    with Rig("hole-after-commit", options) as rig:
        rig.warm_up()
        rig.disturb_sessions()
        for _ in range(options.times):
            name = source.choice(sorted(rig.nodes))
            swallow_commit(rig, name)
            let_time_pass("the node finds out", source.uniform(0.5, 4.0))
        rig.note(f"{options.times} answers to COMMIT were swallowed")
        let_time_pass("the last one is noticed", 12.0)
        rig.set_proxies(Mode.PASS)
        return rig.settle()


@scenario("reset", times=20)
def reset(options: Options) -> Report:
    """Cuts all connections of a node to the database at random moments."""
    source = random.Random(options.seed)
    with Rig("reset", options) as rig:
        rig.warm_up()
        rig.disturb_sessions()
        for _ in range(options.times):
            name = source.choice(sorted(rig.nodes))
            rig.set_proxies(Mode.RESET, node=name)
            let_time_pass("connections are refused", source.uniform(0.0, 0.5))
            rig.set_proxies(Mode.PASS, node=name)
            let_time_pass("the node connects again", source.uniform(0.2, 2.0))
        return rig.settle()


@scenario("slow-database", seconds=30.0)
def slow_database(options: Options) -> Report:
    """Delays each answer of the database by 200 ms."""
    with Rig("slow-database", options) as rig:
        rig.warm_up()
        rig.disturb_sessions()
        rig.note("each round trip takes 200 ms more")
        rig.set_proxies(Mode.PASS, delay=0.1)
        let_time_pass("the database is slow", options.seconds)
        rig.set_proxies(Mode.PASS)
        rig.note("the database is fast again")
        let_time_pass("the load goes on", 3.0)
        return rig.settle()
