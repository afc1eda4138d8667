//! Whole columns: where the name and the agreement of the values are the context.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, StringArray, UInt64Array};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use serde::Serialize;

use super::context::{Strength, Strengths};
use super::detect::Detector;
use super::scan::{Candidate, Scratch};
use super::{Kind, card, date, geo, net, phone, plate, tax};
use crate::{Error, Result};

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct ColumnVerdict {
    /// The kind that most values are of, if any is sure enough.
    pub kind: Option<Kind>,
    /// Values that are wholly of that kind.
    pub matched: u64,
    /// Values looked at: neither null nor blank.
    pub examined: u64,
    /// How sure the verdict is, in `0..=1`; 0 without a kind.
    pub confidence: f64,
}

/// What a column holds as a whole and inside of its texts.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ColumnSurvey {
    /// The kind that the column is of.
    pub verdict: ColumnVerdict,
    /// Values in which each kind was found, be they of it wholly or texts that hold it.
    pub holding: BTreeMap<Kind, u64>,
}

impl ColumnVerdict {
    const NOTHING: Self = Self { kind: None, matched: 0, examined: 0, confidence: 0.0 };
}

/// Share of random values of the right length that have the form of `kind`.
const fn chance(kind: Kind) -> f64 {
    match kind {
        Kind::Cccd => 0.015,
        Kind::Cmnd => 0.38,
        Kind::Phone => 0.05,
        Kind::TaxCode => 0.09,
        Kind::BankCard => 0.03,
        Kind::Passport => 0.2,
        Kind::Plate => 0.1,
        _ => 0.0,
    }
}

/// Whether a column of values of `kind` is never personal by its values alone: too much else looks alike.
const fn needs_a_name(kind: Kind) -> bool {
    matches!(kind, Kind::Cmnd | Kind::SocialInsurance | Kind::Passport | Kind::BirthDate)
}

/// Least bare confidence with which a value counts for a column whose name does not speak.
const COUNTS_BARE: f64 = 0.1;

impl Detector {
    /// Judges the column `name` by all of its `values`.
    ///
    /// A value counts when it is wholly of a kind (spaces around it are free). Where the name speaks for a kind, the
    /// confidence is `0.98 · √share`, so that a column half full of junk is still found; where it does not, it is the lower
    /// end of the 95 % Wilson interval of the share, less what chance gives, so that a handful of values is never enough.
    /// Nine-digit identity numbers need a name: a third of all nine-digit numbers look like one.
    ///
    /// * `values`: strings of any layout, or integers (programs like to drop the leading zero: `912345678` counts in a
    ///   column named as phone, `1099012345` in one named as CCCD). Any other type is examined as nothing.
    ///
    /// # Errors
    /// [`Error::Schema`] naming the column when its strings take more than 2 GiB.
    pub fn scan_column(&self, name: &str, values: &dyn Array) -> Result<ColumnVerdict> {
        self.survey(name, values, |_| {})
    }

    /// Judges a column, and shows the candidates of each value that is not blank.
    fn survey(&self, name: &str, values: &dyn Array, mut each: impl FnMut(&[Candidate])) -> Result<ColumnVerdict> {
        let prior = self.lexicon.of_column(name);
        let Some(column) = Texts::of(name, values, prior)? else { return Ok(ColumnVerdict::NOTHING) };
        let mut scratch = Scratch::default();
        let (mut examined, mut matched) = (0_u64, [0_u64; Kind::ALL.len()]);
        for text in column.iter().flatten() {
            let trimmed = text.trim();
            if trimmed.is_empty() {
                continue;
            }
            examined += 1;
            let candidates = self.candidates(&text, prior, &mut scratch);
            let whole = kinds_of_whole(&text, trimmed, candidates, prior);
            for kind in Kind::ALL.into_iter().filter(|kind| whole & kind.bit() != 0) {
                matched[kind.index()] += 1;
            }
            each(candidates);
        }
        Ok(self.verdict(prior, examined, &matched))
    }

