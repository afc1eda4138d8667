//! k-sample Anderson-Darling test.

use super::distance::sorted;
use super::two_sample::TwoSampleTest;
use crate::{Error, Result};

/// k-sample Anderson-Darling test: are all samples from one distribution? Sees differences in the tails better than others do.
///
/// The statistic is standardised: 0 on average when nothing differs, about 1.96 at the 2.5 % level for two samples. Ties get
/// middle ranks. The p-value is interpolated between tabulated levels, so it lies in `0.001..=0.25` and is not
/// for adjusting.
///
/// * `samples`: at least 2, of finite numbers in any order, at least 4 values and 2 different ones in all. `O(N (k + log N))`.
///
/// # Errors
/// [`Error::Invalid`] when there are fewer samples or values, or a sample is empty; [`Error::InvalidData`] when a value is
/// not finite.
///
/// # Source
/// Scholz, Stephens, *K-sample Anderson-Darling tests*, J. Am. Stat. Assoc. 82, 1987, equation 7
/// (`scipy.stats.anderson_ksamp`, `variant="midrank"`).
///
/// # Examples
/// ```
/// let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0], [4.0, 5.0, 6.0, 7.0, 8.0]);
/// let test = mlops_core::stats::anderson_darling(&[&a, &b])?;
/// assert!(test.statistic > 2.0 && test.p_value < 0.05);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn anderson_darling(samples: &[&[f64]]) -> Result<TwoSampleTest> {
    if samples.len() < 2 {
        return Err(Error::invalid("samples", samples.len(), "at least 2"));
    }
    let samples = samples.iter().map(|sample| sorted(sample, "any")).collect::<Result<Vec<_>>>()?;
    of_sorted(&samples.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Of at least 2 samples that are not empty.
pub(super) fn of_sorted(samples: &[&[f64]]) -> Result<TwoSampleTest> {
    let rows: usize = samples.iter().map(|sample| sample.len()).sum();
    let first = samples[0][0];
    if rows < 4 || samples.iter().all(|sample| sample.iter().all(|&value| value == first)) {
        return Err(Error::invalid("values in all samples", rows, "at least 4, and 2 different ones"));
    }
    let squares = integrated_squares(samples, rows as f64);
    let degrees = samples.len() as f64 - 1.0;
    let statistic = (squares - degrees) / variance(samples, rows).sqrt();
    Ok(TwoSampleTest::new(statistic, interpolated(statistic, degrees)))
}

fn integrated_squares(samples: &[&[f64]], rows: f64) -> f64 {
    let mut places = vec![0_usize; samples.len()];
    let mut sums = vec![0.0; samples.len()];
    let mut below = 0.0;
    let mut equal = vec![0_usize; samples.len()];
    while let Some(next) = samples.iter().zip(&places).filter_map(|(s, &place)| s.get(place).copied()).reduce(f64::min)
    {
        for ((sample, place), equal) in samples.iter().zip(&places).zip(&mut equal) {
            *equal = sample[*place..].iter().take_while(|&&value| value == next).count();
        }
        let ties = equal.iter().sum::<usize>() as f64;
        let middle = below + ties / 2.0;
        let weight = middle * (rows - middle) - rows * ties / 4.0;
        for (((sample, place), equal), sum) in samples.iter().zip(&mut places).zip(&equal).zip(&mut sums) {
            let own = *place as f64 + *equal as f64 / 2.0;
            *sum += ties / rows * (rows * own - middle * sample.len() as f64).powi(2) / weight;
            *place += equal;
        }
        below += ties;
    }
    let total: f64 = sums.iter().zip(samples).map(|(sum, sample)| sum / sample.len() as f64).sum();
    total * (rows - 1.0) / rows
}

/// Of the statistic when nothing differs.
fn variance(samples: &[&[f64]], rows: usize) -> f64 {
    let (k, n) = (samples.len() as f64, rows as f64);
    let inverse: f64 = samples.iter().map(|sample| 1.0 / sample.len() as f64).sum();
    let (mut harmonic, mut g) = (0.0, 0.0);
    // From 1/(n−1) down to 1/2 the sum grows by one term for each divisor.
    for divisor in 2..rows {
        harmonic += 1.0 / (rows + 1 - divisor) as f64;
        g += harmonic / divisor as f64;
    }
    let h = harmonic + 1.0;
    let a = (4.0 * g - 6.0) * (k - 1.0) + (10.0 - 6.0 * g) * inverse;
    let b = (2.0 * g - 4.0) * k * k + 8.0 * h * k + (2.0 * g - 14.0 * h - 4.0) * inverse - 8.0 * h + 4.0 * g - 6.0;
    let c = (6.0 * h + 2.0 * g - 2.0) * k * k + (4.0 * h - 4.0 * g + 6.0) * k + (2.0 * h - 6.0) * inverse + 4.0 * h;
    let d = (2.0 * h + 6.0) * k * k - 4.0 * h * k;
    (((a * n + b) * n + c) * n + d) / ((n - 1.0) * (n - 2.0) * (n - 3.0))
}

/// Coefficients of the critical values in `1, 1/√m, 1/m`, and their levels: table 1 of the source, as scipy extends it.
const CRITICAL: [(f64, f64, f64, f64); 7] = [
    (0.675, -0.245, -0.105, 0.25),
    (1.281, 0.25, -0.305, 0.1),
    (1.645, 0.678, -0.362, 0.05),
    (1.96, 1.149, -0.391, 0.025),
    (2.326, 1.822, -0.396, 0.01),
    (2.573, 2.364, -0.345, 0.005),
    (3.085, 3.615, -0.154, 0.001),
];

/// The quadratic in the statistic that fits the logarithms of the levels best.
fn interpolated(statistic: f64, degrees: f64) -> f64 {
    let points = CRITICAL.map(|(b0, b1, b2, level)| (b0 + b1 / degrees.sqrt() + b2 / degrees, f64::ln(level)));
    if statistic < points[0].0 {
        return 0.25;
    }
    if statistic > points[6].0 {
        return 0.001;
    }
    let power = |p: i32| points.iter().map(|(x, _)| x.powi(p)).sum::<f64>();
    let moment = |p: i32| points.iter().map(|(x, y)| x.powi(p) * y).sum::<f64>();
    let rows = [0, 1, 2].map(|i| [power(i), power(i + 1), power(i + 2), moment(i)]);
    let determinant = |columns: [usize; 3]| {
        let [x, y, z] = columns.map(|column| rows.map(|row| row[column]));
        x[0] * (y[1] * z[2] - y[2] * z[1]) - y[0] * (x[1] * z[2] - x[2] * z[1]) + z[0] * (x[1] * y[2] - x[2] * y[1])
    };
    let all = determinant([0, 1, 2]);
    let [constant, slope, bend] = [[3, 1, 2], [0, 3, 2], [0, 1, 3]].map(|columns| determinant(columns) / all);
    (constant + statistic * (slope + statistic * bend)).exp()
}

#[cfg(test)]
mod tests {
    use super::super::two_sample::tests::{agrees, samples, tied};
    use super::*;

    #[test]
    fn two_and_three_samples_agree_with_scipy() {
        // scipy 1.17.1: anderson_ksamp([a, b])
        let (a, b) = samples();
        agrees(anderson_darling(&[&a, &b]).unwrap(), -0.5486730478766507, 0.25);
        let (x, y) = tied();
        agrees(anderson_darling(&[&x, &y]).unwrap(), 5.233850223127474, 0.002862175495853629);
        // scipy 1.17.1: anderson_ksamp([a, b, a[:50] * 1.2])
        let c: Vec<f64> = a[..50].iter().map(|v| v * 1.2).collect();
        agrees(anderson_darling(&[&a, &b, &c]).unwrap(), 1.9574465770907026, 0.04896521713529892);
    }

    #[test]
    fn p_values_end_at_the_table() {
        let (a, _) = samples();
        assert_eq!(anderson_darling(&[&a, &a]).unwrap().p_value, 0.25);
        let far: Vec<f64> = a.iter().map(|v| v + 3.0).collect();
        assert_eq!(anderson_darling(&[&a, &far]).unwrap().p_value, 0.001);
    }

    #[test]
    fn too_little_to_compare_is_an_error() {
        assert!(anderson_darling(&[&[1.0, 2.0, 3.0, 4.0]]).is_err());
        assert!(anderson_darling(&[&[1.0; 4], &[1.0; 4]]).unwrap_err().to_string().contains("2 different"));
        assert!(anderson_darling(&[&[1.0], &[2.0]]).is_err());
        assert!(anderson_darling(&[&[1.0, 2.0, 3.0], &[]]).is_err());
    }
}
