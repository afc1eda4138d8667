//! Entries in a catalog of a folder and in one of SQLite, from two threads at once.

use std::collections::BTreeSet;
use std::path::Path;

use mlops_core::catalog::{Catalog, Entry, FileCatalog, Revision, SqliteCatalog};
use mlops_core::{Error, EventTime, Name};

use super::{Asked, Store, Surface};
use crate::Result;
use crate::rows;
use crate::token::Token;

/// `mlops_core::catalog::{FileCatalog, SqliteCatalog}`.
#[derive(Debug)]
pub struct Catalogs;

impl Surface for Catalogs {
    fn name(&self) -> &'static str {
        "catalog"
    }

    fn writers(&self) -> u32 {
        2
    }

    fn open(&self, dir: &Path) -> Result<Box<dyn Store>> {
        let folder = FileCatalog::open(dir.join("folder"))?;
        let sqlite = SqliteCatalog::open(dir.join("catalog.db"))?;
        Ok(Box::new(Open([Box::new(folder), Box::new(sqlite)])))
    }
}

struct Open([Box<dyn Catalog>; 2]);

/// Names are those of tokens, behind a letter.
fn name(token: Token) -> Result<Name> {
    Ok(Name::new(format!("t{token}"))?)
}

/// What a write puts: an entry, and then a correction of it.
fn entries(token: Token) -> Result<[Entry; 2]> {
    let at = EventTime::from_secs(token.number as i64);
    let first = Entry::of(name(token)?, "torture", &rows::dataset(token)?, at)?;
    let second = first.clone().with_description(format!("{:x}", token.random(1)));
    Ok([first, second])
}

impl Store for Open {
    fn write(&self, token: Token) -> Result<()> {
        let [first, second] = entries(token)?;
        for catalog in &self.0 {
            let revision = catalog.put(&first, Revision(0))?;
            catalog.put(&second, revision)?;
        }
        Ok(())
    }

    fn present(&self, asked: &Asked) -> Result<BTreeSet<Token>> {
        let mut present = asked.all();
        for catalog in &self.0 {
            for found in catalog.list()? {
                let token = found.as_str().strip_prefix('t').ok_or_else(|| format!("`{found}` is of nobody"))?;
                asked.ensure(token.parse()?)?;
            }
            for token in asked.all() {
                let put = entries(token)?;
                let history = match catalog.history(&name(token)?) {
                    Ok(history) => history,
                    Err(Error::NotFound { .. }) => Vec::new(),
                    Err(error) => return Err(format!("{token}: {error}").into()),
                };
                if !put.starts_with(&history) {
                    return Err(format!("{token}: the catalog remembers other entries").into());
                }
                if let Some(last) = history.last()
                    && (catalog.get(&name(token)?)?.0 != *last
                        || catalog.by_digest(&last.digest)?.digest != last.digest)
                {
                    return Err(format!("{token}: the newest entry is not found").into());
                }
                if history.len() < put.len() {
                    present.remove(&token);
                }
            }
        }
        Ok(present)
    }
}