    /// Judges the column `name` by at most `rows` of its `values`, evenly spaced, or by all; tells as well what stands inside
    /// of texts that are of no kind as a whole, such as phone numbers in notes.
    ///
    /// * `values`: as for [`scan_column`](Self::scan_column). The same rows are looked at every time.
    ///
    /// # Errors
    /// Those of [`scan_column`](Self::scan_column), and [`Error::Invalid`] when `rows` is 0.
    ///
    /// # Examples
    /// ```
    /// use mlops_core::arrow::array::StringArray;
    /// use mlops_core::privacy::{Detector, Kind};
    ///
    /// let detector = Detector::builder().today(2026).build()?;
    /// let notes = StringArray::from(vec!["gọi 0912345678", "không có gì", "thư an@x.vn"]);
    /// let survey = detector.survey_column("note", &notes, Some(1_000))?;
    /// assert_eq!((survey.verdict.kind, survey.holding[&Kind::Phone]), (None, 1));
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    pub fn survey_column(&self, name: &str, values: &dyn Array, rows: Option<usize>) -> Result<ColumnSurvey> {
        let most = rows.unwrap_or(usize::MAX);
        if most == 0 {
            return Err(Error::invalid("rows", 0, "1 or more"));
        }
        let sampled;
        let values = if values.len() > most {
            let picks = (0..most).map(|i| (i as u128 * values.len() as u128 / most as u128) as u64);
            sampled = take(values, &UInt64Array::from_iter_values(picks), None)?;
            sampled.as_ref()
        } else {
            values
        };
        let prior = self.lexicon.of_column(name);
        let mut holding = [0_u64; Kind::ALL.len()];
        let verdict = self.survey(name, values, |candidates| {
            let sure = candidates.iter().filter_map(|c| c.verdict(prior)).filter(|(_, sure)| *sure >= self.threshold());
            let kinds = sure.fold(0, |bits, (kind, _)| bits | kind.bit());
            for kind in Kind::ALL.into_iter().filter(|kind| kinds & kind.bit() != 0) {
                holding[kind.index()] += 1;
            }
        })?;
        let holding = Kind::ALL.into_iter().map(|kind| (kind, holding[kind.index()])).filter(|(_, n)| *n > 0).collect();
        Ok(ColumnSurvey { verdict, holding })
    }

    fn verdict(&self, prior: Strengths, examined: u64, matched: &[u64; Kind::ALL.len()]) -> ColumnVerdict {
        let mut best = ColumnVerdict { examined, ..ColumnVerdict::NOTHING };
        for kind in self.kinds() {
            let count = matched[kind.index()];
            let confidence = confidence(kind, prior[kind.index()], count, examined);
            if confidence >= self.threshold() && confidence > best.confidence {
                best = ColumnVerdict { kind: Some(kind), matched: count, examined, confidence };
            }
        }
        best
    }
}

/// Bits of the kinds that the whole of `text`, which is `trimmed` and blanks, could be of.
fn kinds_of_whole(text: &str, trimmed: &str, candidates: &[Candidate], prior: Strengths) -> u32 {
    let [only] = candidates else { return 0 };
    let from = text.len() - text.trim_start().len();
    let opened = only.start == from || (only.start == from + 1 && trimmed.starts_with('('));
    if !opened || only.end != from + trimmed.len() {
        return 0;
    }
    let counts = |bare: f64, kind: Kind| bare >= COUNTS_BARE || prior[kind.index()] == Strength::Strong;
    only.readings.iter().flatten().filter(|r| counts(r.bare, r.kind)).fold(0, |bits, r| bits | r.kind.bit())
}

fn confidence(kind: Kind, prior: Strength, matched: u64, examined: u64) -> f64 {
    if matched == 0 {
        return 0.0;
    }
    let share = matched as f64 / examined as f64;
    if prior == Strength::Strong {
        return 0.98 * share.sqrt();
    }
    let weight = match (kind, prior) {
        (kind, _) if needs_a_name(kind) => 0.4,
        (_, Strength::None) => 0.97,
        (_, _) => 0.98,
    };
    let beyond_chance = (wilson_low(share, examined as f64) - chance(kind)) / (1.0 - chance(kind));
    weight * beyond_chance.max(0.0)
}

/// Lower end of the 95 % Wilson score interval of a share among `n` values.
fn wilson_low(share: f64, n: f64) -> f64 {
    const Z: f64 = 1.959_963_984_540_054;
    let z2 = Z * Z / n;
    let half = Z * ((share * (1.0 - share) + z2 / 4.0) / n).sqrt();
    ((share + z2 / 2.0 - half) / (1.0 + z2)).max(0.0)
}

