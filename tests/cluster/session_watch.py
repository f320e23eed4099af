"""A thread that looks once a second for sessions of hookgate that are stuck inside a transaction."""

import contextlib
import subprocess
import threading
from collections.abc import Callable

from .postgres import Server, SqlError

# A node's sessions end by themselves after 5 s; the server needs a moment for it.
LONGEST = 6.0


class SessionWatch:
    """Looks at the server that takes writes at the moment."""

    def __init__(self, current: Callable[[], Server]) -> None:
        self.found: list[str] = []
        self._current = current
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="session watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.wait(1.0):
            # The server may be down or full at this moment, which is a fault of the scenario and no finding.
            with contextlib.suppress(SqlError, OSError, subprocess.SubprocessError):
                self.found += self._current().long_transactions(LONGEST)

    def close(self) -> None:
        """Ends the thread."""
        self._is_over.set()
        self._thread.join(10)
