//! Writes until it is killed, and verifies what it promised.

fn main() {}
