-- The store's clock as it was last written, and where the machine's own count of elapsed time was then: while the machine
-- has not been booted again, the clock goes on by elapsed time, whatever the wall clock was set to.
ALTER TABLE total ADD COLUMN clock_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE total ADD COLUMN boot_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE total ADD COLUMN boot_id TEXT NOT NULL DEFAULT '';
UPDATE total SET clock_ms = coalesce((SELECT max(high_ms) FROM span), 0);
-- The last event that was committed before the store had its first key, and a seal of that number under each key. Later
-- events are never in clear. Null: a version before this one gave the key its number.
ALTER TABLE sealing_key ADD COLUMN last_clear INTEGER;
ALTER TABLE sealing_key ADD COLUMN last_clear_seal BLOB;
