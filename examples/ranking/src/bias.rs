//! How much less is seen further down the page, estimated from pages on which chance moved the candidates about.

use std::collections::BTreeMap;

use mlops_core::Error;

use crate::Result;

/// Greatest exponent that is looked for.
const EXPONENT_MAX: f64 = 3.0;

/// Share of the looks that each place gets, the first place being 1: `(1 + position)^-η`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PositionBias {
    /// The exponent η; 0 where all places are seen alike.
    pub exponent: f64,
}

/// One candidate on one page.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// The candidate.
    pub offer_id: i64,
    /// Its place, from 0.
    pub position: u32,
    /// Whether it was clicked.
    pub clicked: bool,
}

impl PositionBias {
    /// All places are seen alike.
    pub const NONE: Self = Self { exponent: 0.0 };

    /// Looks that a candidate gets at `position`, from 0.
    pub fn looks(self, position: u32) -> f64 {
        (1.0 + f64::from(position)).powf(-self.exponent)
    }

    /// Estimates the exponent by maximum likelihood.
    ///
    /// Clicks on offer `i` at place `k` are taken for Poisson with mean `n_ik · r_i · (1 + k)^-η`, so that an offer is only compared with
    /// itself at other places. With the best `r_i` put in, what is left to maximise over η is
    /// `-Σ_i c_i ln Σ_k n_ik (1 + k)^-η  -  η Σ_k C_k ln(1 + k)`, which is concave; golden-section search finds its top to 1e-6.
    ///
    /// It is right as long as who looks does not depend on the place, which holds for pages that are not personal.
    ///
    /// # Errors
    /// [`Error::InvalidData`] when there is no click on an offer that stood at two places.
    ///
    /// # Source
    /// The examination hypothesis: Richardson, Dominowska, Ragno, *Predicting clicks*, WWW 2007.
    pub fn estimate(rows: impl IntoIterator<Item = Shown>) -> Result<Self> {
        let mut offers: BTreeMap<i64, Tally> = BTreeMap::new();
        let mut clicks_down = 0.0;
        for row in rows {
            let tally = offers.entry(row.offer_id).or_default();
            *tally.shown.entry(row.position).or_default() += 1.0;
            if row.clicked {
                tally.clicks += 1.0;
                clicks_down += f64::from(row.position).ln_1p();
            }
        }
        offers.retain(|_, tally| tally.clicks > 0.0);
        if offers.values().all(|tally| tally.shown.len() < 2) {
            return Err(Error::invalid_data("impressions", "no offer with clicks stood at two places").into());
        }
        let likelihood = |exponent: f64| {
            let looks = |tally: &Tally| {
                tally.shown.iter().map(|(k, n)| n * (1.0 + f64::from(*k)).powf(-exponent)).sum::<f64>()
            };
            let offers: f64 = offers.values().map(|tally| tally.clicks * looks(tally).ln()).sum();
            -offers - exponent * clicks_down
        };
        Ok(Self { exponent: top_of(likelihood, 0.0, EXPONENT_MAX) })
    }
}

#[derive(Debug, Default)]
struct Tally {
    /// Impressions by place.
    shown: BTreeMap<u32, f64>,
    clicks: f64,
}

/// Where a concave function on `[low, high]` is greatest.
fn top_of(function: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    let golden = (5_f64.sqrt() - 1.0) / 2.0;
    while high - low > 1e-6 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if function(a) < function(b) { low = a } else { high = b }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages that put offer 1 first nine times of ten, with clicks in exact proportion to `rate · (1 + k)^-η`.
    fn pages(rates: [f64; 2], exponent: f64) -> Vec<Shown> {
        let mut rows = Vec::new();
        for (offer_id, position, shown) in [(1, 0, 9_000), (2, 1, 9_000), (2, 0, 1_000), (1, 1, 1_000)] {
            let rate = rates[offer_id as usize - 1] * (1.0 + f64::from(position)).powf(-exponent);
            let clicks = (f64::from(shown) * rate).round() as i32;
            rows.extend((0..shown).map(|row| Shown { offer_id, position, clicked: row < clicks }));
        }
        rows
    }

    #[test]
    fn the_exponent_that_made_the_clicks_is_found_although_the_better_offer_stands_first() {
        for exponent in [0.0, 0.7, 1.3] {
            let found = PositionBias::estimate(pages([0.4, 0.05], exponent)).unwrap().exponent;
            assert!((found - exponent).abs() < 0.02, "{found} for {exponent}");
        }
        assert_eq!(PositionBias { exponent: 1.0 }.looks(3), 0.25);
        assert_eq!(PositionBias::NONE.looks(3), 1.0);
    }

    #[test]
    fn where_no_offer_moved_there_is_no_estimate() {
        let row = |offer_id, position, clicked| Shown { offer_id, position, clicked };
        assert!(PositionBias::estimate([]).is_err());
        assert!(PositionBias::estimate([row(1, 0, true), row(2, 1, true)]).is_err());
        assert!(PositionBias::estimate([row(1, 0, false), row(1, 1, false)]).is_err());
    }
}
