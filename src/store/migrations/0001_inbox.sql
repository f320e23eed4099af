-- Form 1 of the inbox.
--
-- What is written in order is cheap however much is stored; what is written at random places is not. At random places
-- stand the claims only, hence their narrow row. All else that is indexed grows at a few edges: one per kind, per lane
-- and state, per destination.

-- Counted along with every group, since counting millions of rows is not cheap. Numbers are never given twice.
CREATE TABLE total (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    events INTEGER NOT NULL,
    claims INTEGER NOT NULL,
    last_event INTEGER NOT NULL,
    last_delivery INTEGER NOT NULL
) STRICT;
INSERT INTO total VALUES (1, 0, 0, 0, 0);

-- The keys that rows are sealed with, by what is derived from them: never the keys themselves.
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

-- Route, provider and type of events, as one number: one index finds events by any of them. Their number is bounded; the
-- types beyond it share the kind `is_rest` of their route and provider and stand in the event.
CREATE TABLE kind (
    id INTEGER PRIMARY KEY,
    route INTEGER NOT NULL REFERENCES route (id),
    provider TEXT NOT NULL,
    event_type TEXT,
    is_rest INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Kind and destination of deliveries, replays apart, as one number.
CREATE TABLE lane (
    id INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL REFERENCES kind (id),
    destination INTEGER NOT NULL REFERENCES destination (id),
    is_replay INTEGER NOT NULL
) STRICT;

-- How many deliveries a lane has in a state.
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
    -- The provider's id.
    event_id TEXT,
    -- What destinations know it by; null where that is the uid as text.
    webhook_id TEXT,
    -- The type, where the kind is the rest.
    event_type TEXT
) STRICT;
-- Times are in the uid, so it grows at its end.
CREATE UNIQUE INDEX event_uid ON event (uid);
CREATE INDEX event_kind ON event (kind);

-- Apart from the events, so that lists read narrow rows. `head` holds what only a delivery needs.
CREATE TABLE content (
    event INTEGER PRIMARY KEY REFERENCES event (id),
    -- 0: in clear.
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

-- Finds events by the texts of their ids: a hash, and the event within its block of 16,384. Random within the newest block
-- only, which stays in the cache; a look has to ask each block.
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
    -- Whether an older one with the same order key is open, or one is in flight.
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
    -- The last delivery, or event, that there was when it was asked for, and the last one that it has seen to.
    last INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    total INTEGER NOT NULL,
    done INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    is_paused INTEGER NOT NULL,
    is_ended INTEGER NOT NULL
) STRICT;
