//! The ranking pipeline behind HTTP, and a client that loads it.
