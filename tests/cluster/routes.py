"""The routes of every node in the rig, and the facts about their destinations that the checks rely on."""

import dataclasses
import hashlib
import json
import random

SECRET = "s3cret-of-a-test-0123456789abcdef"
KINDS = ("push", "push", "push", "push", "push", "push", "push", "issues", "release", "release")
TIMEOUT = 3.0
# A delivery of a node that was killed goes on after the time to notice it, the attempt's own limit and a margin.
TAKEOVER_LIMIT = 20.0 + TIMEOUT + 1.0 + 5.0 + 5.0


@dataclasses.dataclass(frozen=True)
class Destination:
    """One destination, with its lines in the config."""

    name: str
    lines: str = ""
    kinds: tuple[str, ...] = ()
    concurrency: int | None = None
    # Attempts a second, and how many at once after a rest.
    rate: float | None = None
    burst: int = 0
    # "key" or "all": which deliveries are made one after the other.
    order: str = ""
    may_die: bool = False

    def wants(self, kind: str) -> bool:
        """Returns whether events of a type are delivered to it."""
        return not self.kinds or kind in self.kinds


@dataclasses.dataclass(frozen=True)
class Route:
    """One route, with its share of the load."""

    name: str
    mode: str
    share: int
    destinations: tuple[Destination, ...]
    lines: str = ""


_OFTEN = 'retry = { schedule = ["250ms"], max_attempts = 100000, jitter = 0 }\nbreaker = false\n'
_TWICE = 'retry = { schedule = ["250ms"], max_attempts = 2, jitter = 0 }\nbreaker = false\n'

ROUTES = (
    Route(
        "queue",
        "queue",
        4,
        (
            Destination("bulk", f"{_OFTEN}concurrency = 8\n", concurrency=8),
            Destination(
                "capped",
                f"{_OFTEN}concurrency = 3\nrate_limit = {{ per_second = 30, burst = 10 }}\n",
                ("release",),
                concurrency=3,
                rate=30.0,
                burst=10,
            ),
            # Its circuit breaker is open on all nodes together.
            Destination("guarded", _OFTEN.replace("false", "5"), ("release",)),
            Destination("picky", f"{_TWICE}concurrency = 4\n", ("issues",), concurrency=4, may_die=True),
        ),
    ),
    Route(
        "fifo",
        "queue",
        3,
        (
            Destination("keyed", f'{_OFTEN}order = "fifo:json:/key"\n', concurrency=16, order="key"),
            Destination("line", f'{_OFTEN}order = "fifo"\n', ("issues",), concurrency=16, order="all"),
        ),
    ),
    Route("hybrid", "hybrid", 2, (Destination("upstream", _OFTEN),), 'answer_within = "300ms"\n'),
    Route("proxy", "proxy", 0, (Destination("upstream"),)),
    # Each event comes to two nodes at the same time.
    Route("once", "proxy", 1, (Destination("upstream"),), "dedup = { shared = true }\n"),
)
BY_NAME = {route.name: route for route in ROUTES}


def destination(route: str, name: str) -> Destination:
    """Finds a destination."""
    return next(each for each in BY_NAME[route].destinations if each.name == name)


def choose(random_source: random.Random) -> tuple[str, str]:
    """Draws the route and the type of an event."""
    route = random_source.choices(ROUTES, [route.share for route in ROUTES])[0]
    return route.name, random_source.choice(KINDS)


def config(node: str, app: int) -> str:
    """Writes the sections of all routes. The path at the app says which node made an attempt."""
    text = ""
    for route in ROUTES:
        text += f'[routes.{route.name}]\npath = "/{route.name}"\nmode = "{route.mode}"\n{route.lines}'
        text += 'provider = "github"\nsecret = { env = "WEBHOOK_SECRET" }\n'
        for each in route.destinations:
            url = f"http://127.0.0.1:{app}/{route.name}/{each.name}/{node}"
            is_upstream = each.name == "upstream"
            text += f'upstream = "{url}"\n' if is_upstream else ""
            if route.mode == "proxy":
                continue
            text += f"[routes.{route.name}.destinations.{each.name}]\n"
            text += "" if is_upstream else f'url = "{url}"\n'
            text += f"events = {json.dumps(each.kinds)}\n" if each.kinds else ""
            text += f'timeout = "{TIMEOUT:.0f}s"\nconnect_timeout = "1s"\n{each.lines}'
    return text


def draw(*parts: object) -> float:
    """Returns a number from 0 to 1 that depends only on its arguments, so that a seed repeats the app's behavior."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
