//! Host + path -> route.

/// The position of a route in its generation.
pub type RouteIndex = usize;
