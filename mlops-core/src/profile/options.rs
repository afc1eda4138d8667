//! Settings of a profile.

use std::collections::BTreeSet;

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
}

impl Default for ProfileOptions {
    /// Nothing hidden, quantile size 1024, 512 top values.
    fn default() -> Self {
        Self { hidden: BTreeSet::new(), quantile_size: 1024, top_values: 512 }
    }
}

impl ProfileOptions {
    /// Starts from the defaults.
    pub fn builder() -> ProfileOptionsBuilder {
        ProfileOptionsBuilder { options: Self::default() }
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

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the quantile size is below 8 or the number of top values is not a power of two in `8..=65536`.
    pub fn build(self) -> Result<ProfileOptions> {
        let ProfileOptions { quantile_size, top_values, .. } = self.options;
        if quantile_size < 8 {
            return Err(Error::invalid("quantile size", quantile_size, "in 8..=65535"));
        }
        if !top_values.is_power_of_two() || !(8..=65_536).contains(&top_values) {
            return Err(Error::invalid("top values", top_values, "a power of two in 8..=65536"));
        }
        Ok(self.options)
    }
}
