"""A server that is full, locked, or ends its sessions."""

import random

from ..findings import Report
from ..rig import Options, Rig
from ..waiting import let_time_pass
from .failover import wait_for_work
from .registry import scenario


@scenario("full-database", times=8)
def full_database(options: Options) -> Report:
    """Fills `max_connections` while nodes lose sessions and cannot get new ones."""
    source = random.Random(options.seed)
    with Rig("full-database", options) as rig:
        rig.warm_up()
        rig.disturb_sessions()
        with rig.primary.filled() as count:
            rig.note(f"{count} connections of others fill the server")
            for _ in range(options.times):
                ended = rig.primary.terminate_sessions(3)
                # The nodes and the others compete for the places.
                with rig.primary.filled():
                    rig.note(f"{ended} sessions were ended")
                    let_time_pass("the server is full", source.uniform(1.0, 3.0))
        rig.note("the server has room again")
        wait_for_work(rig)
        return rig.settle()


@scenario("table-lock", seconds=10.0)
def table_lock(options: Options) -> Report:
    """Holds an exclusive lock on the tables of open deliveries and of events, one after the other."""
    with Rig("table-lock", options) as rig:
        rig.warm_up()
        rig.disturb_sessions()
        for table in ("hookgate.open_delivery", "hookgate.event"):
            with rig.primary.locked(table):
                rig.note(f"{table} is locked")
                let_time_pass("the lock lasts", options.seconds)
            rig.note(f"{table} is free")
            wait_for_work(rig)
        return rig.settle()


@scenario("terminated-backends", times=40)
def terminated_backends(options: Options) -> Report:
    """Ends sessions of the nodes at random with `pg_terminate_backend`."""
    source = random.Random(options.seed)
    with Rig("terminated-backends", options) as rig:
        rig.warm_up()
        rig.disturb_sessions()
        ended = 0
        for _ in range(options.times):
            ended += rig.primary.terminate_sessions(source.randint(1, 6))
            let_time_pass("the nodes connect again", source.uniform(0.1, 1.2))
        rig.note(f"{ended} sessions were ended")
        return rig.settle()


@scenario("pinned-snapshot", seconds=60.0)
def pinned_snapshot(options: Options) -> Report:
    """Keeps a snapshot open, so that no dead row can be removed."""
    with Rig("pinned-snapshot", options) as rig:
        rig.warm_up()
        with rig.primary.pinned():
            rig.note("a snapshot is pinned")
            let_time_pass("dead rows collect", options.seconds)
        return rig.settle()
