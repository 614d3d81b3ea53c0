//! Compiles `shim/` and generates its Rust bindings.

fn main() {}
