"""The scenario that every run of the test suite includes."""

from ..fault_proxy import Mode
from ..findings import Report
from ..rig import Options, Rig
from ..waiting import let_time_pass
from .failover import restart
from .network import swallow_commit
from .registry import scenario


@scenario("short")
def short(options: Options) -> Report:
    """Kills a node, swallows answers to COMMIT, and kills and restarts the primary, in less than 90 s."""
    with Rig("short", options) as rig:
        rig.warm_up(2.0)
        if options.store == "postgres":
            rig.note("node b is killed and loses its state folder")
            rig.kill_node("b", keeps_state=False)
            rig.nodes["b"].start()
        rig.note("node a is killed and keeps its state folder")
        rig.kill_node("a")
        rig.nodes["a"].start()
        let_time_pass("the load goes on", 1.0)
        if options.store == "postgres":
            rig.disturb_sessions()
            for name in sorted(rig.nodes)[:2]:
                swallow_commit(rig, name)
            rig.note("the answers to two COMMITs were swallowed")
            let_time_pass("the nodes find out", 11.0)
            rig.set_proxies(Mode.PASS)
            restart(rig, None)
        let_time_pass("the load goes on", 3.0)
        return rig.settle()
