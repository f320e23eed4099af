"""Throw-away PostgreSQL servers: a primary and a streaming standby on loopback, with the faults that servers have."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator

from .ports import free_port
from .waiting import wait_for

USER, DATABASE = "hookgate", "hookgate"
STANDBY = "standby"
# The default connection limit is part of what the rig tests. Kept WAL lets a standby come back after minutes.
SETTINGS = {
    "listen_addresses": "'127.0.0.1'",
    "max_connections": "100",
    "shared_buffers": "'256MB'",
    "wal_keep_size": "'512MB'",
    "max_wal_size": "'2GB'",
    "hot_standby": "on",
    # A crashed server would sync thousands of unchanged files one by one before it starts.
    "recovery_init_sync_method": "'syncfs'",
    "log_lock_waits": "on",
    "log_line_prefix": "'%m [%p] %a '",
    "timezone": "'UTC'",
}


def programs() -> pathlib.Path:
    """Returns the folder of PostgreSQL's programs: `HOOKGATE_POSTGRES_BIN`, else the newest one of Debian's packages."""
    if chosen := os.environ.get("HOOKGATE_POSTGRES_BIN"):
        return pathlib.Path(chosen)
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise SystemExit("PostgreSQL is missing: install the Debian package `postgresql`, or set HOOKGATE_POSTGRES_BIN")
    return found[-1].parent


class SqlError(Exception):
    """A statement that psql could not run."""


def _is_welcome(session: socket.socket) -> bool:
    """Reads the messages of a server up to the first one that says that the session is ready or refused."""
    while True:
        head = session.recv(5, socket.MSG_WAITALL)
        if len(head) < 5 or head[:1] == b"E":
            return False
        session.recv(struct.unpack("!i", head[1:])[0] - 4, socket.MSG_WAITALL)
        if head[:1] == b"Z":
            return True


def _is_running(pid: int) -> bool:
    """Returns whether a process exists and is more than an entry that its parent has not collected yet."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


