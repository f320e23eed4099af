"""A new version beside the old one."""

import dataclasses

from ..findings import Report
from ..rig import Options, Rig
from ..waiting import let_time_pass
from .registry import scenario


@scenario("rolling-upgrade", seconds=5.0)
def rolling_upgrade(options: Options) -> Report:
    """Replaces the nodes one by one by a newer program (`--old BINARY` names the older one)."""
    if not options.old_binary:
        options = dataclasses.replace(options, old_binary=options.binary)
    with Rig("rolling-upgrade", options) as rig:
        rig.warm_up()
        for name, node in rig.nodes.items():
            code = node.stop()
            if code != 0:
                rig.note(f"node {name} ended with {code}")
            node.binary = options.binary
            node.start()
            rig.note(f"node {name} runs the new program")
            let_time_pass("both programs run side by side", options.seconds)
        return rig.settle()
