-- The node that has the duty of alerts: it judges for all nodes and sends all messages.
CREATE TABLE alert_duty (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    node integer NOT NULL,
    -- Grows whenever the duty goes to another node.
    term bigint NOT NULL,
    until_ms bigint NOT NULL
);

-- What the alerts remember, as rows of JSON by name.
CREATE TABLE alert_row (
    name text PRIMARY KEY,
    body text NOT NULL
);