class Server:
    """One server with its data folder. Its process is a child of the rig, so that it can be killed."""

    def __init__(self, folder: pathlib.Path, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.folder = folder / name
        self.log = folder / f"{name}.log"
        self._bin = programs()
        self._process: subprocess.Popen[bytes] | None = None
        # The server refuses to run as root.
        self._as_user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        if self._as_user:
            shutil.chown(folder, "postgres", "postgres")

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(self._bin / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", **self._as_user)
        if done.returncode != 0:
            raise SqlError(f"{program} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def create(self, **settings: str) -> None:
        """Makes an empty database for hookgate and starts the server."""
        self._run("initdb", "-D", str(self.folder), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
        self.configure(**{**SETTINGS, **settings})
        self.start()
        self.sql(f"CREATE ROLE {USER} LOGIN", database="postgres", user="postgres")
        self.sql(f"CREATE DATABASE {DATABASE} OWNER {USER}", database="postgres", user="postgres")

    def configure(self, **settings: str) -> None:
        """Adds lines to the configuration file, which count from the next start or reload."""
        with open(self.folder / "postgresql.conf", "a", encoding="utf-8") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def reload(self) -> None:
        """Makes the server read its configuration file."""
        self.sql("SELECT pg_reload_conf()", user="postgres")

    def copy_from(self, primary: "Server") -> None:
        """Makes this server a standby of a running primary, and starts it."""
        source = f"host=127.0.0.1 port={primary.port} user=postgres application_name={STANDBY}"
        self._run("pg_basebackup", "-D", str(self.folder), "-R", "-X", "stream", "-c", "fast", "-d", source)
        self.start()
        streams = f"SELECT count(*) FROM pg_stat_replication WHERE application_name = '{STANDBY}' AND state = 'streaming'"
        wait_for("the standby streams", lambda: primary.sql(streams, user="postgres") == "1", 60)

    def start(self) -> None:
        """Starts the server and waits until it accepts connections."""
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """Starts the server without waiting."""
        command = [str(self._bin / "postgres"), "-D", str(self.folder), "-p", str(self.port), "-k", str(self.folder)]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True, **self._as_user
            )

    def wait_ready(self, limit: float = 60.0) -> None:
        """Waits until the server accepts connections."""
        command = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER]
        wait_for(f"{self.name} accepts connections", lambda: subprocess.run(command).returncode == 0, limit)

    def _children(self, parent: int) -> list[int]:
        text = pathlib.Path(f"/proc/{parent}/task/{parent}/children")
        return [int(word) for word in text.read_text().split()] if text.exists() else []

    def kill(self) -> None:
        """Kills the server and its sessions with SIGKILL, as a crash of the machine would."""
        if self._process is None:
            return
        # Without the children, sessions would go on until they notice that their parent is gone.
        doomed = [self._process.pid, *self._children(self._process.pid)]
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        wait_for(f"the sessions of {self.name} end", lambda: not any(_is_running(pid) for pid in doomed))

    def stop(self, mode: signal.Signals = signal.SIGINT) -> None:
        """Stops the server: SIGINT is `fast`, SIGQUIT is `immediate`."""
        if self._process is None:
            return
        self._process.send_signal(mode)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def promote(self) -> None:
        """Makes this standby the primary, and waits until it takes writes."""
        self.sql("SELECT pg_promote(false)", user="postgres")
        wait_for("the standby takes writes", lambda: self.sql("SELECT pg_is_in_recovery()", user="postgres") == "f", 60)

    def set_synchronous(self, is_synchronous: bool) -> None:
        """Makes commits wait for the standby, or not."""
        self.configure(synchronous_standby_names=f"'{STANDBY if is_synchronous else ''}'")
        self.reload()
        state = "sync" if is_synchronous else "async"
        query = f"SELECT count(*) FROM pg_stat_replication WHERE sync_state = '{state}'"
        wait_for(f"the standby is {state}", lambda: self.sql(query, user="postgres") == "1")

    def sql(self, text: str, user: str = USER, database: str = DATABASE, limit: float = 20.0) -> str:
        """Runs a statement and returns its rows, one a line with tabs between the columns."""
        try:
            done = subprocess.run(
                self._psql(user, database) + ["-c", text], capture_output=True, text=True, timeout=limit
            )
        except subprocess.TimeoutExpired as error:
            raise SqlError(f"no answer within {limit:.0f} seconds: {text}") from error
        if done.returncode != 0:
            raise SqlError(done.stderr.strip())
        return done.stdout.rstrip("\n")

    def rows(self, text: str, limit: float = 60.0) -> list[list[str]]:
        """Runs a query and splits its rows into columns. NULL is an empty text."""
        out = self.sql(text, limit=limit)
        return [line.split("\t") for line in out.split("\n")] if out else []

    def _psql(self, user: str, database: str) -> list[str]:
        where = f"host=127.0.0.1 port={self.port} user={user} dbname={database} connect_timeout=5"
        return [str(self._bin / "psql"), "-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d", where]

    def locked(self, table: str) -> contextlib.AbstractContextManager[None]:
        """Holds an exclusive lock on a table."""
        return self._held(f"BEGIN;\nLOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;\n")

    def pinned(self) -> contextlib.AbstractContextManager[None]:
        """Holds a snapshot, so that no row that dies meanwhile can be removed."""
        return self._held("BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT count(*) FROM pg_class \\g /dev/null\n")

    @contextlib.contextmanager
    def _held(self, statements: str) -> Iterator[None]:
        """Runs statements in a session that stays open."""
        with subprocess.Popen(
            self._psql("postgres", DATABASE), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as session:
            assert session.stdin and session.stdout
            session.stdin.write(f"{statements}\\echo held\n")
            session.stdin.flush()
            if session.stdout.readline().strip() != "held":
                raise SqlError(f"psql did not run {statements}")
            try:
                yield
            finally:
                session.stdin.write("ROLLBACK;\n")
                session.stdin.close()

    @contextlib.contextmanager
    def filled(self) -> Iterator[int]:
        """Takes all connections that ordinary roles may have, and keeps them. Yields their number."""
        parameters = f"user\0{USER}\0database\0{DATABASE}\0application_name\0filler\0\0".encode()
        start = struct.pack("!ii", len(parameters) + 8, 3 << 16) + parameters
        held: list[socket.socket] = []
        try:
            while True:
                session = socket.create_connection(("127.0.0.1", self.port), 5)
                held.append(session)
                session.sendall(start)
                if not _is_welcome(session):
                    break
            yield len(held) - 1
        finally:
            for session in held:
                session.close()

    def terminate_sessions(self, count: int) -> int:
        """Ends up to `count` sessions of hookgate, chosen at random. Returns how many it ended."""
        text = f"""SELECT count(pg_terminate_backend(pid)) FROM
            (SELECT pid FROM pg_stat_activity WHERE usename = '{USER}' AND application_name NOT IN ('psql', 'filler')
            ORDER BY random() LIMIT {count}) AS chosen"""
        return int(self.sql(text, user="postgres", database="postgres"))

    def long_transactions(self, seconds: float) -> list[str]:
        """Lists sessions of hookgate that are idle inside a transaction for longer than a bound."""
        text = f"""SELECT pid, application_name, state, clock_timestamp() - state_change, left(query, 80)
            FROM pg_stat_activity WHERE usename = '{USER}' AND state LIKE 'idle in transaction%'
            AND state_change < clock_timestamp() - interval '{seconds} seconds'"""
        out = self.sql(text, user="postgres", database="postgres", limit=5)
        return out.split("\n") if out else []

    def log_lines(self, word: str) -> list[str]:
        """Returns the lines of the server's log that contain a word."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return [line for line in text.split("\n") if word in line]
