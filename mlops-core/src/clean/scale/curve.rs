//! What bends values before they are centred and divided.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::Power;

/// Shares of a normal output end this far from 0 and 1, as scikit-learn's do.
const TAIL: f64 = 1e-7;

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Curve {
    #[default]
    Straight,
    /// Values at evenly spaced shares from 0 to 1.
    Quantile {
        points: Vec<f64>,
        normal: bool,
    },
    YeoJohnson {
        lambda: f64,
    },
    BoxCox {
        lambda: f64,
    },
}

impl Curve {
    pub(super) fn power(family: Power, lambda: f64) -> Self {
        match family {
            Power::YeoJohnson => Self::YeoJohnson { lambda },
            Power::BoxCox => Self::BoxCox { lambda },
        }
    }

    pub(super) fn is_straight(&self) -> bool {
        self == &Self::Straight
    }

    pub(super) fn lambda(&self) -> Option<f64> {
        match self {
            Self::YeoJohnson { lambda } | Self::BoxCox { lambda } => Some(*lambda),
            Self::Straight | Self::Quantile { .. } => None,
        }
    }

    pub(super) fn of(&self, x: f64) -> f64 {
        match self {
            Self::Straight => x,
            Self::Quantile { .. } if x.is_nan() => x,
            Self::Quantile { points, normal: false } => share(points, x),
            Self::Quantile { points, normal: true } => normal(share(points, x)),
            Self::YeoJohnson { lambda } => yeo_johnson(x, *lambda),
            Self::BoxCox { lambda } => box_cox(x, *lambda),
        }
    }

    /// Mean and standard deviation, divisor n, of the bent values.
    pub(super) fn mean_and_deviation(&self, values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|x| self.of(*x)).sum::<f64>() / n;
        let variance = values.iter().map(|x| (self.of(*x) - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt())
    }
}

/// The share of values below `x`, linear between the points; the middle of the shares of equal points.
fn share(points: &[f64], x: f64) -> f64 {
    let Some(last) = points.len().checked_sub(1) else { return f64::NAN };
    let unit = 1.0 / last as f64;
    if x <= points[0] {
        return 0.0;
    }
    if x >= points[last] {
        return 1.0;
    }
    let above = points.partition_point(|point| *point <= x);
    let (low, high) = (points[above - 1], points[above]);
    if low == x {
        let first = points[..above].partition_point(|point| *point < x);
        return f64::midpoint(first as f64, (above - 1) as f64) * unit;
    }
    ((above - 1) as f64 + (x - low) / (high - low)) * unit
}

fn normal(share: f64) -> f64 {
    let standard = Normal::standard();
    standard.inverse_cdf(share.clamp(TAIL - f64::EPSILON, 1.0 - (TAIL - f64::EPSILON)))
}

fn yeo_johnson(x: f64, lambda: f64) -> f64 {
    // `exp(λ ln(1 + x)) − 1` keeps its digits where x or λ is small.
    if x >= 0.0 {
        let log = x.ln_1p();
        if lambda.abs() < f64::EPSILON { log } else { (lambda * log).exp_m1() / lambda }
    } else {
        let (log, mirrored) = ((-x).ln_1p(), 2.0 - lambda);
        if mirrored.abs() < f64::EPSILON { -log } else { -(mirrored * log).exp_m1() / mirrored }
    }
}

fn box_cox(x: f64, lambda: f64) -> f64 {
    if x <= 0.0 {
        return f64::NAN;
    }
    if lambda.abs() < f64::EPSILON { x.ln() } else { (lambda * x.ln()).exp_m1() / lambda }
}
