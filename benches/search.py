#!/usr/bin/env python3
"""Measures the lists and counts of the admin API with plain SQL over ordinary indexes, in milliseconds of processor time.

Usage: benches/search.py FOLDER EVENTS [insert]

Fills FOLDER/store-EVENTS.db, a store with the newest schema, and FOLDER/plain-EVENTS.db, the same rows in plain columns
with one ordinary index for each filter. Uses files that exist as they are. Then it prints the time of each query, or with
`insert` the cost of commits to both files.

This measures the store itself on the first file:
HOOKGATE_STORE=FOLDER/store-EVENTS.db cargo test --lib million -- --ignored --nocapture
"""

import pathlib
import shutil
import sqlite3
import statistics
import sys
import time

ROUTES, TYPES = 20, 10
OLD = 19
# As in src/store/tests/million.rs.
NOW, STEP_MS = 1_700_000_000_000, 100
PENDING, WAITING, DELIVERED, DEAD, CANCELLED = 0, 2, 3, 4, 5
MIGRATIONS = pathlib.Path(__file__).resolve().parent.parent / "src/store/migrations"
# Seconds after which a query is stopped.
PATIENCE = 1.0


def mix(number):
    mixed = number * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    return mixed ^ mixed >> 27


def kind_of(number, count):
    """Route k gets about one event in 2^(k+1); the last route has events only in the oldest hundredth."""
    mixed = mix(number)
    route = OLD if number <= count // 100 and mixed % 3 == 0 else min((mixed | 1 << 18) & -(mixed | 1 << 18), 1 << 18).bit_length() - 1
    return route * TYPES + (mixed >> 32) % TYPES + 1


def state_of(number, count):
    """The newest hundredth waits; an outage at a fifth of the store left dead letters; otherwise one in a thousand is dead."""
    mixed = mix(number) >> 40
    if number > count - count // 100:
        return (PENDING, PENDING, PENDING, WAITING, DELIVERED)[mixed % 5]
    if count // 5 <= number < count // 4:
        return DEAD if mixed % 5 < 3 else DELIVERED
    return DEAD if mixed % 1000 == 0 else CANCELLED if mixed % 1000 == 1 else DELIVERED


def deliveries(count):
    """Yields id, event, kind, destination, state, is_replay."""
    number, dead = 0, []
    for event in range(1, count + 1):
        kind, state = kind_of(event, count), state_of(event, count)
        route = (kind - 1) // TYPES
        for second in range(2 if mix(event) >> 50 & 3 == 0 else 1):
            number += 1
            yield number, event, kind, 2 * route + second + 1, state, 0
            if state == DEAD and count // 5 <= event < count // 4:
                dead.append((event, kind, 2 * route + second + 1))
    for event, kind, destination in dead:
        number += 1
        yield number, event, kind, destination, DELIVERED, 1


def uid(number):
    return (NOW + number * STEP_MS).to_bytes(6, "big") + b"\x70\x00" + mix(number).to_bytes(8, "big")


def event_id(number):
    return f"evt_{mix(number):016x}"


