//! What the texts of a column mean, told from the forms of a sample of its different values.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::stats::bytes::{Reader, Writer};
use crate::{Error, Result};

/// What values mean, beyond their physical type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Semantic {
    /// E-mail addresses.
    Email,
    /// Addresses with a scheme, such as `https://…` or `s3://…`.
    Url,
    /// UUIDs in their form with hyphens.
    Uuid,
    /// IPv4 or IPv6 addresses.
    Ip,
    /// Dates, with or without a time of day.
    Date,
    /// Numbers held as text, without those that begin with a zero: these are codes.
    Number,
    /// Two values that say yes and no, as texts or as 0 and 1.
    Boolean,
    /// As many values as rows, as far as the estimate can tell: a key.
    Identifier,
    /// Few values, each of many rows.
    Category,
    /// Sentences: three words and more in the mean.
    FreeText,
    /// Numbers that are measured or counted.
    Measure,
    /// Points in time.
    Time,
}

impl Semantic {
    /// The name that JSON and pages use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Url => "url",
            Self::Uuid => "uuid",
            Self::Ip => "ip",
            Self::Date => "date",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Identifier => "identifier",
            Self::Category => "category",
            Self::FreeText => "free_text",
            Self::Measure => "measure",
            Self::Time => "time",
        }
    }
}

impl fmt::Display for Semantic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the values of a column mean, and how sure that is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Meaning {
    /// What they mean.
    pub semantic: Semantic,
    /// Share of the values looked at that have the form; 1 where the counts of the whole column say it.
    pub share: f64,
    /// Values looked at: of texts a sample of the different ones.
    pub examined: u64,
}

/// Whether a text has a form.
type HasForm = fn(&str) -> bool;

/// The forms that are looked for, in the order in which they are preferred; bit `i` is that of `FORMS[i]`.
const FORMS: [(Semantic, HasForm); 7] = [
    (Semantic::Email, is_email),
    (Semantic::Url, is_url),
    (Semantic::Uuid, is_uuid),
    (Semantic::Ip, is_ip),
    (Semantic::Date, is_date),
    (Semantic::Boolean, is_boolean),
    (Semantic::Number, is_number),
];

/// Share of the sampled values that must have a form.
const SHARE_MIN: f64 = 0.9;

fn forms_of(text: &str) -> u8 {
    let text = text.trim();
    FORMS.iter().enumerate().filter(|(_, (_, has_form))| has_form(text)).fold(0, |bits, (bit, _)| bits | 1 << bit)
}

/// The forms of the different values with the smallest hashes: a random sample of the set, whatever order and split, that
/// holds no value. A value that is in the sample has been in it from its first row on, so its count is exact.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Shapes {
    /// By hash: forms and rows.
    values: BTreeMap<u64, (u8, u64)>,
    /// Hashes above this are not in the sample; all are while it is not full.
    limit: Option<u64>,
}

impl Shapes {
    /// Different values that are looked at.
    pub(crate) const SIZE: usize = 256;

    #[inline]
    pub(crate) fn update(&mut self, hash: u64, text: &str, count: u64) {
        if self.limit.is_none_or(|limit| hash <= limit) {
            self.values.entry(hash).or_insert_with(|| (forms_of(text), 0)).1 += count;
            self.trim();
        }
    }

