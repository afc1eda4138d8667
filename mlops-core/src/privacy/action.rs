//! What is done with one value.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Cccd, Detector, Kind, PseudonymKey, date, plate};
use crate::time::Date;
use crate::{Error, Result};

/// Most characters that a mask may keep.
pub const KEEP_LAST_MAX: usize = 8;
/// Most days by which a date may be shifted.
pub const SHIFT_DAYS_MAX: u16 = 3_650;
/// Widest age band in years.
const BAND_YEARS_MAX: u8 = 50;
/// Oldest age that is believed.
const AGE_MAX: i64 = 130;

/// What is done with a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Action {
    /// Nothing.
    Keep,
    /// The column is left out; a value found inside a text makes the cell null.
    Drop,
    /// Letters and digits become `*`, but for the last `keep_last` (never more than half of them); separators stay. Done
    /// twice it changes nothing where `keep_last` is 0.
    Mask {
        /// Characters that stay readable, `0..=8`.
        keep_last: usize,
    },
    /// The value becomes `[cccd]`, `[phone]` …, or `[redacted]` where the kind is not known.
    Redact,
    /// The value becomes its [token](PseudonymKey::token).
    Token,
    /// The value becomes [another of the same shape](PseudonymKey::encrypt), from which who has the key can make it again.
    #[cfg(feature = "fpe")]
    Encrypt,
    /// The value becomes something broader that it belongs to.
    Generalise {
        /// What stays of it.
        to: Level,
    },
    /// A date moves by a number of days that is the same for all dates of one subject and secret to who has no key.
    ///
    /// Needs the policy's [subject](super::PolicyBuilder::subject). Intervals between the dates of one subject stay true.
    ShiftDate {
        /// Most days in either direction, `1..=3650`; no date moves by 0 days.
        days_max: u16,
    },
}

/// What stays of a generalised value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Level {
    /// Province of a citizen number's registration, a plate or a postal address: `Hà Nội`.
    Province,
    /// Band of the age in years: `30-39`. Of a number the number itself; of a date or citizen number the year of the
    /// detector's today less the year of birth.
    AgeBand {
        /// Width of a band, `2..=50`.
        years: u8,
    },
    /// Year of a date or of the birth that a citizen number tells: `1990`.
    Year,
    /// Year and month of a date: `1990-12`.
    Month,
}

/// What became of a value.
pub(super) enum Made<'v> {
    Text(Cow<'v, str>),
    Null,
    /// The action cannot be done on it.
    Unfit,
}

/// What actions are done with.
pub(super) struct Tools<'a> {
    pub(super) detector: &'a Detector,
    pub(super) key: Option<&'a PseudonymKey>,
}

impl Action {
    pub(super) fn check(self) -> Result<Self> {
        match self {
            Self::Mask { keep_last } if keep_last > KEEP_LAST_MAX => {
                Err(Error::invalid("keep_last", keep_last, "in 0..=8"))
            }
            Self::Generalise { to: Level::AgeBand { years } } if !(2..=BAND_YEARS_MAX).contains(&years) => {
                Err(Error::invalid("years", years, "in 2..=50"))
            }
            Self::ShiftDate { days_max } if !(1..=SHIFT_DAYS_MAX).contains(&days_max) => {
                Err(Error::invalid("days_max", days_max, "in 1..=3650"))
            }
            action => Ok(action),
        }
    }

    /// Whether the action means something for values of `kind`.
    pub(super) fn fits(self, kind: Kind) -> bool {
        match self {
            Self::Keep | Self::Drop | Self::Mask { .. } | Self::Redact | Self::Token => true,
            #[cfg(feature = "fpe")]
            Self::Encrypt => super::shape::has_shape(kind),
            Self::Generalise { to: Level::Province } => {
                matches!(kind, Kind::Cccd | Kind::Plate | Kind::PostalAddress)
            }
            Self::Generalise { to: Level::AgeBand { .. } | Level::Year } => {
                matches!(kind, Kind::Cccd | Kind::BirthDate)
            }
            Self::Generalise { to: Level::Month } | Self::ShiftDate { .. } => kind == Kind::BirthDate,
        }
    }

    /// Whether the action means something for values of any kind.
    pub(super) fn fits_all(self) -> bool {
        Kind::ALL.into_iter().all(|kind| self.fits(kind))
    }

    pub(super) const fn needs_key(self) -> bool {
        match self {
            Self::Token | Self::ShiftDate { .. } => true,
            #[cfg(feature = "fpe")]
            Self::Encrypt => true,
            _ => false,
        }
    }

    /// What stands for `value`, whose subject's dates move by `shift` days.
    pub(super) fn treat<'v>(
        self,
        value: &'v str,
        kind: Option<Kind>,
        tools: &Tools<'_>,
        shift: Option<i64>,
    ) -> Result<Made<'v>> {
        let own = |text: String| Made::Text(Cow::Owned(text));
        let fit = |text: Option<String>| text.map_or(Made::Unfit, own);
        Ok(match self {
            Self::Keep => Made::Text(Cow::Borrowed(value)),
            Self::Drop => Made::Null,
            Self::Mask { keep_last } => own(mask(value, keep_last)),
            Self::Redact => own(redacted(kind)),
            Self::Token => own(tools.key.ok_or_else(no_key)?.token(kind, value)),
            #[cfg(feature = "fpe")]
            Self::Encrypt => {
                let key = tools.key.ok_or_else(no_key)?;
                fit(kind.and_then(|kind| key.encrypt(kind, value).ok()))
            }
            Self::Generalise { to } => fit(to.of(value.trim(), kind, tools.detector)),
            Self::ShiftDate { .. } => fit(shift.and_then(|days| shifted(value.trim(), days))),
        })
    }
}

