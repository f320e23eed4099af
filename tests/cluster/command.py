"""The command line of the rig."""

import argparse
import pathlib
import random
import signal
import sys
import time

from . import selftest
from .rig import Options
from .scenarios import SCENARIOS
from .waiting import Timeout


def parse(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    names = "\n".join(f"  {each.name:20} {each.summary}" for each in SCENARIOS.values())
    parser = argparse.ArgumentParser(
        prog="tests/cluster/run",
        description="Runs several nodes on one PostgreSQL server, injects faults under load, and checks the promises of the "
        "store.",
        epilog=f"scenarios:\n{names}\n\nExample: tests/cluster/run kill --times 200 --seed 7 target/release/hookgate\n\n"
        "Needs the Debian packages `postgresql` and `libfaketime`. Exit codes: 0 all invariants hold, 1 a violation.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="?", help="name of a scenario, several separated by commas, or `all`")
    parser.add_argument("binary", nargs="?", metavar="BINARY", help="path of the program hookgate")
    parser.add_argument("--list", action="store_true", help="print the names of the scenarios")
    parser.add_argument("--selftest", action="store_true", help="show that the checks find broken promises")
    parser.add_argument("--seed", type=int, help="seed of the run; it is printed, and by default it is new for each run")
    parser.add_argument("--times", type=int, default=0, help="how often the fault happens")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long the fault lasts")
    parser.add_argument("--nodes", type=int, default=3, help="number of nodes (3)")
    parser.add_argument("--rate", type=float, default=120.0, help="events a second of all senders (120)")
    parser.add_argument("--senders", type=int, default=16, help="number of senders (16)")
    parser.add_argument("--old", default="", metavar="BINARY", help="older program for the rolling upgrade")
    stores = ("postgres", "sqlite")
    parser.add_argument("--store", choices=stores, default="postgres", help="sqlite: one node, to try the rig")
    parser.add_argument("--folder", default="", help="folder for data and logs; it is kept (a temporary one)")
    return parser.parse_intermixed_args(arguments)


def main(arguments: list[str]) -> int:
    """Runs the scenarios and returns the exit code."""
    chosen = parse(arguments)
    if chosen.list:
        print("\n".join(f"{each.name:20} {each.summary}" for each in SCENARIOS.values()))
        return 0
    if chosen.selftest:
        return selftest.main()
    if not chosen.scenario or not chosen.binary:
        print("usage: tests/cluster/run SCENARIO BINARY; --help shows all options", file=sys.stderr)
        return 2
    names = list(SCENARIOS) if chosen.scenario == "all" else chosen.scenario.split(",")
    if unknown := [name for name in names if name not in SCENARIOS]:
        print(f"unknown scenario {', '.join(unknown)}; --list prints all names", file=sys.stderr)
        return 2
    # A run that is stopped still ends the processes that it started.
    signal.signal(signal.SIGTERM, _stop)
    is_clean = True
    for name in names:
        is_clean &= run_one(name, chosen)
    return 0 if is_clean else 1


def _stop(*_: object) -> None:
    # A second signal must not interrupt the end of these processes.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def run_one(name: str, chosen: argparse.Namespace) -> bool:
    """Runs one scenario and prints its report. Returns whether all invariants hold."""
    scenario = SCENARIOS[name]
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(1_000_000)
    options = Options(
        binary=str(pathlib.Path(chosen.binary).resolve()),
        seed=seed,
        old_binary=str(pathlib.Path(chosen.old).resolve()) if chosen.old and name == "rolling-upgrade" else "",
        nodes=1 if chosen.store == "sqlite" else chosen.nodes,
        rate=chosen.rate,
        senders=chosen.senders,
        times=chosen.times or scenario.times,
        seconds=chosen.seconds or scenario.seconds,
        store=chosen.store,
        folder=chosen.folder,
    )
    began = time.monotonic()
    print(f"== {name}, seed {seed}: {scenario.summary}", flush=True)
    try:
        report = scenario.run(options)
    except Timeout as timeout:
        print(f"-- {name}: FAILED, {timeout}, seed {seed}", flush=True)
        return False
    print(report.show())
    verdict = "ok" if report.is_clean else "FAILED"
    print(f"-- {name}: {verdict}, {time.monotonic() - began:.0f} s, seed {seed}", flush=True)
    return report.is_clean

