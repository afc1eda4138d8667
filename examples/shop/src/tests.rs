//! The promises of the crate's documentation, on small worlds.

mod rankers;
mod rows;
