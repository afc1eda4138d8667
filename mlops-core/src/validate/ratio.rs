//! Shares that are judged by what is known about them.

use serde::{Deserialize, Serialize};
use statrs::function::gamma::ln_gamma;

/// What can be said of a share of which a sample was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The demand holds.
    Passed,
    /// The demand does not hold.
    Failed,
    /// Too few rows to say so with the confidence that was asked for.
    Undecided,
}

/// A greatest share, and the confidence with which it has to hold.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Limit {
    pub(super) max: f64,
    pub(super) confidence: Option<f64>,
}

/// A share with its bounds, each of which holds with the confidence asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Judged {
    pub(super) decision: Decision,
    pub(super) lower: f64,
    pub(super) upper: f64,
}

impl Limit {
    /// Judges `part` of `whole`: without a confidence by the share itself, with one by bounds of the share in the population
    /// that the rows were drawn from.
    pub(super) fn judge(self, part: u64, whole: u64) -> Judged {
        let share = if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let Some(confidence) = self.confidence else {
            let decision = if share <= self.max { Decision::Passed } else { Decision::Failed };
            return Judged { decision, lower: share, upper: share };
        };
        let (lower, upper) = clopper_pearson(part, whole, confidence);
        let decision = match () {
            () if upper <= self.max => Decision::Passed,
            () if lower > self.max => Decision::Failed,
            () => Decision::Undecided,
        };
        Judged { decision, lower, upper }
    }

    pub(super) fn is_sound(self) -> bool {
        (0.0..=1.0).contains(&self.max) && self.confidence.is_none_or(|c| (0.5..=0.999_999).contains(&c))
    }
}

/// One-sided bounds of a binomial share, each missed with a probability of at most `1 − confidence`.
///
/// # Source
/// Clopper and Pearson, *Biometrika* 26 (1934): quantiles of beta distributions.
pub(super) fn clopper_pearson(part: u64, whole: u64, confidence: f64) -> (f64, f64) {
    if whole == 0 {
        return (0.0, 1.0);
    }
    let (k, n) = (part as f64, whole as f64);
    let lower = if part == 0 { 0.0 } else { beta_quantile(1.0 - confidence, k, n - k + 1.0) };
    let upper = if part >= whole { 1.0 } else { beta_quantile(confidence, k + 1.0, n - k) };
    (lower, upper)
}

/// The greatest number of hits among `fresh` rows that Fisher's exact test, one-sided at level `alpha`, does not tell from
/// `hits` among `rows`: more come with a probability of at most `alpha` where both are drawn from one population.
pub(super) fn more_in_fresh(hits: u64, rows: u64, fresh: u64, alpha: f64) -> u64 {
    let possible = |more: u64| at_most_in_first(hits, rows, fresh, hits + more) > alpha;
    if possible(fresh) {
        return fresh;
    }
    let (mut low, mut high) = (0, fresh);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if possible(middle) { low = middle } else { high = middle }
    }
    low
}

/// Probability that at most `hits` of `total` hits, dealt out at random over both, are among the first `rows` and not among
/// the `fresh` others (hypergeometric). Terms fall off on the way down, so that few of them count.
fn at_most_in_first(hits: u64, rows: u64, fresh: u64, total: u64) -> f64 {
    let choose = |n: u64, k: u64| ln_gamma(n as f64 + 1.0) - ln_gamma(k as f64 + 1.0) - ln_gamma((n - k) as f64 + 1.0);
    if total <= hits || total > rows + fresh || hits >= rows {
        return 1.0;
    }
    if total - hits > fresh {
        return 0.0;
    }
    let misses = rows + fresh - total;
    let mut term = (choose(total, hits) + choose(misses, rows - hits) - choose(rows + fresh, rows)).exp();
    let mut sum = term;
    let mut first = hits as f64;
    while first > 0.0 && term > sum * 1e-12 && sum < 1.0 {
        let missing = fresh as f64 - total as f64 + first;
        term *= first * missing.max(0.0) / ((total as f64 - first + 1.0) * (rows as f64 - first + 1.0));
        sum += term;
        first -= 1.0;
    }
    sum.min(1.0)
}

