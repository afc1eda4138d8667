//! Command line of the main job.

fn main() {}
