-- The store's clock when it was last written, with the machine's count of elapsed time at that moment. Until the
-- machine boots again, the clock continues by elapsed time, however the wall clock is set.
ALTER TABLE total ADD COLUMN clock_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE total ADD COLUMN boot_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE total ADD COLUMN boot_id TEXT NOT NULL DEFAULT '';
UPDATE total SET clock_ms = coalesce((SELECT max(high_ms) FROM span), 0);
-- The last event that was committed before the store had its first key, and a proof of that number under each key.
-- Later events are never stored in clear. Null: an earlier version numbered the key.
ALTER TABLE sealing_key ADD COLUMN last_clear INTEGER;
ALTER TABLE sealing_key ADD COLUMN last_clear_seal BLOB;
