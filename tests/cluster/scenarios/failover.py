"""Servers that crash, restart, and are replaced by their standby."""

import signal
import time

from ..findings import Finding, Report
from ..rig import Options, Rig
from ..waiting import let_time_pass, wait_for
from .registry import scenario


def fail_over(rig: Rig, pause: float = 1.0) -> None:
    """Kills the primary and promotes the standby, as an operator or a cluster manager would."""
    standby = rig.servers[1]
    with rig.away() as span:
        rig.note("the primary is killed")
        rig.faults.crashes.append(span.began)
        rig.primary.kill()
        let_time_pass("the failure is noticed", pause)
    # From here on the standby may take writes at any moment.
    standby.promote()
    rig.faults.back.append(time.monotonic())
    rig.use_server(standby)
    rig.note("the standby is the primary")
    wait_for_work(rig)


def wait_for_work(rig: Rig) -> None:
    """Waits until the store acknowledges events again."""
    before = rig.senders.acknowledged
    wait_for("events are acknowledged again", lambda: rig.senders.acknowledged > before + 100, 60)
    rig.note("events are acknowledged again")


@scenario("failover-sync", seconds=10.0)
def failover_sync(options: Options) -> Report:
    """Kills the primary and promotes its synchronous standby: nothing acknowledged may be lost."""
    with Rig("failover-sync", options, standby="sync") as rig:
        rig.warm_up(5.0)
        fail_over(rig)
        let_time_pass("the load goes on", options.seconds)
        return rig.settle()


@scenario("failover-async", seconds=10.0)
def failover_async(options: Options) -> Report:
    """Kills the primary and promotes an asynchronous standby, which may lack the last moments."""
    with Rig("failover-async", options, standby="async") as rig:
        rig.warm_up(5.0)
        fail_over(rig)
        rig.faults.lossy.append(rig.faults.crashes[-1])
        let_time_pass("the load goes on", options.seconds)
        return rig.settle()


@scenario("old-primary-back", seconds=15.0)
def old_primary_back(options: Options) -> Report:
    """Starts the old primary again beside the new one: no node may use it."""
    with Rig("old-primary-back", options, standby="async") as rig:
        rig.warm_up(5.0)
        rig.disturb_sessions()
        old = rig.primary
        fail_over(rig)
        rig.faults.lossy.append(rig.faults.crashes[-1])
        old.start()
        before = old.sql("SELECT max(id) FROM hookgate.event")
        rig.note("the old primary is back and takes writes")
        # Nodes that connect again try it first, since it comes first in their url.
        for _ in range(5):
            rig.primary.terminate_sessions(100)
            let_time_pass("nodes connect again", options.seconds / 5)
        report = rig.settle()
        after = old.sql("SELECT max(id) FROM hookgate.event")
        finding = Finding(10, "no node writes to the old primary", f"newest event {before}, then {after}")
        if before != after:
            finding.violate(f"the newest event of the old primary was {before} and is {after}")
        report.findings.append(finding)
        return report


@scenario("restart-primary", times=3)
def restart_primary(options: Options) -> Report:
    """Restarts the primary in mid-load: killed, with `immediate`, and with `fast`."""
    with Rig("restart-primary", options) as rig:
        rig.warm_up()
        for count in range(options.times):
            mode = (None, signal.SIGQUIT, signal.SIGINT)[count % 3]
            restart(rig, mode)
            let_time_pass("the load goes on", 5.0)
        return rig.settle()


def restart(rig: Rig, mode: signal.Signals | None, pause: float = 2.0) -> None:
    """Kills the primary, or stops it with a signal, and starts it again."""
    with rig.away() as span:
        rig.note(f"the primary is {'killed' if mode is None else f'stopped with {mode.name}'}")
        rig.faults.crashes.append(span.began)
        if mode is None:
            rig.primary.kill()
        else:
            # It goes on until it has stopped.
            rig.primary.stop(mode)
            span.began = time.monotonic()
        let_time_pass("the primary is down", pause)
    rig.primary.start()
    rig.faults.back.append(time.monotonic())
    wait_for_work(rig)


@scenario("standby-away", seconds=15.0)
def standby_away(options: Options) -> Report:
    """Stops the synchronous standby: commits wait, so queue routes may not acknowledge anything until it is back."""
    with Rig("standby-away", options, standby="sync") as rig:
        rig.warm_up()
        standby = rig.servers[1]
        standby.kill()
        with rig.away():
            rig.note("the standby is killed")
            let_time_pass("commits have no standby", options.seconds)
        standby.start()
        rig.faults.back.append(time.monotonic())
        rig.note("the standby is back")
        wait_for_work(rig)
        return rig.settle()
