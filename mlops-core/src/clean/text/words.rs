//! Cutting texts into words.

/// Finds words; keeps its buffer between texts.
#[derive(Debug, Default)]
pub(super) struct Words {
    lower: String,
}

/// Letters, digits, underscores, and accents that are written after their letter.
fn belongs(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || ('\u{300}'..='\u{36f}').contains(&letter)
}

impl Words {
    /// Hands on the words of `text` in lower case, in order.
    pub(super) fn each(&mut self, text: &str, sink: &mut dyn FnMut(&str)) {
        self.lower.clear();
        if text.is_ascii() {
            self.lower.push_str(text);
            self.lower.make_ascii_lowercase();
        } else {
            self.lower.extend(text.chars().flat_map(char::to_lowercase));
        }
        for word in self.lower.split(|letter| !belongs(letter)) {
            if word.chars().nth(1).is_some() {
                sink(word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_two_letters_or_more_in_lower_case() {
        let mut found = Vec::new();
        Words::default().each("Xin CHÀO, a_1 x 42! e\u{300}m\u{323}", &mut |word| found.push(word.to_owned()));
        assert_eq!(found, ["xin", "chào", "a_1", "42", "e\u{300}m\u{323}"]);
    }
}
