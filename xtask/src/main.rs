//! Tasks of those who build Headwaters.
fn main() {}
