//! A deterministic telecom offers shop: the data behind the example programs.
