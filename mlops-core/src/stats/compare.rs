//! Two columns compared by any of the distances and tests by name: one door to all of them.

use arrow::array::{Array, ArrayRef};
use serde::{Deserialize, Serialize};

use super::drift::categories::Categories;
use super::drift::numbers::{Finite, Numbers, number_shares};
use super::evidently;
use super::two_sample::TwoSampleTest;
use super::{
    KsPValue, RareCategories, Variances, anderson_darling, chi2_test, cramer_von_mises, distance, energy,
    epps_singleton, fisher_exact, g_test, hellinger, js_divergence, kl_divergence, ks, kuiper, mann_whitney,
    proportions_z, psi_test, t_test, total_variation,
};
use crate::profile::ColumnKind;
use crate::{Error, Result};

/// Quantile bins of numbers for distances over counts.
const BINS: usize = 10;

/// A distance or test by name. Its formula and source are those of the function that is named.
///
/// * Numbers (and times, as µs): those of [`for_numbers`](Self::for_numbers) take the finite values; nulls, NaN and infinities are
///   left out. Those over counts take 10 bins between quantiles of the reference, or one per value up to 64 of them, and a bin
///   for nulls with NaN, as [`DriftMethod::Psi`](super::DriftMethod::Psi).
/// * Texts and booleans: every category is counted, and so are nulls; only methods over counts apply.
/// * Those named after Evidently leave nulls out and bin as Evidently does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// [`super::ks_two_sample`].
    KolmogorovSmirnov,
    /// [`super::cramer_von_mises`].
    CramerVonMises,
    /// [`super::anderson_darling`] of two samples.
    AndersonDarling,
    /// [`super::kuiper`].
    Kuiper,
    /// [`super::mann_whitney_u`].
    MannWhitneyU,
    /// [`super::t_test`] with equal variances.
    StudentT,
    /// [`super::t_test`] with unequal variances.
    WelchT,
    /// [`super::epps_singleton`].
    EppsSingleton,
    /// [`super::energy_distance`].
    Energy,
    /// [`super::wasserstein_1d`].
    Wasserstein,
    /// [`super::wasserstein_evidently`].
    WassersteinEvidently,
    /// [`super::chi2_test`], rare categories merged.
    ChiSquare,
    /// [`super::chi2_test`], rare categories kept.
    ChiSquareUnmerged,
    /// [`super::g_test`], nothing merged.
    GTest,
    /// [`super::fisher_exact`], for columns of at most two values.
    FisherExact,
    /// [`super::proportions_z`], for columns of at most two values.
    ProportionsZ,
    /// [`super::psi_test`].
    Psi,
    /// [`super::psi_evidently`].
    PsiEvidently,
    /// [`super::js_divergence`], in bits.
    JsDivergenceBits,
    /// [`super::js_divergence`], in nats.
    JsDivergenceNats,
    /// [`super::js_distance`], the root of bits.
    JsDistanceBits,
    /// The root of [`super::js_divergence`] in nats.
    JsDistanceNats,
    /// [`super::js_evidently`].
    JsEvidently,
    /// [`super::kl_divergence`], in nats.
    KullbackLeibler,
    /// [`super::hellinger`].
    Hellinger,
    /// [`super::total_variation`].
    TotalVariation,
}

impl Method {
    /// Every method that takes samples of numbers.
    pub fn for_numbers() -> &'static [Self] {
        use Method::{
            AndersonDarling, CramerVonMises, Energy, EppsSingleton, KolmogorovSmirnov, Kuiper, MannWhitneyU, StudentT,
            Wasserstein, WassersteinEvidently, WelchT,
        };
        &[
            KolmogorovSmirnov,
            CramerVonMises,
            AndersonDarling,
            Kuiper,
            MannWhitneyU,
            StudentT,
            WelchT,
            EppsSingleton,
            Energy,
            Wasserstein,
            WassersteinEvidently,
        ]
    }

    /// Every method that takes counts of any number of categories or bins.
    pub fn for_counts() -> &'static [Self] {
        use Method::{
            ChiSquare, ChiSquareUnmerged, GTest, Hellinger, JsDistanceBits, JsDistanceNats, JsDivergenceBits,
            JsDivergenceNats, JsEvidently, KullbackLeibler, Psi, PsiEvidently, TotalVariation,
        };
        &[
            ChiSquare,
            ChiSquareUnmerged,
            GTest,
            Psi,
            PsiEvidently,
            JsDivergenceBits,
            JsDivergenceNats,
            JsDistanceBits,
            JsDistanceNats,
            JsEvidently,
            KullbackLeibler,
            Hellinger,
            TotalVariation,
        ]
    }
}