    fn trim(&mut self) {
        while self.values.len() > Self::SIZE {
            self.values.pop_last();
            self.limit = self.values.last_key_value().map(|(&hash, _)| hash);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (&hash, &(forms, count)) in &other.values {
            self.values.entry(hash).or_insert((forms, 0)).1 += count;
        }
        // What one side has dropped is not known of the other's values above that limit.
        if let Some(limit) = self.limit.into_iter().chain(other.limit).min() {
            self.limit = Some(limit);
            self.values.retain(|&hash, _| hash <= limit);
        }
        self.trim();
    }

    /// Different values in the sample.
    pub(crate) fn examined(&self) -> u64 {
        self.values.len() as u64
    }

    /// Whether no sampled value was seen twice.
    pub(crate) fn is_unique(&self) -> bool {
        self.values.values().all(|&(_, count)| count == 1)
    }

    /// The form that nearly all sampled values have, and their share.
    pub(crate) fn form(&self) -> Option<(Semantic, f64)> {
        let share = |bit: usize| {
            let with = self.values.values().filter(|(forms, _)| forms & 1 << bit != 0).count();
            with as f64 / self.values.len() as f64
        };
        let found = FORMS.iter().enumerate().map(|(bit, &(semantic, _))| (semantic, share(bit)));
        found.into_iter().find(|&(semantic, share)| {
            // `0` and `1` are truth values, a column of zeros is one of numbers.
            share >= SHARE_MIN && (semantic != Semantic::Boolean || self.values.len() > 1)
        })
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u64(self.limit.unwrap_or(u64::MAX));
        out.u64(self.values.len() as u64);
        for (&hash, &(forms, count)) in &self.values {
            out.u64(hash);
            out.u8(forms);
            out.u64(count);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self> {
        let limit = Some(from.u64()?).filter(|&limit| limit < u64::MAX);
        let count = from.count(17)?;
        let values =
            (0..count).map(|_| Ok((from.u64()?, (from.u8()?, from.u64()?)))).collect::<Result<BTreeMap<_, _>>>()?;
        let shapes = Self { values, limit };
        if shapes.values.len() == count { shapes.check() } else { Err(from.corrupt("a repeated hash")) }
    }

    /// What every state has that came from texts.
    fn check(self) -> Result<Self> {
        let is_full = self.values.len() == Self::SIZE;
        let sane = self.values.len() <= Self::SIZE
            && self
                .values
                .values()
                .all(|&(forms, count)| u32::from(forms) < 1 << FORMS.len() && count > 0 && count <= 1 << 56)
            && self
                .limit
                .is_none_or(|limit| is_full && self.values.last_key_value().is_some_and(|(&last, _)| last <= limit));
        if sane { Ok(self) } else { Err(Error::corrupt("sample of texts", "fields contradict each other")) }
    }
}

/// The stored form: a limit, and hash, forms and rows of each value.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    limit: Option<u64>,
    values: Vec<(u64, u8, u64)>,
}

impl Serialize for Shapes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let values = self.values.iter().map(|(&hash, &(forms, count))| (hash, forms, count)).collect();
        Wire { limit: self.limit, values }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Shapes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        use serde::de::Error as _;
        let Wire { limit, values } = Wire::deserialize(deserializer)?;
        let held = values.len();
        let values: BTreeMap<_, _> = values.into_iter().map(|(hash, forms, count)| (hash, (forms, count))).collect();
        if values.len() < held {
            return Err(D::Error::custom("a repeated hash"));
        }
        Self { values, limit }.check().map_err(D::Error::custom)
    }
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let odd = |c: char| {
        c.is_whitespace() || matches!(c, '@' | '<' | '>' | '(' | ')' | ',' | ';' | ':' | '"' | '[' | ']' | '\\')
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = domain.rsplit('.').next().unwrap_or_default();
    (1..=64).contains(&local.len())
        && !local.contains(odd)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && domain.len() <= 255
        && domain.contains('.')
        && domain.split('.').all(is_label)
        && last.chars().count() > 1
        && !last.bytes().all(|b| b.is_ascii_digit())
}

fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.len() <= 20
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        && !rest.is_empty()
        && !rest.contains(char::is_whitespace)
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_ip(text: &str) -> bool {
    text.len() <= 45 && text.parse::<IpAddr>().is_ok()
}

fn is_boolean(text: &str) -> bool {
    const WORDS: [&str; 14] = ["true", "false", "yes", "no", "y", "n", "t", "f", "0", "1", "on", "off", "có", "không"];
    text.len() <= 8 && WORDS.contains(&text.to_lowercase().as_str())
}

fn is_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']).as_bytes();
    let is_code = matches!(digits, [b'0', b'0'..=b'9', ..]);
    text.len() <= 40
        && !is_code
        && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'))
        && text.parse::<f64>().is_ok()
}

/// `YYYY-MM-DD`, `YYYY/MM/DD`, `DD/MM/YYYY`, `DD-MM-YYYY` or `DD.MM.YYYY`, with or without a time of day behind it.
fn is_date(text: &str) -> bool {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let Some(separator) = date.chars().find(|c| matches!(c, '-' | '/' | '.')) else { return false };
    let parts: Vec<&str> = date.split(separator).collect();
    let [a, b, c] = parts[..] else { return false };
    let number = |part: &str, digits: std::ops::RangeInclusive<usize>| {
        let is_whole = digits.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        is_whole.then(|| part.parse::<u32>().unwrap_or(0))
    };
    let day_and_month = |day: &str, month: &str| {
        number(day, 1..=2).is_some_and(|day| (1..=31).contains(&day))
            && number(month, 1..=2).is_some_and(|month| (1..=12).contains(&month))
    };
    let is_year = |part: &str| number(part, 4..=4).is_some();
    let is_dated = (is_year(a) && day_and_month(c, b)) || (is_year(c) && day_and_month(a, b));
    is_dated && time.is_none_or(is_time)
}

