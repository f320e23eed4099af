-- Takes due deliveries of a destination under the limits of all nodes together, in one flight: each other node waits for
-- the row of the destination as long as the transaction of a take lasts.
--
-- Returns the deliveries in the order of the take, and behind them a row without a delivery that says why there are not
-- more: `hold` is 1 if all permits are in use, 2 if the rate is used up until `hold_until_ms`, and 3 if the breaker is open
-- until then. Returns nothing for a destination that is paused, disabled or gone.
CREATE FUNCTION take_due(
    of_destination bigint,
    most bigint,
    -- Attempts that may run at once on all nodes.
    at_once bigint,
    as_of_ms bigint,
    now_ms bigint,
    by_node integer,
    -- Until when an attempt that begins now may run.
    attempt_until_ms bigint,
    most_bytes bigint,
    -- The rate, or null without one.
    tokens_per_ms double precision,
    most_tokens double precision
) RETURNS TABLE (
    id bigint,
    event bigint,
    attempts integer,
    round integer,
    round_began_ms bigint,
    lane bigint,
    order_key bigint,
    hold smallint,
    hold_until_ms bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    found_destination record;
    moved record;
    of_priority smallint;
    free bigint;
    allowed bigint := most;
    tokens double precision;
    probe_until_ms bigint;
    reason smallint;
    reason_until_ms bigint;
    taken bigint := 0;
    bytes bigint := 0;
BEGIN
    SELECT d.is_paused OR r.is_paused OR d.disabled IS NOT NULL AS is_held, d.tokens, d.filled_ms, d.open_until_ms
        INTO found_destination
        FROM destination d JOIN route r ON r.id = d.route WHERE d.id = of_destination FOR UPDATE OF d;
    IF NOT FOUND OR found_destination.is_held THEN
        RETURN;
    END IF;
    -- A statement sees the rows as of its own begin, so the count is a statement after the lock: it sees what earlier
    -- holders of the lock took. The partial index `open_delivery_turn` has only rows in flight. A reload may have lowered
    -- the limit below their number.
    SELECT greatest(at_once - count(*), 0) INTO free
        FROM open_delivery o WHERE o.destination = of_destination AND o.node IS NOT NULL;
    IF free < allowed THEN
        allowed := free;
        reason := 1;
    END IF;
    IF now_ms < found_destination.open_until_ms THEN
        allowed := 0;
        reason := 3;
        reason_until_ms := found_destination.open_until_ms;
    ELSE
        IF found_destination.open_until_ms IS NOT NULL THEN
            -- The pause is over: one delivery on one node shows whether the destination is back. The other nodes wait until
            -- the probe must have ended. If its node dies meanwhile, another probe follows by itself.
            allowed := least(allowed, 1);
            probe_until_ms := attempt_until_ms;
            reason := 3;
            reason_until_ms := attempt_until_ms;
        END IF;
        IF tokens_per_ms IS NOT NULL THEN
            -- The database's clock may step back, which must not take tokens away.
            tokens := least(most_tokens, coalesce(found_destination.tokens
                + greatest(now_ms - found_destination.filled_ms, 0) * tokens_per_ms, most_tokens));
            IF floor(greatest(tokens, 0)) < allowed THEN
                allowed := floor(greatest(tokens, 0));
                reason := 2;
                reason_until_ms := now_ms + greatest(ceil((allowed + 1 - tokens) / tokens_per_ms), 1)::bigint;
            END IF;
        END IF;
    END IF;
    -- One statement for each priority: within one of them `open_delivery_due` has the rows in the order of the take.
    FOREACH of_priority IN ARRAY '{1,0,-1}'::smallint[] LOOP
        -- The rows have the sizes, so no body is read for this bound. The first delivery fits whatever its size.
        EXIT WHEN taken >= allowed OR bytes > most_bytes;
        -- `MATERIALIZED` keeps the update from running the selection again and taking more than was asked for. A row that
        -- another transaction holds (an operator cancels it just now) is skipped, not waited for.
        FOR moved IN
            WITH due AS MATERIALIZED (
                SELECT o.id, o.state, o.size FROM open_delivery o
                    WHERE o.destination = of_destination AND o.priority = of_priority
                        AND o.node IS NULL AND NOT o.is_behind AND o.due_ms <= as_of_ms
                    ORDER BY o.due_ms, o.id LIMIT allowed - taken FOR UPDATE SKIP LOCKED
            ), chosen AS MATERIALIZED (
                SELECT due.id, due.state, row_number() OVER () AS place,
                    (sum(due.size) OVER (ROWS UNBOUNDED PRECEDING))::bigint - due.size AS before FROM due
            ), turn AS MATERIALIZED (SELECT nextval('turn') AS number
            ), begun AS (
                UPDATE open_delivery o SET state = 1, node = by_node, turn = turn.number, until_ms = attempt_until_ms,
                    attempts = o.attempts + 1, round = o.round + 1, due_ms = as_of_ms
                FROM chosen, turn WHERE o.id = chosen.id AND chosen.before <= most_bytes - bytes
                RETURNING o.id, o.event, o.attempts, o.round, o.round_began_ms, o.lane, o.order_key, o.size,
                    chosen.state AS was, chosen.place
            ), counted AS (
                INSERT INTO tally_change (lane, state, change)
                SELECT begun.lane, begun.was, -count(*) FROM begun GROUP BY begun.lane, begun.was
                UNION ALL SELECT begun.lane, 1, count(*) FROM begun GROUP BY begun.lane
            )
            SELECT * FROM begun ORDER BY begun.place
        LOOP
            taken := taken + 1;
            bytes := bytes + moved.size;
            id := moved.id;
            event := moved.event;
            attempts := moved.attempts;
            round := moved.round;
            round_began_ms := moved.round_began_ms;
            lane := moved.lane;
            order_key := moved.order_key;
            RETURN NEXT;
        END LOOP;
    END LOOP;
    -- Only deliveries that were taken cost tokens or make a probe.
    IF taken > 0 AND (tokens IS NOT NULL OR probe_until_ms IS NOT NULL) THEN
        UPDATE destination d SET
            tokens = coalesce(tokens_left, d.tokens),
            filled_ms = CASE WHEN tokens_left IS NULL THEN d.filled_ms ELSE now_ms END,
            open_until_ms = coalesce(probe_until_ms, d.open_until_ms)
            FROM (SELECT tokens - taken AS tokens_left) AS used WHERE d.id = of_destination;
    END IF;
    -- A limit that left nothing is no reason to ask again soon.
    IF taken >= allowed AND reason IS NOT NULL THEN
        id := NULL;
        hold := reason;
        hold_until_ms := reason_until_ms;
        RETURN NEXT;
    END IF;
END
$$;

-- Begins to commit a group of events: draws its numbers, locks the first one, and inserts the claims, in one flight.
--
-- Returns the numbers in a row of their own, and behind it the claims that were free, with the number of their event. An
-- earlier try of the same group may still be running, whose lock this one waits for: the server releases it after its rows
-- are visible or gone. `events` holds the places of the claims' events among the numbers. The claims are sorted, so that
-- two groups with the same claims wait for each other in the same order. Of one group the first event wins all its claims,
-- so that every transaction decides about one event at least.
CREATE FUNCTION begin_group(
    how_many integer,
    routes bigint[],
    keys bytea[],
    expire_ms bigint[],
    statuses smallint[],
    events bigint[]
) RETURNS TABLE (numbers bigint[], event bigint, key bytea) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    drawn bigint[];
BEGIN
    -- A sequence takes nothing back, so a group that fails leaves gaps only.
    drawn := ARRAY(SELECT nextval('number') FROM generate_series(1, how_many));
    PERFORM pg_advisory_xact_lock(drawn[1]);
    numbers := drawn;
    RETURN NEXT;
    IF cardinality(keys) > 0 THEN
        RETURN QUERY INSERT INTO claim (route, key, expires_ms, status, event)
            SELECT c.route, c.key, c.expires_ms, c.status, drawn[c.place]
            FROM unnest(routes, keys, expire_ms, statuses, events) AS c (route, key, expires_ms, status, place)
            ORDER BY c.route, c.key, c.place
            ON CONFLICT DO NOTHING RETURNING NULL::bigint[], claim.event, claim.key;
    END IF;
END
$$;
