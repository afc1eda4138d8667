//! Features that are computed from others: for one request, for a training table, for stored history, by one definition.
//!
//! An [`OnDemandView`] is data, not code: each of its features is an [expression](mlops_core::expr) over the features of
//! other views, over columns that the caller brings and over the instant of the request. What it gives for a row depends on
//! that row alone, so a table of training rows and a single request cannot differ.

mod derive;
mod input;
mod view;

pub use self::derive::{Derived, DerivedView};
pub use self::input::{Input, InputSource};
pub(crate) use self::view::instants_of;
pub use self::view::{DerivedFeature, OnDemandView, OnDemandViewBuilder};
