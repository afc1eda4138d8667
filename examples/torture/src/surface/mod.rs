//! What is written where: one file per promise of the libraries.

mod artifact;
mod catalog;
mod compaction;
mod definitions;
mod materialize;
mod offline;
mod online;
mod pipeline;
mod push;
mod registry;
mod sink;
mod stream;

pub use artifact::Artifacts;
pub use catalog::Catalogs;
pub use compaction::Compaction;
pub use definitions::Defined;
pub use materialize::Materialize;
pub use offline::Offline;
pub use online::Online;
pub use pipeline::Jobs;
pub use push::Pushes;
pub use registry::Versions;
pub use sink::Sinks;
pub use stream::Streams;

use std::collections::BTreeSet;
use std::path::Path;

use crate::Result;
use crate::token::Token;

/// One durable part of the libraries.
pub trait Surface: Sync {
    /// Its name on the command line, which is also that of its folder.
    fn name(&self) -> &'static str;

    /// How many threads write at once.
    fn writers(&self) -> u32;

    /// Opens what is in `dir`, which exists, and goes on with what was cut off there.
    ///
    /// # Errors
    /// Whatever the library says.
    fn open(&self, dir: &Path) -> Result<Box<dyn Store>>;
}

/// An open surface.
pub trait Store: Send + Sync {
    /// Does the write that is called `token`. Once this returned, the library has promised to keep all of it.
    ///
    /// # Errors
    /// Whatever the library says.
    fn write(&self, token: Token) -> Result<()>;

    /// Which tokens are there, whole.
    ///
    /// # Errors
    /// When anything is torn, differs from what its token says, or is of a token that nobody can have written.
    fn present(&self, asked: &Asked) -> Result<BTreeSet<Token>>;
}

/// What may be there.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Writes that returned: they must be there.
    pub acked: BTreeSet<Token>,
    /// The write of each thread that a kill may have cut off: there as a whole, or not at all.
    pub in_flight: BTreeSet<Token>,
}

impl Asked {
    /// All of them, in order.
    pub fn all(&self) -> BTreeSet<Token> {
        self.acked.union(&self.in_flight).copied().collect()
    }

    /// Checks that somebody may have written `token`.
    ///
    /// # Errors
    /// When nobody can have.
    pub fn ensure(&self, token: Token) -> Result<()> {
        if self.acked.contains(&token) || self.in_flight.contains(&token) {
            return Ok(());
        }
        Err(format!("something of {token} is there, which was not even begun").into())
    }
}

/// Every surface.
pub fn all() -> Vec<Box<dyn Surface>> {
    vec![
        Box::new(Online::Redb),
        Box::new(Online::Sqlite),
        Box::new(Materialize),
        Box::new(Pushes),
        Box::new(Streams),
        Box::new(Offline),
        Box::new(Compaction),
        Box::new(Versions),
        Box::new(Artifacts),
        Box::new(Catalogs),
        Box::new(Defined),
        Box::new(Jobs),
        Box::new(Sinks),
    ]
}
