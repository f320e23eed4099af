-- Schema version 1 of the inbox that several nodes share.
--
-- Deliveries that are open live in one small table, and move to another one when they end: what workers and operators
-- touch all the time stays small, however much is stored. No row is written by every transaction, or all nodes would
-- wait for each other.

-- One sequence numbers events and deliveries. Numbers are drawn before a transaction and kept when it is repeated, so
-- they follow the order of commits only roughly.
CREATE SEQUENCE number;
-- Numbers of takes: those in flight of one destination form the end of an index.
CREATE SEQUENCE turn;

-- Counter that each change of a name or a pause raises, so that nodes read the names again only then.
CREATE TABLE name_version (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version bigint NOT NULL
);
INSERT INTO name_version VALUES (true, 1);

-- Identifies the keys that encrypt rows by a value derived from them, never by the keys themselves.
CREATE TABLE sealing_key (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    print bytea NOT NULL UNIQUE,
    last_clear bigint,
    last_clear_seal bytea
);

-- A process that uses the store. Its number is new with each start, so that nothing of an earlier process is mistaken
-- for its own.
CREATE TABLE node (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    version text NOT NULL,
    form integer NOT NULL,
    started_ms bigint NOT NULL,
    -- Raised by the node again and again. Others watch by their own clocks whether it changes.
    beat bigint NOT NULL DEFAULT 0,
    report text NOT NULL DEFAULT '{}',
    ended_ms bigint,
    -- True if the process is known to be gone, so that none of its attempts can still run.
    is_gone boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

CREATE TABLE route (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL UNIQUE,
    is_paused boolean NOT NULL DEFAULT false
);

CREATE TABLE destination (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    route bigint NOT NULL REFERENCES route (id),
    name text NOT NULL,
    is_paused boolean NOT NULL DEFAULT false,
    disabled text,
    -- Attempts that may begin now under the rate, as of `filled_ms`.
    tokens double precision,
    filled_ms bigint,
    -- While the breaker is open: no node takes anything before this time, and then one node takes one delivery.
    open_until_ms bigint,
    UNIQUE (route, name)
) WITH (fillfactor = 50);

-- Route, provider and type of events as one number. The number of kinds is bounded. Types beyond the bound share the
-- kind `is_rest` of their route and provider, and the event stores the type.
CREATE TABLE kind (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    route bigint NOT NULL REFERENCES route (id),
    provider text NOT NULL,
    event_type text,
    is_rest boolean NOT NULL DEFAULT false,
    UNIQUE NULLS NOT DISTINCT (route, provider, event_type, is_rest)
);

-- Kind and destination of deliveries as one number, with replays apart.
CREATE TABLE lane (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    kind bigint NOT NULL REFERENCES kind (id),
    destination bigint NOT NULL REFERENCES destination (id),
    is_replay boolean NOT NULL,
    UNIQUE (kind, destination, is_replay)
);

-- Number of deliveries by lane and state, and with lane 0 the number of events (state 0) and of claims (state 1).
-- Transactions append their changes to `tally_change`, which a duty adds to `tally` now and then.
CREATE TABLE tally (
    lane bigint NOT NULL,
    state smallint NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (lane, state)
) WITH (fillfactor = 50);
CREATE TABLE tally_change (
    lane bigint NOT NULL,
    state smallint NOT NULL,
    change bigint NOT NULL
);

CREATE TABLE event (
    id bigint PRIMARY KEY,
    uid bytea NOT NULL UNIQUE,
    kind bigint NOT NULL,
    received_ms bigint NOT NULL,
    body_size bigint NOT NULL,
    -- The event id that the provider assigned.
    event_id text,
    -- The id that destinations see; null if it is the uid as text.
    webhook_id text,
    -- The type, if the kind is `is_rest`.
    event_type text
);
CREATE INDEX event_kind ON event (kind, id);
-- The lowest and highest number of each hour bound a search by time. Numbers follow time only roughly.
CREATE INDEX event_hour ON event ((received_ms / 3600000), id);
CREATE INDEX event_event_id ON event (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX event_webhook_id ON event (webhook_id) WHERE webhook_id IS NOT NULL;

-- Separate from the events, so that lists read narrow rows.
CREATE TABLE content (
    event bigint PRIMARY KEY,
    -- 0 means stored in clear.
    sealing_key bigint NOT NULL,
    head bytea NOT NULL,
    body bytea
);
-- Bodies are sealed or small: compressing them again costs more than it saves.
ALTER TABLE content ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE claim (
    route bigint NOT NULL,
    key bytea NOT NULL,
    expires_ms bigint NOT NULL,
    -- The status that the first sender got; null while a proxy route still waits for its app.
    status smallint,
    -- The event that made the claim; null for proxy routes.
    event bigint,
    -- The node whose request holds the claim while `status` is null.
    node integer,
    PRIMARY KEY (route, key)
) WITH (fillfactor = 90);

CREATE TABLE open_delivery (
    id bigint PRIMARY KEY,
    event bigint NOT NULL,
    lane bigint NOT NULL,
    destination bigint NOT NULL,
    state smallint NOT NULL CHECK (state BETWEEN 0 AND 2),
    -- Whether an older delivery with the same order key is open, or one is in flight.
    is_behind boolean NOT NULL,
    priority smallint NOT NULL,
    -- In flight: when the attempt began.
    due_ms bigint NOT NULL,
    order_key bigint,
    attempts integer NOT NULL,
    round integer NOT NULL,
    round_began_ms bigint NOT NULL,
    created_ms bigint NOT NULL,
    last_status smallint,
    last_error text,
    -- Bytes of the content, by which a take bounds what it reads.
    size bigint NOT NULL,
    -- In flight: the node that attempts it, the number of its take, and until when the attempt may run.
    node integer,
    turn bigint,
    until_ms bigint,
    -- How often a node ended in the middle of an attempt.
    interruptions smallint NOT NULL DEFAULT 0,
    CHECK ((state = 1) = (node IS NOT NULL))
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX open_delivery_due ON open_delivery (destination, priority, due_ms, id)
    WHERE node IS NULL AND NOT is_behind;
CREATE INDEX open_delivery_turn ON open_delivery (destination, turn) WHERE node IS NOT NULL;
CREATE INDEX open_delivery_order ON open_delivery (destination, order_key, is_behind, id)
    WHERE order_key IS NOT NULL;
CREATE INDEX open_delivery_event ON open_delivery (event);
CREATE INDEX open_delivery_lane ON open_delivery (lane, id);

CREATE TABLE delivery (
    id bigint PRIMARY KEY,
    event bigint NOT NULL,
    lane bigint NOT NULL,
    destination bigint NOT NULL,
    state smallint NOT NULL CHECK (state BETWEEN 3 AND 5),
    priority smallint NOT NULL,
    order_key bigint,
    attempts integer NOT NULL,
    created_ms bigint NOT NULL,
    ended_ms bigint NOT NULL,
    last_status smallint,
    last_error text
);
CREATE INDEX delivery_event ON delivery (event);
CREATE INDEX delivery_lane ON delivery (lane, id);
-- Dead letters and cancelled deliveries are few and looked at most.
CREATE INDEX delivery_undelivered ON delivery (lane, state, id) WHERE state <> 3;

CREATE VIEW any_delivery AS
    SELECT id, event, lane, destination, state, priority, order_key, attempts, created_ms, due_ms,
        NULL::bigint AS ended_ms, last_status, last_error FROM open_delivery
    UNION ALL
    SELECT id, event, lane, destination, state, priority, order_key, attempts, created_ms, NULL::bigint,
        ended_ms, last_status, last_error FROM delivery;

CREATE TABLE attempt (
    delivery bigint NOT NULL,
    number integer NOT NULL,
    node integer,
    started_ms bigint NOT NULL,
    duration_ms bigint NOT NULL,
    status smallint,
    error text,
    detail text,
    sealing_key bigint NOT NULL,
    answer bytea NOT NULL,
    PRIMARY KEY (delivery, number)
);

CREATE TABLE replay (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    created_ms bigint NOT NULL,
    search text NOT NULL,
    -- The last delivery or event at the time of the request, and the last one that is done.
    last bigint NOT NULL,
    position bigint NOT NULL,
    total bigint NOT NULL,
    done bigint NOT NULL,
    skipped bigint NOT NULL,
    is_paused boolean NOT NULL,
    is_ended boolean NOT NULL
);

-- Operator actions in their order, bounded by number and age.
CREATE TABLE audit (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    node text NOT NULL,
    at_ms bigint NOT NULL,
    who text NOT NULL,
    role text NOT NULL,
    source text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    detail text,
    status smallint NOT NULL
);