/// What one [`Method`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// What was computed.
    pub method: Method,
    /// The distance, or the statistic of the test.
    #[serde(with = "super::number")]
    pub statistic: f64,
    /// For tests: how likely at least that much is when nothing has changed.
    pub p_value: Option<f64>,
}

impl Comparison {
    fn distance(method: Method, statistic: f64) -> Self {
        Self { method, statistic, p_value: None }
    }

    fn test(method: Method, statistic: f64, p_value: f64) -> Self {
        Self { method, statistic, p_value: Some(p_value) }
    }

    fn of(method: Method, test: TwoSampleTest) -> Self {
        Self::test(method, test.statistic, test.p_value)
    }
}

/// Compares two columns, each in pieces of one kind, by `methods`; the answers are in their order.
///
/// Every column is read and sorted once, whatever the number of methods: `O(n log n)` and some 16 bytes of memory per number.
///
/// # Errors
/// [`Error::Schema`] when the kinds of the pieces differ, [`Error::Invalid`] when a method does not apply to the kind of column or
/// a side has too few values for it; other kinds than numbers, times, booleans and texts are refused.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::arrow::array::{ArrayRef, Float64Array};
/// use mlops_core::stats::{Method, compare_columns};
///
/// let column = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef;
/// let (reference, current) = (column(vec![1.0, 2.0, 3.0]), column(vec![2.0, 3.0, 4.0]));
/// let found = compare_columns(&[reference], &[current], &[Method::Wasserstein, Method::KolmogorovSmirnov])?;
/// assert_eq!((found[0].statistic, found[0].p_value), (1.0, None));
/// assert!(found[1].p_value.is_some_and(|p| p > 0.9));
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn compare_columns(reference: &[ArrayRef], current: &[ArrayRef], methods: &[Method]) -> Result<Vec<Comparison>> {
    let mut types = reference.iter().chain(current).map(Array::data_type);
    let Some(first) = types.next() else {
        return Err(Error::invalid("pieces of both columns", 0, "at least 1"));
    };
    let kind = ColumnKind::of(first);
    if let Some(other) = types.find(|other| ColumnKind::of(other) != kind) {
        return Err(Error::schema("compared", first, other));
    }
    match kind {
        ColumnKind::Number | ColumnKind::Time => {
            let sides = (Finite::of_pieces(reference)?, Finite::of_pieces(current)?);
            methods.iter().map(|&method| numbers(&sides.0, &sides.1, method)).collect()
        }
        ColumnKind::Boolean | ColumnKind::Text => {
            let sides = (Categories::of_pieces(reference)?, Categories::of_pieces(current)?);
            let (present, nulls) = (sides.0.aligned(&sides.1), (sides.0.missing, sides.1.missing));
            methods.iter().map(|&method| categories(&present, nulls, method)).collect()
        }
        ColumnKind::Other => Err(Error::invalid("array type", first, "a number, a time, a boolean or a text")),
    }
}

fn numbers(reference: &Finite, current: &Finite, method: Method) -> Result<Comparison> {
    let (a, b) = (reference.sorted.as_slice(), current.sorted.as_slice());
    if Method::for_numbers().contains(&method) {
        return samples(a, b, method);
    }
    match method {
        Method::PsiEvidently | Method::JsEvidently => {
            not_empty(a, b)?;
            counts(&evidently::binned(a, b), method)
        }
        Method::FisherExact | Method::ProportionsZ => two_values(&evidently::counted(a, b, 2), method),
        _ => counts(&binned(reference, current), method),
    }
}

/// Rows per bin, nulls last.
fn binned(reference: &Finite, current: &Finite) -> Vec<(u64, u64)> {
    if reference.rows == 0 || current.rows == 0 {
        return vec![(reference.rows, current.rows)];
    }
    let shares = number_shares(&Numbers::of(reference), &Numbers::of(current), BINS);
    let rows = |share: f64, rows: u64| (share * rows as f64).round() as u64;
    shares.into_iter().map(|(r, c)| (rows(r, reference.rows), rows(c, current.rows))).collect()
}