/// What stands for a value that must not show.
pub(super) fn redacted(kind: Option<Kind>) -> String {
    kind.map_or_else(|| "[redacted]".to_owned(), |kind| format!("[{kind}]"))
}

pub(super) fn no_key() -> Error {
    Error::invalid("key", "nothing", "a pseudonym key, which the policy's actions need")
}

impl Level {
    fn of(self, value: &str, kind: Option<Kind>, detector: &Detector) -> Option<String> {
        let citizen = || Cccd::parse(value, detector.year).ok().filter(|_| kind == Some(Kind::Cccd));
        let birth_year =
            || day(value).map(|found| found.date.year).or_else(|| citizen().map(|c| c.birth_year().into()));
        match self {
            Self::Province => match kind {
                Some(Kind::Plate) => plate::province(value).map(str::to_owned),
                Some(Kind::Cccd) => citizen()?.province().map(str::to_owned),
                _ => detector.lexicon.places.province_of(value).map(str::to_owned),
            },
            Self::AgeBand { years } => {
                let number = value
                    .parse::<f64>()
                    .ok()
                    .filter(|age| age.is_finite() && kind != Some(Kind::Cccd))
                    .map(|age| age.floor() as i64);
                let age = number.or_else(|| birth_year().map(|year| i64::from(detector.year) - year))?;
                let years = i64::from(years);
                let from = age.div_euclid(years) * years;
                (0..=AGE_MAX).contains(&age).then(|| format!("{from}-{}", from + years - 1))
            }
            Self::Year => birth_year().map(|year| year.to_string()),
            Self::Month => day(value).map(|found| format!("{:04}-{:02}", found.date.year, found.date.month)),
        }
    }
}

/// The date that `value` is, or that it starts with when a time follows.
fn day(value: &str) -> Option<date::Found> {
    let found = date::at(value, 0)?;
    let rest = &value[found.end..];
    let time = rest.strip_prefix(['T', ' ']).is_some_and(|time| time.starts_with(|c: char| c.is_ascii_digit()));
    (rest.is_empty() || time).then_some(found)
}

fn shifted(value: &str, days: i64) -> Option<String> {
    let found = day(value)?;
    let moved = Date::of_days(found.date.days() + days);
    (0..=9_999).contains(&moved.year).then(|| found.rewritten(value, moved))
}

fn mask(value: &str, keep_last: usize) -> String {
    let stays = |c: &char| c.is_ascii_punctuation() || c.is_whitespace();
    let is_mark = |c: &char| ('\u{300}'..='\u{36f}').contains(c);
    let readable = value.chars().filter(|c| !stays(c) && !is_mark(c)).count();
    let mut hidden = readable - keep_last.min(readable / 2);
    let mut masked = String::with_capacity(value.len());
    for c in value.chars() {
        if stays(&c) {
            masked.push(c);
        } else if hidden > 0 {
            hidden -= usize::from(!is_mark(&c));
            if !is_mark(&c) {
                masked.push('*');
            }
        } else if !(is_mark(&c) && masked.ends_with('*')) {
            masked.push(c);
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(to: Level, kind: Kind, value: &str, expected: Option<&str>) {
        let detector = Detector::builder().today(2026).build().unwrap();
        assert_eq!(to.of(value, Some(kind), &detector).as_deref(), expected, "{value}");
    }

    #[test]
    fn broader_values_are_told_by_kind() {
        check(Level::Province, Kind::Cccd, "079203000123", Some("Thành phố Hồ Chí Minh"));
        check(Level::Province, Kind::PostalAddress, "45 Lê Duẩn, P5, Q3, TPHCM", Some("Thành phố Hồ Chí Minh"));
        check(Level::Province, Kind::Plate, "43A-123.45", Some("Đà Nẵng"));
        check(Level::Province, Kind::PostalAddress, "12 Lê Lợi", None);
        let tens = Level::AgeBand { years: 10 };
        check(tens, Kind::BirthDate, "24/12/1990", Some("30-39")); // 36
        check(tens, Kind::Cccd, "001090012345", Some("30-39"));
        check(tens, Kind::BirthDate, "36.9", Some("30-39"));
        for bad in ["-1", "200", "NaN", "inf", "", "x"] {
            check(tens, Kind::BirthDate, bad, None);
        }
        check(Level::Year, Kind::Cccd, "001090012345", Some("1990"));
        check(Level::Month, Kind::BirthDate, "1990-12-24T10:00:00", Some("1990-12"));
        check(Level::Month, Kind::BirthDate, "1990-12-24 and more", None);
    }

    #[test]
    fn dates_move_in_their_own_layout() {
        assert_eq!(shifted("24/12/1990", 8).as_deref(), Some("01/01/1991"));
        assert_eq!(shifted("1990-12-24T10:00:00", -24).as_deref(), Some("1990-11-30T10:00:00"));
        assert_eq!(shifted("31/12/9999", 1), None);
        assert_eq!(shifted("hôm qua", 1), None);
    }
}