def fnv(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return (value ^ value >> 32) & 0x7FFFFFFF


def lane_of(kind, destination, is_replay):
    return kind * 4 + (destination - 1) % 2 * 2 + is_replay


def open_file(path):
    conn = sqlite3.connect(path, isolation_level=None)
    conn.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536; PRAGMA temp_store=MEMORY")
    return conn


def fill_store(path, count):
    conn = sqlite3.connect(path, isolation_level=None)
    conn.executescript("PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-400000")
    files = sorted(MIGRATIONS.glob("*.sql"))
    for file in files:
        conn.executescript(file.read_text())
    conn.executescript(f"PRAGMA application_id=0x686b6774; PRAGMA user_version={len(files)}; BEGIN")
    for route in range(ROUTES):
        conn.execute("INSERT INTO route (id, name) VALUES (?, ?)", (route + 1, f"route-{route}"))
        for second in range(2):
            values = (2 * route + second + 1, route + 1, ("app", "copy")[second])
            conn.execute("INSERT INTO destination (id, route, name) VALUES (?, ?, ?)", values)
        for kind in range(TYPES):
            values = (route * TYPES + kind + 1, route + 1, f"provider-{route % 5}", f"type.{kind}")
            conn.execute("INSERT INTO kind (id, route, provider, event_type) VALUES (?, ?, ?, ?)", values)
            for second in range(2):
                for is_replay in range(2):
                    number, destination = route * TYPES + kind + 1, 2 * route + second + 1
                    values = (lane_of(number, destination, is_replay), number, destination, is_replay)
                    conn.execute("INSERT INTO lane VALUES (?, ?, ?, ?)", values)
    sql = "INSERT INTO event (id, uid, kind, received_ms, body_size, event_id) VALUES (?, ?, ?, ?, 100, ?)"
    conn.executemany(sql, ((n, uid(n), kind_of(n, count), NOW + n * STEP_MS, event_id(n)) for n in range(1, count + 1)))
    conn.execute("INSERT INTO content SELECT id, 0, x'00', zeroblob(100) FROM event")
    conn.execute("INSERT INTO span SELECT id >> 10, min(received_ms), max(received_ms) FROM event GROUP BY id >> 10")
    rows = sorted((n >> 14, fnv(event_id(n)), n & 16383) for n in range(1, count + 1))
    conn.executemany("INSERT INTO reference VALUES (?, ?, ?)", rows)
    sql = """INSERT INTO delivery (id, event, lane, destination, state, is_behind, priority, due_ms, attempts, round,
        round_began_ms, created_ms, ended_ms) VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, ?6, 1, 1, ?6, ?6,
        CASE WHEN ?5 > 2 THEN ?6 END)"""
    conn.executemany(sql, ((number, event, lane_of(kind, destination, is_replay), destination, state, NOW + event * STEP_MS)
        for number, event, kind, destination, state, is_replay in deliveries(count)))
    conn.execute("INSERT INTO tally SELECT lane, state, count(*) FROM delivery GROUP BY lane, state")
    conn.execute("UPDATE total SET events=?1, last_event=?1, last_delivery=(SELECT max(id) FROM delivery), clock_ms=?2",
        (count, NOW + count * STEP_MS))
    conn.execute("COMMIT")
    conn.close()


PLAIN = """
CREATE TABLE type (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE event (id INTEGER PRIMARY KEY, uid BLOB NOT NULL, route INTEGER NOT NULL, provider INTEGER NOT NULL,
    type INTEGER NOT NULL, received_ms INTEGER NOT NULL, body_size INTEGER NOT NULL, event_id TEXT, webhook_id TEXT) STRICT;
CREATE TABLE delivery (id INTEGER PRIMARY KEY, event INTEGER NOT NULL, destination INTEGER NOT NULL,
    state INTEGER NOT NULL, is_replay INTEGER NOT NULL, is_behind INTEGER NOT NULL, priority INTEGER NOT NULL,
    due_ms INTEGER NOT NULL, order_key INTEGER, attempts INTEGER NOT NULL, round INTEGER NOT NULL,
    round_began_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL, ended_ms INTEGER, last_status INTEGER, last_error TEXT) STRICT;
"""

PLAIN_INDEXES = """
CREATE UNIQUE INDEX event_uid ON event (uid);
CREATE INDEX event_time ON event (received_ms);
CREATE INDEX event_route ON event (route);
CREATE INDEX event_provider ON event (provider);
CREATE INDEX event_type ON event (type);
CREATE INDEX event_event_id ON event (event_id);
CREATE INDEX event_webhook_id ON event (webhook_id) WHERE webhook_id IS NOT NULL;
CREATE INDEX delivery_event ON delivery (event);
CREATE INDEX delivery_state ON delivery (state);
CREATE INDEX delivery_destination ON delivery (destination, state);
CREATE INDEX delivery_due ON delivery (destination, priority, due_ms) WHERE state IN (0, 2) AND is_behind = 0;
"""


def fill_plain(path, store):
    conn = sqlite3.connect(path, isolation_level=None)
    conn.executescript("PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-400000")
    conn.executescript(PLAIN)
    conn.execute("ATTACH ? AS store", (str(store),))
    conn.executescript(f"""BEGIN;
        INSERT INTO type SELECT id, event_type FROM store.kind WHERE id <= {TYPES};
        INSERT INTO main.event SELECT e.id, uid, k.route, (k.route - 1) % 5, (kind - 1) % {TYPES} + 1, received_ms, body_size,
            event_id, webhook_id FROM store.event e JOIN store.kind k ON k.id = e.kind ORDER BY e.id;
        INSERT INTO main.delivery SELECT id, event, destination, state, lane % 2, is_behind, priority, due_ms, order_key,
            attempts, round, round_began_ms, created_ms, ended_ms, last_status, last_error FROM store.delivery ORDER BY id;
        COMMIT;""")
    conn.executescript(PLAIN_INDEXES + "ANALYZE;")
    conn.close()


class Runner:
    def __init__(self, conn):
        self.conn, self.until = conn, 0.0
        conn.set_progress_handler(lambda: time.process_time() > self.until, 10_000)

    def best(self, run):
        """Takes the faster of the planner's choice and the walk."""
        return min(self.time(lambda: run(False)), self.time(lambda: run(True)), key=lambda took: took[0])

    def time(self, run):
        """Returns milliseconds of processor time, the median of three, since other programs may use the machine."""
        times = []
        while len(times) < 3:
            began = time.process_time()
            self.until = began + PATIENCE
            try:
                found = run()
            except sqlite3.OperationalError as err:
                if "interrupted" not in str(err):
                    raise
                return PATIENCE * 1000, None
            times.append((time.process_time() - began) * 1000)
            if times[-1] > 200:
                break
        return statistics.median(times), found


def searches(count):
    at = lambda hundredth: NOW + count * STEP_MS * hundredth // 100
    span = lambda low, high: {"since": at(low), "before": at(high)}
    found = {
        "all": {},
        "large route": {"route": 0},
        "small route": {"route": 12},
        "route of old events": {"route": OLD},
        "type": {"type": "type.7"},
        "type, no match": {"type": "nothing.*"},
        "route and type": {"route": 3, "type": "type.7"},
        "since": {"since": at(10)},
        "before": {"before": at(90)},
        "within": span(10, 90),
        "route within": {"route": 1, **span(10, 60)},
        "old route within": {"route": OLD, **span(50, 60)},
        "second within": {"since": at(50), "before": at(50) + 1000},
        "tenth within": span(20, 30),
    }
    states = {"any": None, "delivered": DELIVERED, "dead": DEAD, "pending": PENDING}
    for name, search in found.items():
        for word, state in states.items():
            yield f"{name}, {word}", {**search, "state": state}


def plain_where(search, walk):
    """With `walk` no index on a filter's column is used, so that SQLite goes from the newest row to older ones."""
    where, values, table = [], [], "+event" if walk else "event"
    for key, column in (("route", "route = ?"), ("since", "received_ms >= ?"), ("before", "received_ms < ?")):
        if search.get(key) is not None:
            where.append(f"{table}.{column}")
            values.append(search[key] + (key == "route"))
    if search.get("type"):
        where.append(f"{table}.type IN (SELECT id FROM type WHERE name GLOB ?)")
        values.append(search["type"])
    return where, values


def plain_events(conn, search, walk):
    where, values = plain_where(search, walk)
    if search["state"] is not None:
        where.append("EXISTS (SELECT 1 FROM delivery WHERE delivery.event = event.id AND state = ?)")
        values.append(search["state"])
    clause = " AND ".join(where) or "1"
    sql = f"SELECT * FROM event WHERE {clause} AND id < ? ORDER BY id DESC LIMIT 51"
    return len(conn.execute(sql, (*values, 1 << 62)).fetchall())


def plain_deliveries(conn, search, walk, counts=False):
    where, values = plain_where(search, walk)
    if search["state"] is not None:
        where.append(f"{'+' * walk}delivery.state = ?")
        values.append(search["state"])
    if search.get("destination"):
        where.append("delivery.destination = ?")
        values.append(search["destination"])
    clause = " AND ".join(where) or "1"
    source = f"FROM delivery {'CROSS' * walk} JOIN event ON event.id = delivery.event WHERE {clause}"
    if counts:
        return conn.execute(f"SELECT count(*) {source}", values).fetchone()[0]
    sql = f"SELECT * {source} AND delivery.id < ? ORDER BY delivery.id DESC LIMIT 51"
    return len(conn.execute(sql, (*values, 1 << 62)).fetchall())


def measure_plain(path, count):
    conn = open_file(path)
    runner = Runner(conn)
    report = lambda name, took: print(f"{name:50} {took[0]:9.1f} ms{' SLOW' if took[0] > 200 else ''} {took[1]}", flush=True)
    for name, search in searches(count):
        report(f"events: {name}", runner.best(lambda walk: plain_events(conn, search, walk)))
        report(f"deliveries: {name}", runner.best(lambda walk: plain_deliveries(conn, search, walk)))
        report(f"count: {name}", runner.best(lambda walk: plain_deliveries(conn, search, walk, counts=True)))
    one = {"state": DEAD, "destination": 1}
    report("deliveries: destination, dead", runner.best(lambda walk: plain_deliveries(conn, one, walk)))
    sql = "SELECT id FROM event WHERE event_id = ?1 UNION SELECT id FROM event WHERE webhook_id = ?1"
    report("event by id", runner.time(lambda: len(conn.execute(sql, (event_id(count),)).fetchall())))
    report("event by unknown id", runner.time(lambda: len(conn.execute(sql, ("unknown",)).fetchall())))
    sql = "SELECT state, count(*) FROM delivery GROUP BY state"
    report("counts by state", runner.time(lambda: len(conn.execute(sql).fetchall())))
    sql = "SELECT destination, state, count(*) FROM delivery GROUP BY 1, 2"
    report("counts by destination", runner.time(lambda: len(conn.execute(sql).fetchall())))
    conn.close()


STORE_INSERTS = (
    ("INSERT INTO event (id, uid, kind, received_ms, body_size, event_id) VALUES (?, ?, ?, ?, 100, ?)",
        lambda n, now: (n, uid(n), kind_of(n, 1), now, event_id(n))),
    ("INSERT INTO reference VALUES (?, ?, ?)", lambda n, now: (n >> 14, mix(n) & 0x7FFFFFFF, n & 16383)),
    ("""INSERT INTO delivery (id, event, lane, destination, state, is_behind, priority, due_ms, attempts, round,
        round_began_ms, created_ms) VALUES (?1, ?1, ?2, 1, 0, 0, 0, ?3, 0, 0, ?3, ?3)""",
        lambda n, now: (n, lane_of(kind_of(n, 1), 1, 0), now)),
)
PLAIN_INSERTS = (
    ("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, 100, ?, NULL)",
        lambda n, now: (n, uid(n), kind_of(n, 1) // TYPES + 1, 1, kind_of(n, 1) % TYPES + 1, now, event_id(n))),
    ("""INSERT INTO delivery (id, event, destination, state, is_replay, is_behind, priority, due_ms, attempts, round,
        round_began_ms, created_ms) VALUES (?1, ?1, 1, 0, 0, 0, 0, ?2, 0, 0, ?2, ?2)""", lambda n, now: (n, now)),
)


def measure_inserts(path, inserts, first, groups=500, size=64):
    """Commits groups of events, and prints processor time and bytes of the log for each event."""
    copy = path.with_suffix(".copy")
    shutil.copyfile(path, copy)
    conn = sqlite3.connect(copy, isolation_level=None)
    conn.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536; PRAGMA wal_autocheckpoint=0")
    rows = [[[values(first + n, NOW + (first + n) * STEP_MS) for _, values in inserts] for n in range(group * size, (group + 1) * size)]
        for group in range(groups)]
    began = time.process_time()
    for group in rows:
        conn.execute("BEGIN")
        for event in group:
            for (sql, _), values in zip(inserts, event):
                conn.execute(sql, values)
        conn.execute("COMMIT")
    took = (time.process_time() - began) * 1e6 / groups / size
    log = pathlib.Path(f"{copy}-wal").stat().st_size / groups / size
    print(f"{path.stem:20} {took:6.1f} us and {log:6.0f} bytes of the log for each event", flush=True)
    conn.close()
    for name in (copy, f"{copy}-wal", f"{copy}-shm"):
        pathlib.Path(name).unlink(missing_ok=True)


def main():
    folder, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    store, plain = folder / f"store-{count}.db", folder / f"plain-{count}.db"
    for path, fill in ((store, lambda: fill_store(store, count)), (plain, lambda: fill_plain(plain, store))):
        if not path.exists():
            began = time.perf_counter()
            fill()
            print(f"filled {path.name} in {time.perf_counter() - began:.0f} s, {path.stat().st_size >> 20} MiB", flush=True)
    if "insert" in sys.argv:
        for _ in range(3):
            measure_inserts(store, STORE_INSERTS, 10 * count)
            measure_inserts(plain, PLAIN_INSERTS, 10 * count)
    else:
        measure_plain(plain, count)


main()
