//! The main job of the family, as a library so that its tests can run parts of it.
//!
//! Raw events become a ranking service, and the service is kept honest: [`journey::run`] takes a [`world::World`] through
//! [`intake`] and its [`flow`]s (mask, clean, validate, catalogue), [`features`] (history, point-in-time joins, online store), [`learn`] (train,
//! register, promote), [`service`] and [`http`] (serve), [`replay`] (a day of requests as a client), [`watch`] (log, label, detect)
//! and back to [`learn`]. [`report`] tells the story.

pub mod bias;
pub mod derive;
pub mod explore;
pub mod features;
pub mod flow;
pub mod history;
pub mod http;
pub mod intake;
pub mod journey;
pub mod judge;
pub mod learn;
pub mod lineage;
pub mod options;
pub mod progress;
pub mod replay;
pub mod report;
pub mod service;
pub mod watch;
pub mod world;

/// Whatever stopped the program, to be shown to a person.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Result of everything here: a program has one reader of errors, the person at the terminal.
pub type Result<T, E = Failure> = std::result::Result<T, E>;
