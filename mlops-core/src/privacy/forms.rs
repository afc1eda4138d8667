//! What is read whole from where it starts: addresses of machines, plates, passports, accounts, dates, places.
//!
//! Each reader looks at a bounded number of bytes, and is asked only where the bytes around a number allow it, so that the
//! pass stays linear.

use std::ops::Range;

use super::number::Reading;
use super::{Kind, card, date, geo, net, plate};

/// Something read whole.
pub(super) struct Found {
    pub(super) bytes: Range<usize>,
    pub(super) reading: Reading,
}

/// What starts with, or around, the run of `count` digits at `run`. A postal address is only announced: the lists that it is
/// read with are the detector's.
pub(super) fn at_digits(text: &str, run: Range<usize>, count: u8) -> Option<Found> {
    let bytes = text.as_bytes();
    if run.len() != usize::from(count) {
        return None; // full-width digits
    }
    let before = run.start.checked_sub(1).map_or(b' ', |i| bytes[i]);
    if before.is_ascii_alphabetic() {
        return behind_letters(text, &run, count);
    }
    if before == b'_' || before.is_ascii_digit() {
        return None;
    }
    let next = bytes.get(run.end).copied().unwrap_or(b' ');
    match (count, next) {
        (1..=3, b'.') => {
            address(text, run.start).or_else(|| place(text, run.start)).or_else(|| day(text, run.start, before))
        }
        (1..=2 | 4, b'/' | b'-') => {
            vehicle(text, &run).or_else(|| day(text, run.start, before)).or_else(|| house(text, &run, next))
        }
        (2, b'A'..=b'Z') => vehicle(text, &run).or_else(|| house(text, &run, next)),
        (1..=2, b' ') if matches!(bytes.get(run.end + 1), Some(b't' | b'T')) => {
            day(text, run.start, before).or_else(|| house(text, &run, next))
        }
        (1..=4, _) => house(text, &run, next),
        _ => None,
    }
}

/// Digits right behind a letter: the rest of a passport's or an account's number.
fn behind_letters(text: &str, run: &Range<usize>, count: u8) -> Option<Found> {
    if matches!(count, 7 | 8) {
        let start = plate::passport_start(text, run.clone())?;
        return Some(Found { bytes: start..run.end, reading: Reading::new(Kind::Passport, 0.12, 0.3, 0.96) });
    }
    let start = run.start.checked_sub(2)?;
    let letters = text.as_bytes()[start..run.start].iter().all(u8::is_ascii_uppercase);
    let free =
        start.checked_sub(1).is_none_or(|i| !text.as_bytes()[i].is_ascii_alphanumeric() && text.as_bytes()[i] < 0x80);
    if count < 2 || !letters || !free {
        return None;
    }
    let end = card::iban_at(text, start)?;
    Some(Found { bytes: start..end, reading: Reading { against: 0.9, ..Reading::new(Kind::Iban, 0.97, 0.98, 0.99) } })
}

/// What has its first colon or hyphen at byte `at`.
pub(super) fn at_mark(text: &str, at: usize) -> Option<Found> {
    let hex = |i: usize| text.as_bytes().get(i).is_some_and(u8::is_ascii_hexdigit);
    if text.as_bytes()[at] == b'-' {
        if !(hex(at + 1) && hex(at + 2) && text.as_bytes().get(at + 3) == Some(&b'-')) {
            return None;
        }
        let found = net::mac_at_hyphen(text, at)?;
        return Some(Found { bytes: found.start..found.end, reading: hardware(found.doubtful) });
    }
    if !(hex(at + 1) || text.as_bytes().get(at + 1) == Some(&b':')) {
        return None;
    }
    let (found, mac) = net::at_colon(text, at)?;
    let reading = if mac { hardware(found.doubtful) } else { machine(found.doubtful) };
    Some(Found { bytes: found.start..found.end, reading })
}

const fn hardware(doubtful: bool) -> Reading {
    let bare = if doubtful { 0.3 } else { 0.92 };
    Reading { against: bare, ..Reading::new(Kind::MacAddress, bare, 0.95, 0.98) }
}

const fn machine(doubtful: bool) -> Reading {
    let bare = if doubtful { 0.35 } else { 0.85 };
    Reading::new(Kind::IpAddress, bare, 0.9, if doubtful { 0.75 } else { 0.98 })
}

fn address(text: &str, start: usize) -> Option<Found> {
    let found = net::v4_at(text, start)?;
    Some(Found { bytes: found.start..found.end, reading: machine(found.doubtful) })
}

fn place(text: &str, run_start: usize) -> Option<Found> {
    let bytes = text.as_bytes();
    let signed = run_start > 0 && matches!(bytes[run_start - 1], b'-' | b'+');
    let start = run_start - usize::from(signed);
    if start > 0 && (bytes[start - 1].is_ascii_alphanumeric() || bytes[start - 1] == b'.') {
        return None;
    }
    let found = geo::pair_at(text, start)?;
    // Two small numbers are seldom a place: around 0, 0 there is sea.
    let small = found.latitude.abs() < 10.0 && found.longitude.abs() < 10.0;
    let bare = match (found.telling, small) {
        (true, false) => 0.75,
        (true, true) => 0.4,
        (false, _) => 0.1,
    };
    Some(Found { bytes: start..found.end, reading: Reading::new(Kind::Coordinates, bare, 0.8, 0.97) })
}

fn vehicle(text: &str, run: &Range<usize>) -> Option<Found> {
    let found = plate::at(text, run.start).filter(|_| run.len() == 2)?;
    let bare = if found.telling { 0.8 } else { 0.3 };
    Some(Found { bytes: run.start..found.end, reading: Reading::new(Kind::Plate, bare, 0.85, 0.97) })
}

fn day(text: &str, start: usize, before: u8) -> Option<Found> {
    let found = date::at(text, start).filter(|_| !matches!(before, b'/' | b'-' | b'.'))?;
    let bare = if (1900..=2100).contains(&found.date.year) { 0.15 } else { 0.05 };
    Some(Found { bytes: start..found.end, reading: Reading::new(Kind::BirthDate, bare, 0.5, bare * 6.4) })
}

/// A number of up to four digits with a word behind it.
fn house(text: &str, run: &Range<usize>, next: u8) -> Option<Found> {
    let could_be = match next {
        b' ' => text.get(run.end + 1..).is_some_and(|rest| rest.starts_with(char::is_alphabetic)),
        b',' => text[run.end + 1..].starts_with(' '),
        b'/' | b'-' => text.as_bytes().get(run.end + 1).is_some_and(u8::is_ascii_digit),
        letter => letter.is_ascii_alphabetic(),
    };
    let reading = Reading::new(Kind::PostalAddress, 0.0, 0.0, 0.0);
    (could_be && run.len() <= 4).then(|| Found { bytes: run.clone(), reading })
}
