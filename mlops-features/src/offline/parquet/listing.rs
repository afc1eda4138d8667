//! Which files make up the history of a view.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Core, Result};

const SUFFIX: &str = ".parquet";
const DIGITS: usize = 20;

/// Appends that are in one file, by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Span {
    /// A single append.
    pub(super) fn of(number: u64) -> Self {
        Self { first: number, last: number }
    }

    pub(super) fn file_name(self) -> String {
        match self {
            Self { first, last } if first == last => format!("{first:0DIGITS$}{SUFFIX}"),
            Self { first, last } => format!("{first:0DIGITS$}-{last:0DIGITS$}{SUFFIX}"),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let number = |text: &str| {
            let digits = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u64>().ok()).flatten()
        };
        match name.strip_suffix(SUFFIX)?.split_once('-') {
            None => Some(Self::of(number(name.strip_suffix(SUFFIX)?)?)),
            Some((first, last)) => {
                let span = Self { first: number(first)?, last: number(last)? };
                (span.first < span.last).then_some(span)
            }
        }
    }

    pub(super) fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// The files of `folder` that hold each append once, ascending, with every append that was there before the greatest of
/// them; none when there is no such folder.
pub(super) fn list(folder: &Path) -> Result<Vec<Span>> {
    let first = covering(read(folder)?);
    if is_whole(&first) { Ok(first) } else { Ok(settle(&first, read(folder)?)) }
}

/// Without the files whose appends are all in another one, ascending.
pub(super) fn covering(mut found: Vec<Span>) -> Vec<Span> {
    found.sort_unstable_by_key(|span| (span.first, std::cmp::Reverse(span.last)));
    let mut kept: Vec<Span> = Vec::with_capacity(found.len());
    for span in found {
        if kept.last().is_none_or(|last| !last.covers(span)) {
            kept.push(span);
        }
    }
    kept
}

/// Whether no append is missing. Numbers are given one after the other, from 0.
fn is_whole(spans: &[Span]) -> bool {
    let starts = spans.iter().map(|span| span.first);
    let ends = spans.iter().map(|span| span.last.wrapping_add(1));
    starts.eq(std::iter::once(0).chain(ends).take(spans.len()))
}

/// What is there for certain, from two readings of one folder.
///
/// A reading may leave out a file that appears while it goes on and yet show a later one, over which a reader would
/// move its position for ever. All that stand below the greatest number of the first reading were there before the
/// second began, and are in it: what is missing still was taken away.
fn settle(first: &[Span], mut second: Vec<Span>) -> Vec<Span> {
    let last = first.last().map(|span| span.last);
    second.retain(|span| last.is_some_and(|last| span.last <= last));
    covering(second)
}

/// All files, those that are covered by others too, in no order.
pub(super) fn read(folder: &Path) -> Result<Vec<Span>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Core::io(folder, e).into()),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| Core::io(folder, e))?.file_name();
        found.extend(name.to_str().and_then(Span::parse));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(numbers: &[(u64, u64)]) -> Vec<Span> {
        numbers.iter().map(|(first, last)| Span { first: *first, last: *last }).collect()
    }

    fn singles(numbers: &[u64]) -> Vec<Span> {
        numbers.iter().map(|number| Span::of(*number)).collect()
    }

    #[test]
    fn an_append_that_a_reading_of_the_folder_left_out_is_found_by_the_second() {
        assert!(is_whole(&[]) && is_whole(&singles(&[0, 1, 2])) && is_whole(&spans(&[(0, 4), (5, 5), (6, 9)])));
        assert!(!is_whole(&singles(&[1, 2])) && !is_whole(&singles(&[0, 2])) && !is_whole(&spans(&[(0, 4), (6, 6)])));
        // 1 appeared behind the first reading, 2 before it; 3 came later and may hide another one.
        assert_eq!(settle(&singles(&[0, 2]), singles(&[0, 1, 2, 3])), singles(&[0, 1, 2]));
        assert_eq!(settle(&singles(&[5, 6]), singles(&[5, 6])), singles(&[5, 6]), "what somebody removed stays away");
        assert_eq!(settle(&singles(&[1]), vec![]), []);
        // Meanwhile 0 to 3 became one file, whose last append the first reading did not see.
        let second = [singles(&[0, 1, 2, 3]), spans(&[(0, 3)])].concat();
        assert_eq!(settle(&singles(&[0, 2]), second), singles(&[0, 1, 2]));
    }

    #[test]
    fn a_file_of_several_appends_stands_for_theirs() {
        let found = [singles(&[3, 0, 2, 1, 4]), spans(&[(1, 2), (0, 3)])].concat();
        assert_eq!(covering(found), spans(&[(0, 3), (4, 4)]));
    }

    #[test]
    fn a_folder_is_listed_without_what_is_no_append() {
        let folder = tempfile::tempdir().unwrap();
        for span in spans(&[(0, 0), (1, 1), (3, 3), (0, 1)]) {
            fs::write(folder.path().join(span.file_name()), b"").unwrap();
        }
        for other in [".append-x", "1.parquet", "00000000000000000005-00000000000000000004.parquet", "x.parquet"] {
            fs::write(folder.path().join(other), b"").unwrap();
        }
        assert_eq!(list(folder.path()).unwrap(), spans(&[(0, 1), (3, 3)]));
        assert!(list(&folder.path().join("missing")).unwrap().is_empty());
    }
}
