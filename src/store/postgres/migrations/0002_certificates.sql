-- Schema version 2: certificates that nodes get from a CA together. Version 1 ignores these tables.

-- Numbers changes, so that nodes read the items again only then.
CREATE SEQUENCE certificate_change;

-- Accounts, certificates, orders, states and pending challenges, as documents that only their kind understands.
CREATE TABLE certificate_item (
    kind text NOT NULL,
    name text NOT NULL,
    content bytea NOT NULL,
    -- Number of the key that encrypts the content; 0 if it is in clear.
    sealing_key bigint NOT NULL,
    changed bigint NOT NULL,
    PRIMARY KEY (kind, name)
);

-- The one node that orders certificates, until its time is over. Any node may take over then.
CREATE TABLE certificate_lease (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    node text NOT NULL,
    until_ms bigint NOT NULL
);
