//! Rows in the online stores on disk, from several threads at once, with corrections before and after what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use mlops_core::arrow::array::{ArrayRef, Int64Array};
use mlops_features::online::{OnlineRead, OnlineRows, RedbStore, SqliteStore};
use mlops_features::{FeatureView, Keys};

use super::{Asked, Store, Surface};
use crate::Result;
use crate::rows::{self, Columns, Row, SHARED_KEYS};
use crate::token::Token;

/// `mlops_features::online::RedbStore` and `SqliteStore`.
#[derive(Debug)]
pub enum Online {
    /// In redb.
    Redb,
    /// In SQLite.
    Sqlite,
}

impl Surface for Online {
    fn name(&self) -> &'static str {
        match self {
            Self::Redb => "online",
            Self::Sqlite => "online-sqlite",
        }
    }

    fn writers(&self) -> u32 {
        3
    }

    fn open(&self, dir: &Path) -> Result<Box<dyn Store>> {
        let file = match self {
            Self::Redb => File::Redb(RedbStore::open(dir.join("online.redb"))?),
            Self::Sqlite => File::Sqlite(SqliteStore::open(dir.join("online.db"))?),
        };
        Ok(Box::new(Open { file, view: rows::view()? }))
    }
}

enum File {
    Redb(RedbStore),
    Sqlite(SqliteStore),
}

struct Open {
    file: File,
    view: FeatureView,
}

impl Open {
    fn rows(&self, wanted: Vec<i64>) -> Result<BTreeMap<i64, Row>> {
        read(
            |reads| match &self.file {
                File::Redb(store) => store.read_sync(reads),
                File::Sqlite(store) => store.read_sync(reads),
            },
            &self.view,
            wanted,
        )
    }
}

impl Store for Open {
    fn write(&self, token: Token) -> Result<()> {
        let rows = rows::batch(&Row::all(token))?;
        match &self.file {
            File::Redb(store) => store.write_sync(&self.view, &rows, None)?,
            File::Sqlite(store) => store.write_sync(&self.view, &rows, None)?,
        };
        Ok(())
    }

    fn present(&self, asked: &Asked) -> Result<BTreeSet<Token>> {
        let own = self.rows(asked.all().into_iter().map(rows::own_key).collect())?;
        let present: BTreeSet<Token> = own.values().map(|row| row.token).collect();
        let shared = self.rows((0..SHARED_KEYS).collect())?;
        if let Some(torn) = shared.values().find(|row| !present.contains(&row.token)) {
            asked.ensure(torn.token)?;
            return Err(format!("{} is torn: a row of it is there, its first is not", torn.token).into());
        }
        for row in present.iter().flat_map(|token| Row::all(*token)).filter(|row| row.position > 0) {
            let stored = shared.get(&row.key).map(Row::stamp);
            if stored.is_none_or(|stored| stored < row.stamp()) {
                return Err(format!("{} lost its row of key {} to an older one", row.token, row.key).into());
            }
        }
        Ok(present)
    }
}

/// The rows of some keys, which `read` finds.
///
/// # Errors
/// When the store says so, or a row is not what its token says.
pub(super) fn read(
    read: impl FnOnce(&[OnlineRead<'_>]) -> mlops_features::Result<Vec<OnlineRows>>,
    view: &FeatureView,
    wanted: Vec<i64>,
) -> Result<BTreeMap<i64, Row>> {
    let keys = Keys::new(view.entity(), &[Arc::new(Int64Array::from(wanted.clone())) as ArrayRef])?;
    let features: Vec<usize> = (0..view.features().len()).collect();
    let found = read(&[OnlineRead { view, features: &features, keys: &keys }])?;
    let found = found.first().ok_or("an answer is missing")?;
    let columns = Columns { event_time: &found.event_time, created: &found.created, features: &found.columns };
    let mut rows = BTreeMap::new();
    for (at, key) in wanted.into_iter().enumerate() {
        rows.extend(columns.row(at, key)?.map(|row| (key, row)));
    }
    Ok(rows)
}