fn not_empty(a: &[f64], b: &[f64]) -> Result<()> {
    for (sample, which) in [(a, "reference"), (b, "current")] {
        if sample.is_empty() {
            return Err(Error::invalid("sample", which, "at least one value"));
        }
    }
    Ok(())
}

fn samples(a: &[f64], b: &[f64], method: Method) -> Result<Comparison> {
    not_empty(a, b)?;
    Ok(match method {
        Method::CramerVonMises if a.len() < 2 || b.len() < 2 => {
            return Err(Error::invalid("values of a sample", a.len().min(b.len()), "at least 2"));
        }
        Method::CramerVonMises => Comparison::of(method, cramer_von_mises::of_sorted(a, b)),
        Method::AndersonDarling => Comparison::of(method, anderson_darling::of_sorted(&[a, b])?),
        Method::Kuiper => Comparison::of(method, kuiper::of_sorted(a, b)),
        Method::MannWhitneyU => Comparison::of(method, mann_whitney::of_sorted(a, b)),
        Method::StudentT | Method::WelchT => {
            let variances = if method == Method::StudentT { Variances::Equal } else { Variances::Unequal };
            let test = t_test(a, b, variances)?;
            Comparison::test(method, test.statistic, test.p_value)
        }
        Method::EppsSingleton => Comparison::of(method, epps_singleton::of_sorted(a, b)?),
        Method::Energy => Comparison::distance(method, energy::of_sorted(a, b)),
        Method::Wasserstein => Comparison::distance(method, distance::wasserstein_of_sorted(a, b)),
        Method::WassersteinEvidently => Comparison::distance(method, evidently::scaled_of_sorted(a, b)?),
        _ => {
            let test = ks::of_sorted(a, b, KsPValue::Auto);
            Comparison::test(method, test.statistic, test.p_value)
        }
    })
}

fn categories(present: &[(u64, u64)], nulls: (u64, u64), method: Method) -> Result<Comparison> {
    match method {
        Method::PsiEvidently | Method::JsEvidently => counts(present, method),
        Method::FisherExact | Method::ProportionsZ => two_values(present, method),
        _ if Method::for_numbers().contains(&method) => {
            Err(Error::invalid("method", format!("{method:?}"), "one over counts, for texts and booleans"))
        }
        _ => counts(&present.iter().copied().chain([nulls]).collect::<Vec<_>>(), method),
    }
}

fn counts(counts: &[(u64, u64)], method: Method) -> Result<Comparison> {
    let (r, c): (Vec<u64>, Vec<u64>) = counts.iter().copied().unzip();
    let bits = || js_divergence(&r, &c);
    let nats = || Ok::<f64, Error>(js_divergence(&r, &c)? * std::f64::consts::LN_2);
    let value = match method {
        Method::ChiSquare | Method::ChiSquareUnmerged => {
            let rare = if method == Method::ChiSquare { RareCategories::Merged } else { RareCategories::Kept };
            let test = chi2_test(&r, &c, rare)?;
            return Ok(Comparison::test(method, test.statistic, test.p_value));
        }
        Method::GTest => return Ok(Comparison::of(method, g_test(&r, &c)?)),
        Method::Psi => {
            let test = psi_test(&r, &c)?;
            return Ok(Comparison::test(method, test.psi, test.p_value));
        }
        Method::PsiEvidently => evidently::psi_evidently_of_counts(&r, &c)?,
        Method::JsDivergenceBits => bits()?,
        Method::JsDivergenceNats => nats()?,
        Method::JsDistanceBits => bits()?.sqrt(),
        Method::KullbackLeibler => kl_divergence(&r, &c)?,
        Method::Hellinger => hellinger(&r, &c)?,
        Method::TotalVariation => total_variation(&r, &c)?,
        _ => nats()?.sqrt(),
    };
    Ok(Comparison::distance(method, value))
}

/// The greater of the two values is yes.
fn two_values(counts: &[(u64, u64)], method: Method) -> Result<Comparison> {
    let (no, yes) = match counts {
        [] => ((0, 0), (0, 0)),
        [only] => (*only, (0, 0)),
        [no, yes] => (*no, *yes),
        _ => return Err(Error::invalid("method", format!("{method:?}"), "one for more than two values")),
    };
    let sides = ([yes.0, no.0], [yes.1, no.1]);
    let test =
        if method == Method::FisherExact { fisher_exact(sides.0, sides.1)? } else { proportions_z(sides.0, sides.1)? };
    Ok(Comparison::of(method, test))
}

#[cfg(test)]
mod tests;
