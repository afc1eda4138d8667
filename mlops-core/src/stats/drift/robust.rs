//! The robust effect: how far values have moved, in units of their own spread, with its interval.

use super::EffectInterval;
use super::effect::{Effect, total_variation};
use super::numbers::{Numbers, kolmogorov_smirnov_of_present};
use crate::Result;
use crate::stats::quantiles::Ranks;

/// Values beyond these quantiles of the reference count as if they lay there.
pub(super) const WINSORISED: (f64, f64) = (0.001, 0.999);
/// Interquartile range of a standard normal distribution.
const IQR_NORMAL: f64 = 1.349;
/// Standard normal quantile of 97.5 %.
const Z_95: f64 = 1.959_963_984_540_054;
/// Standard normal quantile of 99.5 %: the errors of sketches hold in 99 of 100 cases.
const Z_99: f64 = 2.575_829_303_548_901;

/// Bounds of the values that count fully.
pub(super) fn tails(ranks: &Ranks) -> Option<(f64, f64)> {
    (ranks.total() > 0).then(|| (ranks.quantile(WINSORISED.0), ranks.quantile(WINSORISED.1)))
}

/// Of present values.
pub(super) fn numbers(reference: &Numbers, current: &Numbers) -> Effect {
    let (n, m) = (reference.present(), current.present());
    if n == 0 || m == 0 {
        return Effect::NONE;
    }
    let p_value = kolmogorov_smirnov_of_present(reference, current);
    let moved = tails(&reference.ranks).and_then(|tails| Moved::measure(reference, current, tails));
    let (size, chance, deviation) = match moved {
        Some(moved) => moved.in_units(),
        None => share_of_one_value(reference, current),
    };
    Effect { size, expected_by_chance: chance, p_value, interval: Some(interval(size, deviation)), rows: (n, m) }
}

/// Of shares of present values in categories.
pub(super) fn categories(shares: &[(f64, f64)], present: (u64, u64)) -> Result<Effect> {
    let found = total_variation(shares, present)?;
    // ½ Σ s (c − r) with s = ±1 where the shares differ: a difference of two means of ½ s.
    let variance = |share: &dyn Fn(&(f64, f64)) -> f64| {
        let mean: f64 = shares.iter().map(|both| share(both) * sign(both.1 - both.0)).sum();
        let square: f64 = shares.iter().map(|both| share(both) * sign(both.1 - both.0).powi(2)).sum();
        (square - mean * mean).max(0.0) / 4.0
    };
    let (r, c) = (variance(&|both| both.0), variance(&|both| both.1));
    let deviation = (r / present.0 as f64 + c / present.1 as f64).sqrt();
    Ok(Effect { interval: Some(interval(found.size, deviation)), ..found })
}

fn interval(size: f64, deviation: f64) -> EffectInterval {
    let half = Z_95 * deviation;
    EffectInterval { low: (size - half).max(0.0), high: (size + half).min(f64::MAX) }
}

fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// The area between two distribution functions, with values mapped onto `0..=1` between the tails.
struct Moved {
    area: f64,
    /// Mean area when nothing has changed.
    chance: f64,
    deviation: f64,
    /// The length that was mapped onto 1, in units of the reference's spread.
    units: f64,
}

impl Moved {
    /// `None` where the reference lies on one value between its tails.
    fn measure(reference: &Numbers, current: &Numbers, (low, high): (f64, f64)) -> Option<Self> {
        // Quarters: the distance of two huge values may overflow where theirs does not.
        let (start, length) = (low / 4.0, high / 4.0 - low / 4.0);
        if length <= 0.0 {
            return None;
        }
        let place = |x: f64| (x.clamp(low, high) / 4.0 - start) / length;
        let mut walk = Walk::new(reference, current);
        reference.ranks.walk(&current.ranks, |x, r, c| {
            walk.step(place(x), reference.negative_infinite + r, current.negative_infinite + c);
        });
        walk.step(1.0, reference.present(), current.present());
        let quartiles = place(reference.ranks.quantile(0.75)) - place(reference.ranks.quantile(0.25));
        let spread = if quartiles > 0.0 { quartiles / IQR_NORMAL } else { walk.reference.variance().sqrt() };
        let sketched = reference.rank_error.hypot(current.rank_error) / Z_99;
        let sampled = walk.reference.transported_variance() / walk.reference.rows
            + walk.current.transported_variance() / walk.current.rows;
        (spread > 0.0).then(|| Self {
            area: walk.area,
            chance: walk.chance(),
            deviation: (sampled + sketched * sketched).sqrt(),
            units: 1.0 / spread,
        })
    }

