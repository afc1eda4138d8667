//! How well the words of a question fit a text.

use crate::{Error, Result};

/// Bytes of the words of a query at the most.
pub const QUERY_BYTES_MAX: usize = 1_024;

/// Words that are looked for, whatever their case.
///
/// # Examples
/// ```
/// use mlops_core::catalog::Words;
/// let words = Words::new("daily CLICK")?;
/// assert_eq!(words.score(&[("clicks.daily", 8), ("", 1)]), Some(8 * 4 + 8 * 2));
/// assert_eq!(words.score(&[("clicks", 8)]), None);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Words(Vec<String>);

impl Words {
    /// The words of `text`: runs of letters and digits.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the text is longer than [`QUERY_BYTES_MAX`].
    pub fn new(text: &str) -> Result<Self> {
        if text.len() > QUERY_BYTES_MAX {
            return Err(Error::invalid("bytes of the query", text.len(), "at most 1024"));
        }
        let mut words: Vec<String> = words(text).collect();
        words.sort_unstable();
        words.dedup();
        Ok(Self(words))
    }

    /// The sum over the words of the best place that each has, none where one has no place: the weight of a text, times 4 for
    /// a whole word, 2 for its beginning, 1 for a part. 0 without words.
    pub fn score(&self, fields: &[(&str, u32)]) -> Option<u32> {
        let mut best = vec![0; self.0.len()];
        for (text, weight) in fields {
            for word in words(text) {
                for (score, wanted) in best.iter_mut().zip(&self.0) {
                    *score = (*score).max(weight * fit(&word, wanted));
                }
            }
        }
        best.iter().all(|score| *score > 0).then(|| best.iter().sum())
    }
}

/// What a word is worth by how much of it was asked for.
fn fit(word: &str, wanted: &str) -> u32 {
    match word.find(wanted) {
        Some(0) if word.len() == wanted.len() => 4,
        Some(0) => 2,
        Some(_) => 1,
        None => 0,
    }
}

/// Lower-case runs of letters and digits.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}