/// A column as texts.
pub(super) struct Texts {
    values: StringArray,
    /// Integers in a column named as CCCD: zeros lost at the front are put back.
    pads: bool,
}

impl Texts {
    /// The texts of `values`; none when it holds neither strings nor integers.
    pub(super) fn of(name: &str, values: &dyn Array, prior: Strengths) -> Result<Option<Self>> {
        let whole = values.data_type().is_integer();
        if !whole && !is_text(values.data_type()) {
            return Ok(None);
        }
        let pads = whole && prior[Kind::Cccd.index()] == Strength::Strong;
        Ok(Some(Self { values: as_text(name, values)?, pads }))
    }

    /// Texts of values that are neither strings nor integers.
    pub(super) const fn plain(values: StringArray) -> Self {
        Self { values, pads: false }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Option<Cow<'_, str>>> {
        self.values.iter().map(|value| value.map(|text| self.padded(text)))
    }

    fn padded<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let lost = self.pads && matches!(text.len(), 10 | 11) && text.bytes().all(|b| b.is_ascii_digit());
        if lost { Cow::Owned(format!("{text:0>12}")) } else { Cow::Borrowed(text) }
    }
}

/// Whether `data_type` holds strings.
pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// Any column of single values as strings.
pub(super) fn as_text(name: &str, values: &dyn Array) -> Result<StringArray> {
    if let Some(strings) = values.as_string_opt::<i32>() {
        return Ok(strings.clone());
    }
    // The cause could quote a value, so that only the type is told.
    let refuse = |_| Error::schema(name, "values that have a text of less than 2 GiB", values.data_type());
    let cast = cast(values, &DataType::Utf8).map_err(refuse)?;
    cast.as_string_opt::<i32>()
        .cloned()
        .ok_or_else(|| Error::schema(name, "values that have a text", values.data_type()))
}

/// The kind of a value on its own, by form alone: what makes one value's token the same in every table.
pub(super) fn form_of(detector: &Detector, text: &str, said: Option<Kind>) -> Option<Kind> {
    let trimmed = text.trim();
    let digits = |n: usize| trimmed.chars().filter_map(super::kind::digit).count() == n;
    let is = |kind: Kind| match kind {
        Kind::Cccd => digits(12) && super::Cccd::parse(trimmed, detector.year).is_ok(),
        Kind::Cmnd => digits(9) && Kind::Cmnd.normalise(trimmed).len() == 9,
        Kind::Phone => phone::canonical(trimmed).is_some(),
        Kind::Email => trimmed
            .find('@')
            .is_some_and(|at| super::mail::around(trimmed, at).is_some_and(|found| found.bytes == (0..trimmed.len()))),
        Kind::TaxCode => tax::canonical(trimmed).is_some(),
        Kind::SocialInsurance => digits(10) && Kind::SocialInsurance.normalise(trimmed).len() == 10,
        Kind::Passport => matches!(trimmed.len(), 8 | 9) && plate::passport_start(trimmed, 1..trimmed.len()) == Some(0),
        Kind::Plate => {
            trimmed.starts_with(|c: char| c.is_ascii_digit())
                && plate::at(trimmed, 0).is_some_and(|f| f.end == trimmed.len())
        }
        Kind::BankCard => card::canonical(trimmed).is_some(),
        Kind::Iban => trimmed.is_ascii() && card::iban_at(trimmed, 0) == Some(trimmed.len()),
        Kind::IpAddress => net::canonical_ip(trimmed).is_some(),
        Kind::MacAddress => net::canonical_mac(trimmed).is_some(),
        Kind::Coordinates => geo::canonical(trimmed).is_some(),
        Kind::BirthDate => date::whole(trimmed).is_some(),
        Kind::PersonName | Kind::PostalAddress => said == Some(kind),
    };
    let bare_nine = digits(9) && !trimmed.starts_with('+');
    // What has a check digit or a shape of its own; the others are only what somebody said that they are.
    let by_form = [
        Kind::Email,
        Kind::Cccd,
        Kind::Cmnd,
        Kind::Phone,
        Kind::BankCard,
        Kind::Iban,
        Kind::IpAddress,
        Kind::MacAddress,
        Kind::Plate,
    ];
    let mut by_form = by_form.into_iter().filter(|k| *k != Kind::Phone || !bare_nine);
    said.filter(|kind| is(*kind)).or_else(|| by_form.find(|k| is(*k)))
}
