//! The page that a scraper reads.

use std::collections::BTreeMap;

use super::{Family, Labels};
use crate::{Error, Result};

/// What the answer to a scraper says it is. Prometheus from 3.0 on refuses a page without it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Families that one page may have.
pub const FAMILIES_MAX: usize = 1_000;

/// Families in the order of their names, each once.
///
/// # Examples
/// ```
/// use mlops_monitor::export::openmetrics::{Exposition, Labels};
/// use mlops_monitor::window::Traffic;
///
/// let mut page = Exposition::new();
/// page.traffic(&Labels::new([("model", "offers")])?, &Traffic { requests: 12, ..Traffic::default() })?;
/// let text = page.to_text();
/// assert!(text.contains("mlops_requests_total{model=\"offers\",outcome=\"answered\"} 12\n"));
/// assert!(text.ends_with("# EOF\n"));
/// # Ok::<(), mlops_monitor::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition {
    families: BTreeMap<String, Family>,
}

impl Exposition {
    /// An empty page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a family, or the series of one that is there already.
    ///
    /// # Errors
    /// [`Error::Exposition`] when the family that is there has another type, unit or help, or the same series, and when there
    /// are [`FAMILIES_MAX`] families; nothing is added then.
    pub fn add(&mut self, family: Family) -> Result<()> {
        if let Some(known) = self.families.get_mut(family.name()) {
            return known.merge(family);
        }
        if self.families.len() >= FAMILIES_MAX {
            return Err(Error::exposition(family.name(), "a page has at most 1000 families"));
        }
        self.families.insert(family.name().to_owned(), family);
        Ok(())
    }

    /// The families, by name.
    pub fn families(&self) -> impl Iterator<Item = &Family> {
        self.families.values()
    }

    /// The page as text, to be served as [`CONTENT_TYPE`]. Equal pages give equal texts; families without series are left
    /// out.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let left_out = self.left_out();
        let mut families: BTreeMap<&str, &Family> =
            self.families.values().filter(|family| !family.is_empty()).map(|family| (family.name(), family)).collect();
        families.extend(left_out.as_ref().map(|family| (family.name(), family)));
        for family in families.into_values() {
            // Writing to a string cannot fail.
            let _ = family.write(&mut text);
        }
        text.push_str("# EOF\n");
        text
    }

    /// Families that were too large, where there are any.
    fn left_out(&self) -> Option<Family> {
        let help = "Series beyond the bound of their family.";
        let mut told = Family::gauge("mlops_export_series_left_out", help).ok()?;
        for family in self.families.values().filter(|family| family.left_out() > 0) {
            let labels = Labels::none().with("family", family.name()).ok()?;
            told.set(&labels, family.left_out()).ok()?;
        }
        (!told.is_empty()).then_some(told)
    }
}
