//! Lists the provider files so that they are compiled in.
fn main() {}
