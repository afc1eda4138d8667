//! The numbers of a data set that its entry carries: a profile, cut down to what people and other catalogs ask for.

use serde::{Deserialize, Serialize};

use super::Column;
use crate::profile::{ColumnProfile, Profile};
use crate::schema::Sensitivity;
use crate::stats::Moments;
use crate::time::EventTime;
use crate::{Digest, Error, Result};

/// Shares of [`ColumnStatistics::quartiles`].
const QUARTILES: [f64; 3] = [0.25, 0.5, 0.75];

/// What a [`Profile`] says of a data set, in some hundred bytes per column.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// Digest of [`Profile::to_bytes`], by which the whole profile is found where the host keeps it.
    pub profile: Digest,
    /// When it was taken.
    pub taken: EventTime,
    /// Rows that it saw.
    pub rows: u64,
    /// One per column, in the order of the profile.
    pub columns: Vec<ColumnStatistics>,
}

/// Numbers of one column. What its kind does not have, what is not finite, and every value of a column that tells about a
/// person or is secret, is `None`. Values of times are microseconds since the epoch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnStatistics {
    /// The column.
    pub name: String,
    /// Nulls.
    pub nulls: u64,
    /// NaN.
    pub nan: u64,
    /// Different values, as estimated.
    pub distinct: Option<u64>,
    /// Smallest value.
    pub min: Option<f64>,
    /// Greatest value.
    pub max: Option<f64>,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Standard deviation, with divisor `n − 1`.
    pub standard_deviation: Option<f64>,
    /// Quartiles, as estimated.
    pub quartiles: Option<[f64; 3]>,
}

impl Statistics {
    /// The numbers of `profile`, which was taken at `taken` of a data set with these `columns`.
    ///
    /// # Errors
    /// [`Error::Schema`] when the profile has other columns.
    pub(super) fn of(profile: &Profile, columns: &[Column], taken: EventTime) -> Result<Self> {
        let found: Vec<&str> = profile.columns().iter().map(ColumnProfile::name).collect();
        if let Some(column) = columns.iter().find(|column| !found.contains(&column.name.as_str())) {
            return Err(Error::schema(&column.name, "a profile of this column", "none"));
        }
        let numbers = |of: &ColumnProfile| {
            let column = columns.iter().find(|column| column.name == of.name());
            let column =
                column.ok_or_else(|| Error::schema(of.name(), "a column of the entry", "a profile of another"))?;
            Ok(ColumnStatistics::of(of, of.is_hidden() || column.sensitivity >= Sensitivity::Personal))
        };
        Ok(Self {
            profile: Digest::of(profile.to_bytes()),
            taken,
            rows: profile.rows(),
            columns: profile.columns().iter().map(numbers).collect::<Result<_>>()?,
        })
    }

    /// The numbers of `column`, where it was profiled.
    pub fn column(&self, column: &str) -> Option<&ColumnStatistics> {
        self.columns.iter().find(|numbers| numbers.name == column)
    }
}

impl ColumnStatistics {
    fn of(column: &ColumnProfile, hidden: bool) -> Self {
        let moments = column.moments().filter(|_| !hidden);
        let quantiles = column.quantiles().filter(|_| !hidden);
        // JSON has no other numbers.
        let number = |of: fn(&Moments) -> Option<f64>| moments.and_then(of).filter(|value| value.is_finite());
        let quartiles = quantiles.and_then(|quantiles| quantiles.quantiles(&QUARTILES).ok().flatten());
        Self {
            name: column.name().to_owned(),
            nulls: column.nulls(),
            nan: column.nan(),
            distinct: column.distinct().map(|estimate| estimate.value),
            min: number(Moments::min),
            max: number(Moments::max),
            mean: number(Moments::mean),
            standard_deviation: number(|moments| moments.standard_deviation(1)),
            quartiles: quartiles
                .and_then(|three| <[f64; 3]>::try_from(three).ok())
                .filter(|three| three.iter().all(|value| value.is_finite())),
        }
    }
}
