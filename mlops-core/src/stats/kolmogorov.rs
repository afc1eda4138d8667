//! The distribution of Kolmogorov's statistic.

use statrs::function::gamma::ln_gamma;

/// Probability that the two-sided Kolmogorov-Smirnov statistic of `n` values is at least `d` (scipy's `kstwo.sf`).
///
/// Relative error below `1e-9` up to `n = 140` and below `1e-5` beyond, for p-values above `1e-6`.
///
/// The choice of formula follows Simard and L'Ecuyer, *Computing the two-sided Kolmogorov-Smirnov distribution*,
/// J. Stat. Softw. 39(11), 2011.
pub(crate) fn two_sided_tail(n: u64, d: f64) -> f64 {
    let count = n as f64;
    let (t, square) = (count * d, count * d * d);
    let tail = if n == 0 || t <= 0.5 {
        1.0
    } else if d >= 1.0 || square >= 370.0 {
        0.0
    } else if t <= 1.0 {
        // Ruben and Gambino: n! ((2t − 1) / n)^n
        1.0 - (ln_gamma(count + 1.0) + count * ((2.0 * t - 1.0) / count).ln()).exp()
    } else if n <= 140 {
        if square > 4.0 || d >= 0.5 { 2.0 * one_sided_tail(n, d) } else { 1.0 - durbin(n, d) }
    } else if square >= 2.2 {
        2.0 * one_sided_tail(n, d)
    } else if n <= 100_000 && count * d.powf(1.5) <= 1.4 {
        1.0 - durbin(n, d)
    } else {
        1.0 - pelz_good(count, d)
    };
    tail.clamp(0.0, 1.0)
}

/// Mean of the statistic when nothing differs, times `√n`: `√(π/2) · ln 2`.
pub(crate) const MEAN: f64 = 0.868_731_160_636_159_1;

/// Smirnov's one-sided tail; beyond a thousand values by its expansion (Maag and Dicaire).
fn one_sided_tail(n: u64, d: f64) -> f64 {
    let count = n as f64;
    if n > 1000 {
        let t = 6.0 * count * d + 1.0;
        let z = t * t / (18.0 * count);
        return (-z).exp() * (1.0 - (2.0 * z * z - 4.0 * z - 1.0) / (18.0 * count));
    }
    let ln_all = ln_gamma(count + 1.0);
    let sum: f64 = (0..=(count * (1.0 - d)).floor() as u64)
        .map(|j| j as f64)
        .map(|j| {
            let rest = 1.0 - d - j / count;
            if rest <= 0.0 {
                return 0.0;
            }
            let ln_choose = ln_all - ln_gamma(j + 1.0) - ln_gamma(count - j + 1.0);
            (ln_choose + (j - 1.0) * (d + j / count).ln() + (count - j) * rest.ln()).exp()
        })
        .sum();
    d * sum
}

/// Durbin's matrix, by Marsaglia, Tsang and Wang, *Evaluating Kolmogorov's distribution*, J. Stat. Softw. 8(18), 2003.
fn durbin(n: u64, d: f64) -> f64 {
    let count = n as f64;
    let k = (count * d).floor() as usize + 1;
    let (size, h) = (2 * k - 1, k as f64 - count * d);
    let mut matrix = vec![0.0; size * size];
    for row in 0..size {
        for column in 0..size.min(row + 2) {
            matrix[row * size + column] = 1.0;
        }
    }
    for i in 0..size {
        matrix[i * size] -= h.powi(i as i32 + 1);
        matrix[(size - 1) * size + i] -= h.powi((size - i) as i32);
    }
    if 2.0 * h > 1.0 {
        matrix[(size - 1) * size] += (2.0 * h - 1.0).powi(size as i32);
    }
    for row in 0..size {
        for column in 0..size.min(row + 2) {
            for factor in 1..=(row + 1).saturating_sub(column) {
                matrix[row * size + column] /= factor as f64;
            }
        }
    }
    let (power, mut exponent) = matrix_power(matrix, size, n);
    let mut result = power[(k - 1) * size + k - 1];
    for i in 1..=n {
        result = result * i as f64 / count;
        if result < 1e-140 {
            result *= 1e140;
            exponent -= 140;
        }
    }
    result * 10_f64.powi(exponent)
}

/// `matrix^n` and the power of ten that was taken out of it.
fn matrix_power(matrix: Vec<f64>, size: usize, n: u64) -> (Vec<f64>, i32) {
    let multiply = |a: &[f64], b: &[f64]| {
        let mut out = vec![0.0; size * size];
        for row in 0..size {
            for inner in 0..size {
                let factor = a[row * size + inner];
                for column in 0..size {
                    out[row * size + column] += factor * b[inner * size + column];
                }
            }
        }
        out
    };
    let rescale = |matrix: &mut Vec<f64>, exponent: &mut i32| {
        if matrix[(size / 2) * size + size / 2] > 1e140 {
            for value in matrix.iter_mut() {
                *value *= 1e-140;
            }
            *exponent += 140;
        }
    };
    let mut result: Vec<f64> = (0..size * size).map(|i| f64::from(u8::from(i % (size + 1) == 0))).collect();
    let (mut base, mut base_exponent, mut exponent) = (matrix, 0, 0);
    let mut left = n;
    while left > 0 {
        if left & 1 == 1 {
            result = multiply(&result, &base);
            exponent += base_exponent;
            rescale(&mut result, &mut exponent);
        }
        left >>= 1;
        if left > 0 {
            base = multiply(&base, &base);
            base_exponent *= 2;
            rescale(&mut base, &mut base_exponent);
        }
    }
    (result, exponent)
}

