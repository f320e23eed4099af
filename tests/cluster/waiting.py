"""The only place where the rig lets time pass: waits for conditions with a bound, and durations of faults and loads."""

import asyncio
import time
from collections.abc import Callable


class Timeout(Exception):
    """A condition that did not hold within its bound."""


def wait_for(what: str, condition: Callable[[], object], limit: float = 20.0, pause: float = 0.02) -> object:
    """Polls a condition until it is truthy, and returns its value. Raises `Timeout` with `what` after the limit."""
    end = time.monotonic() + limit
    while not (value := condition()):
        if time.monotonic() > end:
            raise Timeout(f"waited {limit:.0f} seconds in vain: {what}")
        time.sleep(pause)
    return value


def let_time_pass(_reason: str, seconds: float) -> None:
    """Lets a fault or a load last. Never used to prove that something does not happen."""
    if seconds > 0:
        time.sleep(seconds)


async def let_time_pass_async(_reason: str, seconds: float) -> None:
    """Does the same inside an event loop."""
    if seconds > 0:
        await asyncio.sleep(seconds)
