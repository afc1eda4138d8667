//! Settings of a profile.

use std::collections::BTreeSet;

use super::relations::RELATED_MAX;
use crate::{Error, Result};

/// Sizes of a profile's sketches, and which columns must not show their values.
///
/// # Examples
/// ```
/// use mlops_core::profile::ProfileOptions;
///
/// let options = ProfileOptions::builder().hide("phone").quantile_size(200).build()?;
/// assert!(options.is_hidden("phone"));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileOptions {
    hidden: BTreeSet<String>,
    quantile_size: u16,
    top_values: usize,
    related: usize,
}

impl Default for ProfileOptions {
    /// Nothing hidden, quantile size 1024, 512 top values, no relations: what a window of a service keeps.
    fn default() -> Self {
        Self { hidden: BTreeSet::new(), quantile_size: 1024, top_values: 512, related: 0 }
    }
}

impl ProfileOptions {
    /// Starts from the defaults.
    pub fn builder() -> ProfileOptionsBuilder {
        ProfileOptionsBuilder { options: Self::default() }
    }

    /// The defaults, and relations between the first 64 columns: what a report on a table wants.
    pub fn report() -> Self {
        Self { related: 64, ..Self::default() }
    }

    /// Whether the values of `column` must not be held.
    pub fn is_hidden(&self, column: &str) -> bool {
        self.hidden.contains(column)
    }

    /// Size of the quantile sketch of each column.
    pub fn quantile_size(&self) -> u16 {
        self.quantile_size
    }

    /// Size of the table of frequent texts of each column.
    pub fn top_values(&self) -> usize {
        self.top_values
    }

    /// Columns that are related with each other.
    pub fn related(&self) -> usize {
        self.related
    }
}

/// Builder of [`ProfileOptions`].
#[derive(Debug, Clone)]
pub struct ProfileOptionsBuilder {
    options: ProfileOptions,
}

impl ProfileOptionsBuilder {
    /// Holds no value of `column`: no top values, no extremes, no quantiles, no moments. What stays is the numbers
    /// of rows, nulls, NaN and different values, and the lengths of texts. Default: all columns are shown.
    pub fn hide(mut self, column: impl Into<String>) -> Self {
        self.options.hidden.insert(column.into());
        self
    }

    /// Size of the quantile sketch; the rank error is 1.3 % at 200 and 0.27 % at 1024, and a column takes at most
    /// 24 bytes times the size. Default 1024.
    pub fn quantile_size(mut self, k: u16) -> Self {
        self.options.quantile_size = k;
        self
    }

    /// Size of the table of frequent texts: up to three quarters of it are counted exactly, beyond counts are off
    /// by at most `3.5 / size` of the rows. Default 512.
    pub fn top_values(mut self, size: usize) -> Self {
        self.options.top_values = size;
        self
    }

    /// Relates the first `most` columns that can be shown with each other, and counts rows that are copies: see
    /// [`Relations`](super::Relations). Costs about 0.1 µs for each row and ten columns, and up to 8 KiB for each
    /// column. Default 0: no relations.
    pub fn related(mut self, most: usize) -> Self {
        self.options.related = most;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the quantile size is below 8, the number of top values is not a power of two in
    /// `8..=65536`, or more than 512 columns are to be related.
    pub fn build(self) -> Result<ProfileOptions> {
        let ProfileOptions { quantile_size, top_values, related, .. } = self.options;
        if related > RELATED_MAX {
            return Err(Error::invalid("related columns", related, "in 0..=512"));
        }
        if quantile_size < 8 {
            return Err(Error::invalid("quantile size", quantile_size, "in 8..=65535"));
        }
        if !top_values.is_power_of_two() || !(8..=65_536).contains(&top_values) {
            return Err(Error::invalid("top values", top_values, "a power of two in 8..=65536"));
        }
        Ok(self.options)
    }
}
