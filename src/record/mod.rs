//! What happened, told once: log line, counters, security event.
