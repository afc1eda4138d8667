//! From raw events to a ranking service that notices drift and retrains itself.

fn main() {}