/// `HH:MM`, with seconds, a fraction and an offset or not.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let at = |place: usize, most: u8| {
        let pair = bytes.get(place..place + 2).filter(|pair| pair.iter().all(u8::is_ascii_digit));
        pair.is_some_and(|pair| (pair[0] - b'0') * 10 + pair[1] - b'0' <= most)
    };
    at(0, 23)
        && bytes.get(2) == Some(&b':')
        && at(3, 59)
        && bytes.len() <= 40
        && bytes[5..]
            .iter()
            .all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'+' | b'-' | b'Z' | b' ' | b'U' | b'T' | b'C'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(semantic: Semantic, yes: &[&str], no: &[&str]) {
        let (_, has_form) = FORMS.iter().find(|form| form.0 == semantic).unwrap();
        yes.iter().for_each(|text| assert!(has_form(text), "{semantic}: {text}"));
        no.iter().for_each(|text| assert!(!has_form(text), "{semantic}: {text}"));
    }

    #[test]
    fn forms_are_told_apart() {
        check(
            Semantic::Email,
            &["a@b.vn", "nguyễn.a+x@mail.com.vn"],
            &["a@b", "@b.vn", "a b@c.vn", "a@b..vn", "a@1.2", "a@@b.vn", ".a@b.vn"],
        );
        check(
            Semantic::Url,
            &["https://a.vn/x?y", "s3://bucket/key"],
            &["a://", "http://a b", "//a.vn", "1a://b", "mailto:a@b.vn"],
        );
        check(
            Semantic::Uuid,
            &["123e4567-e89b-12d3-a456-426614174000"],
            &["123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400g"],
        );
        check(Semantic::Ip, &["10.0.0.1", "::1", "2001:db8::8a2e:370:7334"], &["10.0.0.256", "10.0.0", "1"]);
        check(
            Semantic::Date,
            &["2024-02-29", "1/12/2024", "29.02.2024", "2024-02-29T23:59:59.5Z", "2024/01/05 07:30"],
            &["2024-13-01", "32/01/2024", "2024-01", "1.2.3", "2024-01-05 25:00", "10.0.0.1", "2024-01-05x"],
        );
        check(
            Semantic::Number,
            &["0", "-1.5e3", "0.5", "+7"],
            &["007", "", "-", "nan", "inf", "1,5", "0912345678", "1e"],
        );
        check(Semantic::Boolean, &["TRUE", "Không", "0", "y"], &["2", "", "yess"]);
    }

    fn shapes(texts: impl IntoIterator<Item = String>) -> Shapes {
        let mut shapes = Shapes::default();
        texts.into_iter().for_each(|text| shapes.update(crate::stats::hash::of_text(&text), &text, 1));
        shapes
    }

    #[test]
    fn order_and_split_do_not_change_the_sample() {
        let texts = |range: std::ops::Range<u32>| range.map(|i| format!("u{}@mail.vn", i % 900));
        let whole = shapes(texts(0..2000));
        let mut parts = shapes(texts(700..2000));
        parts.merge(&shapes(texts(0..700)));
        assert_eq!(parts, whole);
        assert_eq!(shapes(texts(0..2000).rev()), whole);
        assert_eq!((whole.examined(), whole.form()), (256, Some((Semantic::Email, 1.0))));
        assert!(!whole.is_unique() && shapes(texts(0..900)).is_unique());
        let mut out = Writer::default();
        whole.write(&mut out);
        let bytes = out.finish();
        assert_eq!(Shapes::read(&mut Reader::new(&bytes, "test")).unwrap(), whole);
        assert_eq!(serde_json::from_str::<Shapes>(&serde_json::to_string(&whole).unwrap()).unwrap(), whole);
        assert!(serde_json::from_str::<Shapes>(r#"{"limit":null,"values":[[1,0,1],[1,0,1]]}"#).is_err());
        assert!(serde_json::from_str::<Shapes>(r#"{"limit":5,"values":[[1,0,1]]}"#).is_err());
    }

    #[test]
    fn a_form_must_be_that_of_nearly_all_values() {
        let mixed = |odd: u32| shapes((0..100).map(|i| if i < odd { format!("word {i}") } else { format!("{i}.5") }));
        assert_eq!(mixed(10).form(), Some((Semantic::Number, 0.9)));
        assert_eq!(mixed(11).form(), None);
        assert_eq!(shapes(["0".to_owned(), "1".to_owned()]).form(), Some((Semantic::Boolean, 1.0)));
        assert_eq!(shapes(["0".to_owned()]).form(), Some((Semantic::Number, 1.0)));
        assert_eq!(shapes([]).form(), None);
    }
}
