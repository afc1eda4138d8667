//! Which words there are, and how rare they are.

use std::collections::HashMap;

use arrow::array::StringArray;
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use super::super::{MODE_BYTES_MAX, MODE_VALUES_MAX};
use super::words::Words;
use crate::{Error, Result};

/// A word with the weight of its rarity.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Term {
    pub(super) word: String,
    pub(super) idf: f64,
}

#[derive(Debug, Default)]
struct Seen {
    times: u64,
    texts: u64,
    /// Number of the last text that had it, from 1.
    last: u64,
}

/// Counts words and the texts that have them.
#[derive(Debug, Default)]
pub(super) struct Terms {
    seen: HashMap<Box<str>, Seen, FixedState>,
    bytes: usize,
    texts: u64,
    words: Words,
}

impl Terms {
    /// Adds the texts of a part of `column`.
    pub(super) fn update(&mut self, column: &str, texts: &StringArray) -> Result<()> {
        let mut crowded = false;
        for text in texts.iter().flatten() {
            self.texts += 1;
            let (seen, bytes, number) = (&mut self.seen, &mut self.bytes, self.texts);
            self.words.each(text, &mut |word| {
                if !seen.contains_key(word) {
                    crowded |= seen.len() >= MODE_VALUES_MAX || *bytes + word.len() > MODE_BYTES_MAX;
                    if crowded {
                        return;
                    }
                    *bytes += word.len();
                    seen.insert(word.into(), Seen::default());
                }
                if let Some(seen) = seen.get_mut(word) {
                    seen.times += 1;
                    seen.texts += u64::from(seen.last != number);
                    seen.last = number;
                }
            });
        }
        if crowded {
            let limit = format!("at most {MODE_VALUES_MAX} different words of {MODE_BYTES_MAX} bytes together");
            return Err(Error::schema(column, limit, "more of them: a bag needs no list"));
        }
        Ok(())
    }

    /// The `most` words seen most often, in order of their bytes.
    pub(super) fn most_frequent(&self, most: usize) -> Vec<Term> {
        let mut words: Vec<(&str, &Seen)> = self.seen.iter().map(|(word, seen)| (&**word, seen)).collect();
        words.sort_by(|a, b| b.1.times.cmp(&a.1.times).then(a.0.cmp(b.0)));
        words.truncate(most);
        words.sort_by_key(|(word, _)| *word);
        let idf = |seen: &Seen| ((1 + self.texts) as f64 / (1 + seen.texts) as f64).ln() + 1.0;
        words.into_iter().map(|(word, seen)| Term { word: word.to_owned(), idf: idf(seen) }).collect()
    }
}

/// Finds terms by their word.
pub(super) struct Index(HashMap<Box<str>, (usize, f64), FixedState>);

impl Index {
    pub(super) fn of(terms: &[Term]) -> Self {
        let place = |(place, term): (usize, &Term)| (term.word.as_str().into(), (place, term.idf));
        Self(terms.iter().enumerate().map(place).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, word: &str) -> Option<(usize, f64)> {
        self.0.get(word).copied()
    }
}