/// Pelz and Good, *Approximating the lower tail-areas of the Kolmogorov-Smirnov one-sample statistic*,
/// J. R. Stat. Soc. B 38, 1976: four terms in `1/√n`.
fn pelz_good(n: f64, d: f64) -> f64 {
    let pi2 = std::f64::consts::PI.powi(2);
    let root = std::f64::consts::TAU.sqrt();
    let z = n.sqrt() * d;
    let [z2, z4, z6, z8] = [2, 4, 6, 8].map(|power| z.powi(power));
    let (mut k0, mut k1, mut k2, mut k3, mut k2_even, mut k3_even) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    // 20 terms are more than double precision needs for every z that comes here (at most 1.5).
    for i in 0..20 {
        let h2 = (f64::from(i) + 0.5).powi(2);
        let e = (-pi2 * h2 / (2.0 * z2)).exp();
        k0 += e;
        k1 += e * (pi2 * h2 - z2);
        k2 += e * (6.0 * z6 + 2.0 * z4 + pi2 * (2.0 * z4 - 5.0 * z2) * h2 + pi2.powi(2) * (1.0 - 2.0 * z2) * h2 * h2);
        k3 += e
            * (pi2 * (135.0 * z4 - 96.0 * z6) * h2 - 30.0 * z6 - 90.0 * z8
                + pi2.powi(2) * (212.0 * z4 - 60.0 * z2) * h2 * h2
                + pi2.powi(3) * (5.0 - 30.0 * z2) * h2.powi(3));
        let i2 = f64::from(i).powi(2);
        let e = (-pi2 * i2 / (2.0 * z2)).exp() * i2;
        k2_even += e;
        k3_even += e * (3.0 * z2 - pi2 * i2);
    }
    let k0 = root / z * k0;
    let k1 = root / (6.0 * z4) * k1;
    let k2 = root * (k2 / (72.0 * z.powi(7)) - pi2 * k2_even / (36.0 * z.powi(3)));
    let k3 = root * (k3 / (6480.0 * z.powi(10)) + pi2 * k3_even / (216.0 * z6));
    k0 + k1 / n.sqrt() + k2 / n + k3 / n.powf(1.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy 1.17.1: `kstwo.sf(d, n)`
    const SCIPY: [(u64, f64, f64); 25] = [
        (1, 0.7, 0.600_000_000_000_000_1),
        (3, 0.3, 0.886_222_222_222_222_2),
        (10, 0.05, 1.0),
        (10, 0.08, 0.999_997_805_803_405_4),
        (10, 0.3, 0.270_535_574_799_999_46),
        (10, 0.42, 0.041_023_121_345_244_22),
        (10, 0.6, 0.000_568_167_200_000_000_3),
        (50, 0.1, 0.662_311_270_465_818_6),
        (50, 0.2, 0.031_438_777_769_532_41),
        (50, 0.3, 0.000_173_532_602_027_187_38),
        (140, 0.08, 0.314_807_499_116_430_63),
        (140, 0.15, 0.003_249_560_441_510_170_3),
        (141, 0.05, 0.854_845_693_009_663),
        (141, 0.08, 0.310_841_708_792_641_17),
        (500, 0.03, 0.747_316_670_045_702_1),
        (500, 0.1, 8.342_293_067_263_533e-5),
        (1000, 0.05, 0.013_012_074_781_090_332),
        (1001, 0.05, 0.012_947_140_720_250_147),
        (5000, 0.01, 0.695_455_725_391_385_3),
        (5000, 0.015, 0.208_461_420_961_862_04),
        (5000, 0.03, 0.000_241_592_344_226_668_17),
        (200_000, 0.002, 0.399_950_853_690_380_97),
        (200_000, 0.005, 9.049_367_287_273_853e-5),
        (250_000, 0.001, 0.963_731_987_683_136_7),
        (250_000, 0.0003, 1.0),
    ];

    #[test]
    fn the_tail_is_that_of_scipy() {
        for (n, d, expected) in SCIPY {
            let found = two_sided_tail(n, d);
            let allowed = if n <= 140 { 1e-9 } else { 1e-5 };
            assert!((found - expected).abs() <= allowed * expected, "n {n}, d {d}: {found} is not {expected}");
        }
    }

    #[test]
    fn the_tail_falls_from_one_to_nothing() {
        for n in [1, 2, 7, 50, 141, 1000, 1001, 1_000_000, 10_000_000_000] {
            assert_eq!((two_sided_tail(n, 0.0), two_sided_tail(n, 1.0)), (1.0, 0.0));
            let tails: Vec<f64> = (0..=1000).map(|i| two_sided_tail(n, f64::from(i) / 1000.0)).collect();
            assert!(tails.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-6) + 1e-12), "n {n}");
        }
    }
}
