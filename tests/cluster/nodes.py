"""Nodes of the cluster: hookgate processes with their config, state folder, clock and admin API."""

import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
from typing import Any

from .ports import free_port
from .routes import SECRET
from .waiting import wait_for

CONFIG = """[server]
listen = ["127.0.0.1:{port}"]
max_connections_per_source = 4096
per_source_rate_limit = false
state_dir = "{folder}/state"
[admin]
listen = "unix:{folder}/admin.sock"
[log]
format = "json"
accepted = false
[store]
{store}
"""
LIBRARIES = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1")


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over the Unix socket of the admin listener."""

    def __init__(self, path: str, limit: float) -> None:
        super().__init__("localhost", timeout=limit)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class AdminError(Exception):
    """A refused request to the admin API."""


class Node:
    """One node. It keeps its port over restarts, as a host behind a load balancer does."""

    def __init__(self, name: str, folder: pathlib.Path, binary: str, store: str, routes: str) -> None:
        self.name = name
        self.folder = folder / f"node-{name}"
        self.binary = binary
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_frozen = False
        self._environment: dict[str, str] = {}
        self.folder.mkdir()
        (self.folder / "state").mkdir()
        self.config = self.folder / "hookgate.toml"
        text = CONFIG.format(port=self.port, folder=self.folder, store=store) + routes
        self.config.write_text(text, encoding="utf-8")
        self.log = self.folder / "log"

    def start(self, must_be_ready: bool = True) -> None:
        """Starts the process, and waits until it accepts requests."""
        environment = {**os.environ, "WEBHOOK_SECRET": SECRET, **self._environment}
        with open(self.log, "ab") as log:
            command = [self.binary, "run", "--config", str(self.config)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=environment
            )
        if must_be_ready:
            self.wait_ready()

    def wait_ready(self, limit: float = 30.0) -> None:
        """Waits until the node accepts requests."""

        def is_ready() -> bool:
            if self._process is None or self._process.poll() is not None:
                raise SystemExit(f"node {self.name} ended:\n{self.tail(10)}")
            return self.is_listening()

        wait_for(f"node {self.name} is ready", is_ready, limit)

    def is_listening(self) -> bool:
        """Returns whether the listener of the node accepts connections."""
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    @property
    def is_running(self) -> bool:
        """Returns whether the process exists."""
        return self._process is not None and self._process.poll() is None

    def _signal(self, number: signal.Signals) -> None:
        if self.is_running and self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kills the process with SIGKILL."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        self._process = None

    def stop(self, limit: float = 45.0) -> float | None:
        """Stops the node with SIGTERM. Returns its exit code, or nothing where it had to be killed."""
        if self._process is None:
            return None
        self.thaw()
        self._signal(signal.SIGTERM)
        try:
            return self._process.wait(limit)
        except subprocess.TimeoutExpired:
            self.kill()
            return None
        finally:
            self._process = None

    def freeze(self) -> None:
        """Stops the process as a suspended machine does."""
        self._signal(signal.SIGSTOP)
        self._is_frozen = True

    def thaw(self) -> None:
        """Continues a frozen process."""
        if self._is_frozen:
            self._signal(signal.SIGCONT)
        self._is_frozen = False

    def lose_state(self) -> None:
        """Removes the state folder, as a new container would begin without it."""
        shutil.rmtree(self.folder / "state")
        (self.folder / "state").mkdir()

    def set_clock(self, offset: str) -> None:
        """Gives the process a clock that is off by `-1h` or `+5m`. Can be called again while it runs: the clock steps.

        The monotonic clock stays right, as it does when the clock of a machine steps.
        """
        library = next((path for path in LIBRARIES if os.path.exists(path)), None)
        if library is None:
            raise SystemExit("libfaketime is missing: install the Debian package `libfaketime`")
        file = self.folder / "clock"
        # The library reads the file at any moment, so it must never be half-written.
        fresh = self.folder / "clock.new"
        fresh.write_text(f"{offset}\n", encoding="utf-8")
        fresh.rename(file)
        self._environment = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def ask(self, method: str, path: str, document: object = None, limit: float = 20.0) -> Any:
        """Sends a request to the admin API and returns its JSON document."""
        connection = _UnixConnection(str(self.folder / "admin.sock"), limit)
        try:
            body = None if document is None else json.dumps(document)
            connection.request(method, f"/api/v1/{path}", body, {"content-type": "application/json"})
            response = connection.getresponse()
            text = response.read().decode()
            if response.status >= 300:
                raise AdminError(f"{method} {path}: {response.status} {text.strip()}")
            return json.loads(text) if text else None
        finally:
            connection.close()

    def command(self, *arguments: str, limit: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Runs a command of the program with this node's config."""
        command = [self.binary, *arguments, "--config", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=limit, cwd=self.folder)

    def log_lines(self, *words: str) -> list[str]:
        """Returns the lines of the log that contain one of the words."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return [line for line in text.split("\n") if any(word in line for word in words)]

    def tail(self, count: int) -> str:
        """Returns the last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").strip().split("\n")[-count:])
