//! Sockets -> HTTP requests. Knows nothing of webhooks.
