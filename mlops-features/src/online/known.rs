//! What a store remembers of views that other processes change, too.

use std::collections::BTreeMap;

use arc_swap::ArcSwap;
use mlops_core::Name;

use super::registered::Registered;
use super::row::RowBytes;
use crate::view::FeatureView;

/// Views that a store which others change, too, was found to hold. What is here is there, but more may be there.
#[derive(Debug)]
pub(super) struct KnownViews<T>(ArcSwap<BTreeMap<Name, T>>);

impl<T> Default for KnownViews<T> {
    fn default() -> Self {
        Self(ArcSwap::default())
    }
}

impl<T: Clone> KnownViews<T> {
    pub(super) fn get(&self, view: &Name) -> Option<T> {
        self.0.load().get(view).cloned()
    }

    pub(super) fn learn(&self, view: &Name, found: &T) {
        self.change(|known| drop(known.insert(view.clone(), found.clone())));
    }

    #[cfg(any(feature = "redis", feature = "postgres"))]
    pub(super) fn forget(&self, view: &Name) {
        self.change(|known| drop(known.remove(view)));
    }

    fn change(&self, change: impl Fn(&mut BTreeMap<Name, T>)) {
        self.0.rcu(|known| {
            let mut known = BTreeMap::clone(known);
            change(&mut known);
            known
        });
    }
}

/// Whether the schema of the row `bytes` of `view` is known; one that another process wrote lately may not be.
pub(super) fn knows(registered: Option<&Registered>, view: &FeatureView, bytes: &[u8]) -> bool {
    RowBytes::parse(bytes).is_none_or(|row| {
        row.schema_id == view.layout().schema_id()
            || registered.is_some_and(|registered| registered.has_schema(row.schema_id))
    })
}
