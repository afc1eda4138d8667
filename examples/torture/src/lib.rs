//! Crash tests: write until killed, then prove that nothing acknowledged was lost.
//!
//! [`drive::write`] prints `ACK <token>` each time a library call returned whose outcome it promises to keep; somebody
//! kills the process; [`drive::verify`] recomputes what every acknowledged token wrote and compares. What is written
//! where is a [`Surface`](surface::Surface); one file each in `surface/`.

pub mod ack;
pub mod drive;
pub mod random;
pub mod rows;
pub mod surface;
pub mod token;

/// Result of everything here; whatever went wrong, somebody reads it as a line.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
