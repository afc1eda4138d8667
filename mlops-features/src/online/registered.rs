//! What a store knows of a view: its key, and every list of features that rows were written with.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::row::{ColumnsBuilder, Filling, RowBytes, RowLayout, StoredFields};
use super::{OnlineRead, OnlineRows};
use crate::entity::KeyField;
use crate::error::{Core, Error, Result};
use crate::view::FeatureView;

#[derive(Clone, Debug)]
pub(super) struct Registered {
    /// Number of the view in its store.
    pub(super) id: u32,
    keys: Vec<KeyField>,
    layouts: BTreeMap<u32, Arc<RowLayout>>,
}

/// As written down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    id: u32,
    keys: Vec<KeyField>,
    schemas: Vec<StoredFields>,
}

impl Registered {
    pub(super) fn new(id: u32, view: &FeatureView) -> Self {
        let layout = view.layout().clone();
        Self { id, keys: view.entity().keys().to_vec(), layouts: [(layout.schema_id(), layout)].into() }
    }

    /// Checks that rows of `view` can stand beside those that are stored; `Some` when its features are a new list.
    pub(super) fn admit(&self, view: &FeatureView) -> Result<Option<Self>> {
        self.ensure_keys(view)?;
        let layout = view.layout();
        match self.layouts.get(&layout.schema_id()) {
            Some(known) if known.fields() == layout.fields() => return Ok(None),
            Some(known) => {
                return Err(Error::Changed {
                    view: view.name().to_string(),
                    what: format!("schema {:08x}", layout.schema_id()),
                    stored: format!("{} features", known.fields().len()),
                    declared: format!("{} features", layout.fields().len()),
                });
            }
            None => {}
        }
        for known in self.layouts.values() {
            known.positions(view.name().as_str(), layout)?;
        }
        let mut next = self.clone();
        next.layouts.insert(layout.schema_id(), layout.clone());
        Ok(Some(next))
    }

    /// Whether rows were written under this list of features.
    #[cfg(any(feature = "sqlite", feature = "redis", feature = "postgres"))]
    pub(super) fn has_schema(&self, id: u32) -> bool {
        self.layouts.contains_key(&id)
    }

    pub(super) fn ensure_keys(&self, view: &FeatureView) -> Result<()> {
        let declared = view.entity().keys();
        if self.keys == declared {
            return Ok(());
        }
        let shown = |keys: &[KeyField]| {
            keys.iter().map(|key| format!("{} {}", key.name, key.key_type)).collect::<Vec<_>>().join(", ")
        };
        Err(Error::Changed {
            view: view.name().to_string(),
            what: "key".to_owned(),
            stored: shown(&self.keys),
            declared: shown(declared),
        })
    }

    #[cfg_attr(
        not(any(feature = "redb", feature = "sqlite", feature = "redis", feature = "postgres")),
        expect(dead_code, reason = "only stores that outlive the process write it down")
    )]
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let schemas = self.layouts.values().map(|layout| layout.stored()).collect();
        let form = Form { id: self.id, keys: self.keys.clone(), schemas };
        Ok(serde_json::to_vec(&form).map_err(|e| Core::invalid_data("view to store", e))?)
    }

    #[cfg_attr(
        not(any(feature = "redb", feature = "sqlite", feature = "redis", feature = "postgres")),
        expect(dead_code, reason = "only stores that outlive the process write it down")
    )]
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let form: Form = serde_json::from_slice(bytes).map_err(|e| Core::corrupt("stored view", e))?;
        let layouts = form.schemas.into_iter().map(|fields| {
            let layout = RowLayout::new(fields.0);
            (layout.schema_id(), Arc::new(layout))
        });
        Ok(Self { id: form.id, keys: form.keys, layouts: layouts.collect() })
    }
}

/// Puts stored rows into the columns of the reads of one call.
pub(super) struct Reader<'a> {
    reads: &'a [OnlineRead<'a>],
    builder: ColumnsBuilder,
}

/// Puts stored rows into the columns of one read.
pub(super) struct ViewReader<'r> {
    read: &'r OnlineRead<'r>,
    registered: Option<&'r Registered>,
    filling: Filling<'r>,
    /// The layout that an older row was met with last, and where the view's features are in it.
    older: Option<(Arc<RowLayout>, Vec<Option<usize>>)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(reads: &'a [OnlineRead<'a>]) -> Result<Self> {
        for read in reads {
            let features = read.view.features().len();
            if let Some(beyond) = read.features.iter().find(|index| **index >= features) {
                return Err(Core::invalid("feature index", beyond, "below the number of features of the view").into());
            }
        }
        let each = reads.iter().map(|read| (&**read.view.layout(), read.features, read.keys.len()));
        Ok(Self { reads, builder: ColumnsBuilder::new(each) })
    }

    /// For the rows of the read at `position`, of which the store knows `registered`.
    pub(super) fn view<'r>(
        &'r mut self,
        position: usize,
        registered: Option<&'r Registered>,
    ) -> Result<ViewReader<'r>> {
        let read = &self.reads[position];
        if let Some(registered) = registered {
            registered.ensure_keys(read.view)?;
        }
        Ok(ViewReader { read, registered, filling: self.builder.fill(position), older: None })
    }

    /// One answer per read.
    pub(super) fn finish(self) -> Result<Vec<OnlineRows>> {
        self.builder.finish()
    }
}

#[cfg(feature = "sqlite")]
impl<'r> ViewReader<'r> {
    /// Goes on with what the store says of the view by now.
    pub(super) fn learn(&mut self, registered: &'r Registered) -> Result<()> {
        registered.ensure_keys(self.read.view)?;
        self.registered = Some(registered);
        Ok(())
    }
}

impl ViewReader<'_> {
    pub(super) fn skip(&mut self, position: usize) {
        self.filling.skip(position);
    }

    /// Takes the row `bytes` for the key at `position`.
    pub(super) fn push(&mut self, position: usize, bytes: &[u8]) -> Result<()> {
        let stored = RowBytes::parse(bytes).ok_or_else(|| self.corrupt("no row of a known format"))?;
        let own = self.read.view.layout();
        let pushed = if stored.schema_id == own.schema_id() {
            self.filling.push(position, &stored, own, None)
        } else {
            if self.older.as_ref().is_none_or(|(layout, _)| layout.schema_id() != stored.schema_id) {
                let known = self.registered.and_then(|registered| registered.layouts.get(&stored.schema_id));
                let layout = known.ok_or_else(|| self.corrupt("a schema that was never stored"))?.clone();
                let positions = layout.positions(self.read.view.name().as_str(), own)?;
                self.older = Some((layout, positions));
            }
            let Some((layout, positions)) = &self.older else { return Ok(()) };
            self.filling.push(position, &stored, layout, Some(positions))
        };
        pushed.map_err(|_| self.corrupt("it does not fit its schema"))
    }

    pub(super) fn corrupt(&self, reason: &str) -> Error {
        Core::corrupt(format!("row of view `{}`", self.read.view.name()), reason).into()
    }
}
