//! Our side of every comparison in examples/compare.

fn main() {}