    fn in_units(&self) -> (f64, f64, f64) {
        let scaled = |x: f64| (x * self.units).min(f64::MAX);
        (scaled(self.area), scaled(self.chance), scaled(self.deviation))
    }
}

/// Sums of one side.
struct Side {
    rows: f64,
    below: f64,
    transported: (f64, f64),
    places: (f64, f64),
}

impl Side {
    fn new(rows: u64, below: u64) -> Self {
        Self { rows: rows as f64, below: below as f64, transported: (0.0, 0.0), places: (0.0, 0.0) }
    }

    fn add(&mut self, reached: u64, place: f64, moved: f64) {
        let weight = reached as f64 - self.below;
        self.below = reached as f64;
        self.transported = (self.transported.0 + weight * moved, self.transported.1 + weight * moved * moved);
        self.places = (self.places.0 + weight * place, self.places.1 + weight * place * place);
    }

    fn variance_of(&self, sums: (f64, f64)) -> f64 {
        let mean = sums.0 / self.rows;
        (sums.1 / self.rows - mean * mean).max(0.0)
    }

    fn variance(&self) -> f64 {
        self.variance_of(self.places)
    }

    fn transported_variance(&self) -> f64 {
        self.variance_of(self.transported)
    }
}

/// One pass over the values of both sides in order.
///
/// With `s` the sign of the difference of the distribution functions `F` and `G` and `φ(x) = ∫ s` up to `x`, the distance
/// `∫ |F − G|` is `E_G φ − E_F φ`: its variance is that of the two means.
struct Walk {
    reference: Side,
    current: Side,
    last: f64,
    moved: f64,
    area: f64,
    /// `∫ √(H (1 − H))` of the pooled distribution function.
    spread: f64,
}

impl Walk {
    fn new(reference: &Numbers, current: &Numbers) -> Self {
        let reference = Side::new(reference.present(), reference.negative_infinite);
        let current = Side::new(current.present(), current.negative_infinite);
        Self { reference, current, last: 0.0, moved: 0.0, area: 0.0, spread: 0.0 }
    }

    /// At `place`, in order, so many rows of either side have been reached.
    fn step(&mut self, place: f64, reference: u64, current: u64) {
        let width = place - self.last;
        let gap = self.reference.below / self.reference.rows - self.current.below / self.current.rows;
        let pooled = (self.reference.below + self.current.below) / (self.reference.rows + self.current.rows);
        self.area += gap.abs() * width;
        self.moved += sign(gap) * width;
        self.spread += (pooled * (1.0 - pooled)).max(0.0).sqrt() * width;
        self.last = place;
        self.reference.add(reference, place, self.moved);
        self.current.add(current, place, self.moved);
    }

    /// A difference of distribution functions is about normal with variance `H (1 − H)(1/n + 1/m)`; its mean size is `√(2/π)`
    /// of the deviation.
    fn chance(&self) -> f64 {
        let scale = 1.0 / self.reference.rows + 1.0 / self.current.rows;
        self.spread * (std::f64::consts::FRAC_2_PI * scale).sqrt()
    }
}

/// For a reference that is one value but for its tails: the change of that value's share.
fn share_of_one_value(reference: &Numbers, current: &Numbers) -> (f64, f64, f64) {
    let value = if reference.ranks.total() > 0 {
        reference.ranks.quantile(0.5)
    } else if reference.negative_infinite > reference.positive_infinite {
        f64::NEG_INFINITY
    } else {
        f64::INFINITY
    };
    let (r, c) = (reference.outside(value, value), current.outside(value, value));
    let (n, m) = (reference.present() as f64, current.present() as f64);
    let pooled = (r * n + c * m) / (n + m);
    let chance = (pooled * (1.0 - pooled).max(0.0) * (1.0 / n + 1.0 / m) * std::f64::consts::FRAC_2_PI).sqrt();
    let sketched = reference.rank_error.hypot(current.rank_error) / Z_99;
    let variance = r * (1.0 - r).max(0.0) / n + c * (1.0 - c).max(0.0) / m + sketched * sketched;
    ((r - c).abs(), chance, variance.sqrt())
}

#[cfg(test)]
mod tests;
