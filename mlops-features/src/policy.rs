//! What a request is answered with where no valid row is there.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is served for a key that has no row, or whose row is older than the view's ttl.
///
/// Whatever is served, the [`Status`](crate::Status) says what was there: `NotFound` or `OutsideMaxAge`. A row that is valid
/// is served whole, its nulls included; to put something in the place of a known null is the work of an on-demand view.
/// Offline joins, [training sets](crate::ServingPlan::training_set) and what is logged for audits hold what was known, not what the
/// policy made of it: null where there was no valid row. A model that is served [`Default`](Self::Default) or
/// [`Stale`](Self::Stale) values has seen nulls in their place while it was trained. Where it is to see the same value on both
/// paths, leave the policy at [`Null`](Self::Null) and fill with `coalesce(feature, value)` in an
/// [`OnDemandView`](crate::OnDemandView), which computes over what was known in requests and training rows alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StatusPolicy {
    /// Null.
    #[default]
    Null,
    /// Nothing: the whole request fails and names the view.
    Fail,
    /// The [`default`](crate::Feature#structfield.default) of each feature, null for those that have none. In requests only.
    Default,
    /// The old value for a row that is too old; null where there is no row.
    Stale,
}

impl fmt::Display for StatusPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Fail => "fail",
            Self::Default => "default",
            Self::Stale => "stale",
        })
    }
}
