"""The cluster of one scenario: servers, fault proxies, nodes, app and senders, and the faults that concern all of them."""

import contextlib
import dataclasses
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

from .app import App
from .event_loop import LoopThread
from .evidence import Evidence
from .fault_proxy import FaultProxy, Mode
from .findings import Report
from .invariants import check_all
from .measurements import measure
from .nodes import Node
from .postgres import DATABASE, USER, Server, SqlError
from .records import Faults, Span
from .routes import BY_NAME, TAKEOVER_LIMIT, config
from .senders import Senders
from .session_watch import SessionWatch
from .tables import PostgresSource, SqliteSource, Tables
from .waiting import Timeout, let_time_pass, wait_for


@dataclasses.dataclass(frozen=True)
class Options:
    """The choices of the command line."""

    binary: str
    seed: int
    old_binary: str = ""
    nodes: int = 3
    rate: float = 120.0
    senders: int = 16
    times: int = 0
    seconds: float = 0.0
    store: str = "postgres"
    folder: str = ""


class Rig:
    """Everything that a scenario needs. A context manager that stops all processes it started."""

    def __init__(self, name: str, options: Options, standby: str = "", durability: str = "replica") -> None:
        self.name = name
        self.options = options
        self.faults = Faults()
        self.folder = pathlib.Path(options.folder or tempfile.mkdtemp(prefix="hookgate-cluster-"))
        self.folder.mkdir(exist_ok=True)
        # The servers run as another user.
        self.folder.chmod(0o755)
        self._loops = [LoopThread(each) for each in ("app", "senders", "proxies")]
        self.app = App(self._loops[0], options.seed)
        self.servers: list[Server] = []
        self.nodes: dict[str, Node] = {}
        # By node and server, in the order of the servers.
        self.proxies: dict[str, list[FaultProxy]] = {}
        self._standby = standby
        self._durability = durability
        self._watch: SessionWatch | None = None
        # Until a report is clean, its logs may explain something.
        self._keeps_folder = True
        self.tables: Tables
        self.senders: Senders

    def __enter__(self) -> "Rig":
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        options = self.options
        if options.store == "postgres":
            self._start_servers()
            self.tables = Tables(PostgresSource(self.servers[0]))
            self._watch = SessionWatch(lambda: self.primary)
        for name in "abcdefgh"[: options.nodes]:
            self.add_node(name, options.old_binary or options.binary)
        if options.store == "sqlite":
            self.tables = Tables(SqliteSource(self.nodes["a"].folder / "hookgate.db"))
        ports = {name: node.port for name, node in self.nodes.items()}
        self.senders = Senders(self._loops[1], ports, options.seed, options.senders, options.rate)
        self.faults.began = time.monotonic()

    def _start_servers(self) -> None:
        self.servers.append(Server(self.folder, "one"))
        self.servers[0].create()
        if self._standby:
            self.servers.append(Server(self.folder, "two"))
            self.servers[1].copy_from(self.servers[0])
            self.servers[0].set_synchronous(self._standby == "sync")

    def add_node(self, name: str, binary: str) -> Node:
        """Adds a node with its own proxies, and starts it."""
        self.proxies[name] = [FaultProxy(self._loops[2], server.port) for server in self.servers]
        if self.options.store == "sqlite":
            store = f'url = "sqlite:{self.folder}/node-{name}/hookgate.db"\nmin_free = "1MiB"'
        else:
            hosts = ",".join(f"127.0.0.1:{proxy.port}" for proxy in self.proxies[name])
            url = f"postgres://{USER}@{hosts}/{DATABASE}?target_session_attrs=read-write&sslmode=disable"
            store = f'url = "{url}"\nnode = "{name}"\ndurability = "{self._durability}"'
        routes = config(name, self.app.port)
        if self.options.store == "sqlite":
            routes = routes.replace("dedup = { shared = true }\n", "")
        node = Node(name, self.folder, binary, store, routes)
        self.nodes[name] = node
        node.start()
        return node

    @property
    def primary(self) -> Server:
        """Returns the server that takes writes."""
        source = self.tables.source
        assert isinstance(source, PostgresSource)
        return source.server

    def use_server(self, server: Server) -> None:
        """Makes the rig read the tables of another server, after a failover."""
        self.tables = Tables(PostgresSource(server))

    def note(self, text: str) -> None:
        """Prints a line with the time since the start."""
        self.faults.note(text)

    def warm_up(self, seconds: float = 3.0) -> None:
        """Starts the load and waits until every route works."""
        self.senders.start()
        wait_for("an event of each route is acknowledged", self._is_working, 30)
        let_time_pass("the load runs without a fault", seconds)

    def _is_working(self) -> bool:
        for node in self.nodes.values():
            if not node.is_running:
                raise SystemExit(f"node {node.name} ended:\n{node.tail(10)}")
        working = {sending.route for sending in self.senders.sendings if sending.acknowledged is not None}
        return working == set(BY_NAME)

    @contextlib.contextmanager
    def away(self) -> Iterator[Span]:
        """Marks a time during which no node reaches a database that takes writes."""
        # A response that is on its way when the fault begins is still a true one.
        span = Span(time.monotonic())
        self.faults.away.append(span)
        yield span
        if span.ended == float("inf"):
            span.ended = time.monotonic()

    def disturb_sessions(self) -> None:
        """Notes that from now on some node may not reach the database at any moment."""
        self.faults.cut_off.append(Span(time.monotonic()))

    def set_proxies(self, mode: Mode, delay: float = 0.0, node: str = "") -> None:
        """Sets the fault of all proxies, or of those of one node."""
        for name, proxies in self.proxies.items():
            for proxy in proxies:
                if not node or name == node:
                    proxy.set(mode, delay)

    def balance(self, name: str, is_in: bool) -> None:
        """Takes a node out of the load balancer, or puts it back."""
        nodes = {**self.senders.nodes, name: self.nodes[name].port}
        if not is_in:
            del nodes[name]
        # Replaced as a whole, since the senders read it on their own thread.
        self.senders.nodes = nodes

    def kill_node(self, name: str, keeps_state: bool = True) -> None:
        """Kills a node and notes when."""
        self.faults.killed.append((name, time.monotonic()))
        self.nodes[name].kill()
        if not keeps_state:
            self.nodes[name].lose_state()

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Freezes a node."""
        span = Span(time.monotonic())
        self.faults.frozen.append((name, span))
        self.nodes[name].freeze()
        try:
            yield
        finally:
            self.nodes[name].thaw()
            span.ended = time.monotonic()

    def settle(self, limit: float = TAKEOVER_LIMIT + 60.0) -> Report:
        """Ends the load, waits until nothing is open, and checks all invariants."""
        self.note(f"end of the load, {self.senders.acknowledged} of {len(self.senders.sendings)} events acknowledged")
        with contextlib.suppress(Timeout):
            self.senders.stop(limit)
        began = time.monotonic()
        drained = None
        try:
            wait_for("nothing is open", lambda: self._is_drained(began), limit, pause=0.25)
            drained = time.monotonic() - began
        except Timeout as timeout:
            self.note(str(timeout))
        report = Report(self.name)
        evidence = self._collect(drained, limit)
        report.findings = check_all(evidence)
        report.measurements = measure(evidence)
        if not report.is_clean:
            self.note(f"the logs stay in {self.folder}")
        self._keeps_folder = not report.is_clean
        return report

    def _is_drained(self, began: float) -> bool:
        try:
            left = self.tables.open_by_route()
        except SqlError:
            return False
        # The store does not know how long the first attempt of a hybrid route may take, so the one of a node that was
        # killed is taken over after minutes.
        if self.faults.killed and time.monotonic() - began > TAKEOVER_LIMIT:
            left.pop("hybrid", None)
        return not left

    def _collect(self, drained: float | None, limit: float) -> Evidence:
        return Evidence(
            sendings=list(self.senders.sendings),
            exchanges=list(self.app.exchanges),
            deliveries=self.tables.deliveries(),
            attempts=self.tables.attempts(),
            faults=self.faults,
            duplicates=self.tables.duplicates(),
            drained=drained,
            drain_limit=limit,
            long_transactions=list(self._watch.found) if self._watch else [],
            deadlocks=[line for server in self.servers for line in server.log_lines("deadlock detected")],
            panics=[f"{name}: {line}" for name, node in self.nodes.items() for line in node.log_lines("panicked")],
            store_check=self._check_store(),
        )

    def _check_store(self) -> list[str]:
        node = next(node for node in self.nodes.values() if node.is_running)
        # The newer program of a rolling upgrade knows the schema.
        node.binary = self.options.binary
        done = node.command("store", "check")
        return [] if done.returncode == 0 else [f"store check: {done.stdout}{done.stderr}".strip()]

    def close(self) -> None:
        """Stops everything, whatever state it is in."""
        for node in self.nodes.values():
            with contextlib.suppress(OSError):
                node.thaw()
                node.kill()
        if self._watch:
            self._watch.close()
        for loop in self._loops:
            with contextlib.suppress(TimeoutError, RuntimeError):
                loop.close()
        for server in self.servers:
            with contextlib.suppress(OSError):
                server.kill()
        if not self._keeps_folder and not self.options.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