/// The least number that so many of `fresh` values exceed the range of `rows` others of the same distribution with a probability
/// of at most `alpha`: their number is beta-binomial(fresh, 2, rows − 1).
pub(super) fn outside_of_range(rows: u64, fresh: u64, alpha: f64) -> u64 {
    let (m, b) = (fresh as f64, rows.max(2) as f64 - 1.0);
    let mut term = b * (b + 1.0) / ((m + b) * (m + b + 1.0));
    let mut below = term;
    let mut outside = 0_u64;
    while below < 1.0 - alpha && outside < fresh {
        let j = outside as f64;
        term *= (m - j) * (j + 2.0) / ((j + 1.0) * (m - j - 1.0 + b));
        below += term;
        outside += 1;
    }
    outside
}

/// By halving: the distribution function is increasing.
fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if regularized_beta(middle, a, b) < p {
            low = middle;
        } else {
            high = middle;
        }
        if high - low <= f64::EPSILON * high {
            break;
        }
    }
    f64::midpoint(low, high)
}

/// `I_x(a, b)`, by the continued fraction, which needs about `√max(a, b)` steps: `statrs` stops after 140, too few for millions of
/// rows.
///
/// # Source
/// DLMF 8.17.22, evaluated by the method of Lentz.
fn regularized_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - regularized_beta_left(1.0 - x, b, a);
    }
    regularized_beta_left(x, a, b)
}

fn regularized_beta_left(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    let safe = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / safe(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..200_000_u32 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / safe(1.0 + even * d);
        c = safe(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / safe(1.0 + odd * d);
        c = safe(1.0 + odd / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_a_reference() {
        // scipy 1.17.1: beta.ppf(1 - c, k, n - k + 1) and beta.ppf(c, k + 1, n - k).
        for (k, n, c, lower, upper) in [
            (0, 10, 0.95, 0.0, 0.2588655508930522),
            (3, 20, 0.95, 0.04216940788577862, 0.3436638043142818),
            (20, 20, 0.95, 0.8608916593317348, 1.0),
            (700, 1000, 0.95, 0.6752463872806512, 0.7238772288409887),
            (51, 1000, 0.99, 0.036126751195257024, 0.06955015219586992),
            (500, 1000000, 0.95, 0.00046380534612824566, 0.0005383661633179478),
            (799000, 1000000, 0.95, 0.7983396889510235, 0.7996590318800951),
            (1, 1000000000, 0.9, 1.0536051565227586e-10, 3.889720192916626e-09),
        ] {
            let (low, high) = clopper_pearson(k, n, c);
            assert!((low - lower).abs() <= 1e-6 * lower, "{k} of {n}: {low} is not {lower}");
            assert!((high - upper).abs() <= 1e-6 * upper, "{k} of {n}: {high} is not {upper}");
        }
    }

    #[test]
    fn fresh_tables_may_have_what_chance_explains() {
        // scipy 1.17.1: hypergeom.cdf(k, n + m, k + c, n) > alpha and betabinom.ppf(1 - alpha, m, 2, n - 1).
        for (hits, rows, fresh, alpha, expected) in [
            (0, 1000, 1000, 0.01, 6),
            (0, 100, 10000, 0.001, 670),
            (30, 1000, 1000, 0.005, 53),
            (500, 10000, 2000, 0.001, 135),
            (7, 60, 50, 0.05, 12),
            (60, 60, 50, 0.05, 50),
        ] {
            assert_eq!(more_in_fresh(hits, rows, fresh, alpha), expected, "{hits} of {rows}, {fresh} fresh, {alpha}");
        }
        for (rows, fresh, alpha, expected) in [
            (1000, 1000, 0.01, 9),
            (100, 10000, 0.001, 890),
            (1000000, 10, 0.05, 0),
            (50, 50, 0.5, 1),
            (2000, 3000, 0.0001, 22),
        ] {
            assert_eq!(outside_of_range(rows, fresh, alpha), expected, "{rows}, {fresh} fresh, {alpha}");
        }
    }

    #[test]
    fn a_share_is_undecided_while_both_sides_are_possible() {
        let limit = Limit { max: 0.8, confidence: Some(0.95) };
        assert_eq!(limit.judge(0, 0).decision, Decision::Undecided);
        assert_eq!(limit.judge(15, 20).decision, Decision::Undecided);
        assert_eq!(limit.judge(750, 1000).decision, Decision::Passed);
        assert_eq!(limit.judge(850, 1000).decision, Decision::Failed);
        assert_eq!(Limit { max: 0.8, confidence: None }.judge(16, 20).decision, Decision::Passed);
        assert_eq!(Limit { max: 0.8, confidence: None }.judge(17, 20).decision, Decision::Failed);
    }
}
