//! The exponent that brings values nearest to a normal distribution.

use super::Power;
use super::curve::Curve;

/// Exponents are looked for within ± this.
const REACH: f64 = 8.0;

/// Exponents are found to this precision.
const PRECISION: f64 = 1e-9;

/// The λ of greatest likelihood under a normal distribution of the bent `values` (at least one, not all equal).
///
/// `−n/2 · ln var(y) + (λ − 1) · Σ sign(x) ln(1 + |x|)` for Yeo-Johnson, `Σ ln x` in place of that sum for Box-Cox.
pub(super) fn exponent(family: Power, values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let slope: f64 = match family {
        Power::YeoJohnson => values.iter().map(|x| x.signum() * x.abs().ln_1p()).sum(),
        Power::BoxCox => values.iter().map(|x| x.ln()).sum(),
    };
    let unlikelihood = |lambda: f64| {
        let (_, deviation) = Curve::power(family, lambda).mean_and_deviation(values);
        let value = n * deviation.ln() - (lambda - 1.0) * slope;
        // A power that leaves the range of f64, or makes all values equal by rounding, is no fit.
        if value.is_finite() && deviation > 0.0 { value } else { f64::MAX }
    };
    minimum(unlikelihood, -REACH, REACH)
}

/// Where `f` is least between `low` and `high`, by golden sections and parabolas.
///
/// Brent, *Algorithms for Minimization without Derivatives*, Prentice-Hall 1973, chapter 5.
fn minimum(f: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    let golden = 0.5 * (3.0 - 5_f64.sqrt());
    let mut x = low + golden * (high - low);
    let (mut w, mut v) = (x, x);
    let mut at_x = f(x);
    let (mut at_w, mut at_v) = (at_x, at_x);
    let (mut step, mut before) = (0.0_f64, 0.0_f64);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        let near = PRECISION * x.abs() + PRECISION / 3.0;
        if (x - middle).abs() <= 2.0 * near - 0.5 * (high - low) {
            break;
        }
        let r = (x - w) * (at_x - at_v);
        let s = (x - v) * (at_x - at_w);
        let mut p = (x - v) * s - (x - w) * r;
        let mut q = 2.0 * (s - r);
        p = if q > 0.0 { -p } else { p };
        q = q.abs();
        let fits = before.abs() > near && p.abs() < (0.5 * q * before).abs() && p > q * (low - x) && p < q * (high - x);
        if fits {
            before = step;
            step = p / q;
            let u = x + step;
            if u - low < 2.0 * near || high - u < 2.0 * near {
                step = if x < middle { near } else { -near };
            }
        } else {
            before = if x < middle { high - x } else { low - x };
            step = golden * before;
        }
        let u = x + if step.abs() >= near { step } else { near.copysign(step) };
        let at_u = f(u);
        if at_u <= at_x {
            if u < x {
                high = x;
            } else {
                low = x;
            }
            (v, at_v, w, at_w, x, at_x) = (w, at_w, x, at_x, u, at_u);
        } else {
            if u < x {
                low = u;
            } else {
                high = u;
            }
            if at_u <= at_w || w == x {
                (v, at_v, w, at_w) = (w, at_w, u, at_u);
            } else if at_u <= at_v || v == x || v == w {
                (v, at_v) = (u, at_u);
            }
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_point_of_a_curve_is_found() {
        assert!((minimum(|x| (x - 1.25).powi(2) + 3.0, -8.0, 8.0) - 1.25).abs() < 1e-6);
        assert!((minimum(f64::cos, 0.0, 6.0) - std::f64::consts::PI).abs() < 1e-6);
        assert!((minimum(|x| x, -8.0, 8.0) + 8.0).abs() < 1e-6, "at the end of the range where it falls throughout");
    }
}
