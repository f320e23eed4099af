-- Schema version 1 of the inbox.
--
-- Writes in key order stay cheap however much is stored; writes at random positions do not. Only claims are written at
-- random positions, so their rows are narrow. All other indexes grow at a few edges: one per kind, per lane and state,
-- and per destination.

-- Counters, updated with every group, since counting millions of rows is slow. Numbers are never reused.
CREATE TABLE total (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    events INTEGER NOT NULL,
    claims INTEGER NOT NULL,
    last_event INTEGER NOT NULL,
    last_delivery INTEGER NOT NULL
) STRICT;
INSERT INTO total VALUES (1, 0, 0, 0, 0);

-- Identifies the keys that encrypt rows by a value derived from them, never by the keys themselves.
CREATE TABLE sealing_key (
    id INTEGER PRIMARY KEY,
    print BLOB NOT NULL UNIQUE
) STRICT;

CREATE TABLE route (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    is_paused INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE destination (
    id INTEGER PRIMARY KEY,
    route INTEGER NOT NULL REFERENCES route (id),
    name TEXT NOT NULL,
    is_paused INTEGER NOT NULL DEFAULT 0,
    disabled TEXT,
    UNIQUE (route, name)
) STRICT;

-- Route, provider and type of events as one number, so that one index finds events by any of them. The number of kinds
-- is bounded. Types beyond the bound share the kind `is_rest` of their route and provider, and the event stores the
-- type.
CREATE TABLE kind (
    id INTEGER PRIMARY KEY,
    route INTEGER NOT NULL REFERENCES route (id),
    provider TEXT NOT NULL,
    event_type TEXT,
    is_rest INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Kind and destination of deliveries as one number, with replays apart.
CREATE TABLE lane (
    id INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL REFERENCES kind (id),
    destination INTEGER NOT NULL REFERENCES destination (id),
    is_replay INTEGER NOT NULL
) STRICT;

-- Number of deliveries by lane and state.
CREATE TABLE tally (
    lane INTEGER NOT NULL,
    state INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (lane, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    uid BLOB NOT NULL,
    kind INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    body_size INTEGER NOT NULL,
    -- The event id that the provider assigned.
    event_id TEXT,
    -- The id that destinations see; null if it is the uid as text.
    webhook_id TEXT,
    -- The type, if the kind is `is_rest`.
    event_type TEXT
) STRICT;
-- The uid begins with the time, so this index grows at its end.
CREATE UNIQUE INDEX event_uid ON event (uid);
CREATE INDEX event_kind ON event (kind);

-- Separate from the events, so that lists read narrow rows. Only a delivery needs `head`.
CREATE TABLE content (
    event INTEGER PRIMARY KEY REFERENCES event (id),
    -- 0 means stored in clear.
    sealing_key INTEGER NOT NULL,
    head BLOB NOT NULL,
    body BLOB
) STRICT;

-- Earliest and latest time in each block of 1,024 events, by which lists find a time. Clocks may step.
CREATE TABLE span (
    block INTEGER PRIMARY KEY,
    low_ms INTEGER NOT NULL,
    high_ms INTEGER NOT NULL
) STRICT;

-- Finds events by a hash of their ids, with the position of the event in its block of 16,384. Writes are random only
-- within the newest block, which stays in the cache. A query must visit each block.
CREATE TABLE reference (
    block INTEGER NOT NULL,
    hash INTEGER NOT NULL,
    event INTEGER NOT NULL,
    PRIMARY KEY (block, hash, event)
) STRICT, WITHOUT ROWID;

CREATE TABLE claim (
    route INTEGER NOT NULL,
    key BLOB NOT NULL,
    expires_ms INTEGER NOT NULL,
    status INTEGER NOT NULL,
    PRIMARY KEY (route, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE delivery (
    id INTEGER PRIMARY KEY,
    event INTEGER NOT NULL REFERENCES event (id),
    lane INTEGER NOT NULL,
    destination INTEGER NOT NULL,
    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 5),
    -- Whether an older delivery with the same order key is open, or one is in flight.
    is_behind INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    -- In flight: when the attempt began.
    due_ms INTEGER NOT NULL,
    order_key INTEGER,
    attempts INTEGER NOT NULL,
    round INTEGER NOT NULL,
    round_began_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    last_status INTEGER,
    last_error TEXT
) STRICT;
CREATE INDEX delivery_event ON delivery (event);
CREATE INDEX delivery_lane ON delivery (lane, state);
CREATE INDEX delivery_due ON delivery (destination, priority, due_ms) WHERE state IN (0, 2) AND is_behind = 0;
CREATE INDEX delivery_order ON delivery (destination, order_key, is_behind)
    WHERE order_key IS NOT NULL AND state IN (0, 1, 2);

CREATE TABLE attempt (
    delivery INTEGER NOT NULL REFERENCES delivery (id),
    number INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    status INTEGER,
    error TEXT,
    detail TEXT,
    sealing_key INTEGER NOT NULL,
    answer BLOB NOT NULL,
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE replay (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    created_ms INTEGER NOT NULL,
    search TEXT NOT NULL,
    -- The last delivery or event at the time of the request, and the last one that is done.
    last INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    total INTEGER NOT NULL,
    done INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    is_paused INTEGER NOT NULL,
    is_ended INTEGER NOT NULL
) STRICT;
