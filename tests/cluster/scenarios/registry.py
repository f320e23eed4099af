"""The list of scenarios by name."""

import dataclasses
from collections.abc import Callable

from ..findings import Report
from ..rig import Options


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One scenario with its defaults: how often its fault happens, and how long one lasts."""

    name: str
    summary: str
    run: Callable[[Options], Report]
    times: int
    seconds: float


SCENARIOS: dict[str, Scenario] = {}


Run = Callable[[Options], Report]


def scenario(name: str, times: int = 1, seconds: float = 10.0) -> Callable[[Run], Run]:
    """Adds a function to the list. The first line of its docstring is the summary."""

    def add(run: Run) -> Run:
        summary = (run.__doc__ or "").strip().split("\n")[0]
        SCENARIOS[name] = Scenario(name, summary, run, times, seconds)
        return run

    return add
