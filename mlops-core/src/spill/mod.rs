//! Rows that wait on disk, in files without a name: gone with the process, whatever becomes of that.
//!
//! Entry point: [`Spool`], which takes batches by partition and gives them back as often as wanted.

mod shelf;
mod spool;

pub(crate) use self::shelf::{Closed, Shelf, Shelved};
pub use self::spool::{Spool, Spooled, SpooledBatches, SpooledRows};
