//! Letters without case and diacritics, so that one word list serves `Số`, `SỐ`, `Số` (decomposed) and `so`.

/// What one character means to the word list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Folded {
    /// A letter, reduced to `a-z`; letters of other scripts become [`OTHER_LETTER`].
    Letter(u8),
    /// Anything that parts two words.
    Gap,
    /// A combining mark: part of the letter before it.
    Mark,
}

/// Stands for every letter that no word of the list can hold.
pub(super) const OTHER_LETTER: u8 = 0x7f;

/// Folds one character that is not ASCII.
pub(super) fn fold_wide(c: char) -> Folded {
    let letter = match c {
        '\u{300}'..='\u{36f}' => return Folded::Mark,
        'À'..='Å' | 'à'..='å' | 'Ă' | 'ă' | '\u{1ea0}'..='\u{1eb7}' => b'a',
        'È'..='Ë' | 'è'..='ë' | '\u{1eb8}'..='\u{1ec7}' => b'e',
        'Ì'..='Ï' | 'ì'..='ï' | 'Ĩ' | 'ĩ' | '\u{1ec8}'..='\u{1ecb}' => b'i',
        'Ò'..='Ö' | 'ò'..='ö' | 'Ơ' | 'ơ' | '\u{1ecc}'..='\u{1ee3}' => b'o',
        'Ù'..='Ü' | 'ù'..='ü' | 'Ũ' | 'ũ' | 'Ư' | 'ư' | '\u{1ee4}'..='\u{1ef1}' => b'u',
        'Ý' | 'ý' | 'ÿ' | '\u{1ef2}'..='\u{1ef9}' => b'y',
        'Đ' | 'đ' => b'd',
        'Ç' | 'ç' => b'c',
        'Ñ' | 'ñ' => b'n',
        c if c.is_alphabetic() => OTHER_LETTER,
        _ => return Folded::Gap,
    };
    Folded::Letter(letter)
}

/// Folds any character. Digits are gaps: `cccd001…` holds the word `cccd`.
pub(super) fn fold(c: char) -> Folded {
    match c {
        'a'..='z' | 'A'..='Z' => Folded::Letter(c.to_ascii_lowercase() as u8),
        '\0'..='\x7f' => Folded::Gap,
        wide => fold_wide(wide),
    }
}

/// Whether `c` glues to a number so that the number is only part of something else.
pub(super) fn is_letter(c: char) -> bool {
    matches!(fold(c), Folded::Letter(_) | Folded::Mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        let letter = |c| match fold(c) {
            Folded::Letter(b) => Some(b as char),
            Folded::Gap => Some(' '),
            Folded::Mark => None,
        };
        text.chars().filter_map(letter).collect()
    }

    #[test]
    fn composed_decomposed_upper_and_plain_words_are_one() {
        for text in ["chứng minh", "CHỨNG MINH", "chu\u{31b}\u{301}ng minh", "Chung Minh"] {
            assert_eq!(folded(text), "chung minh");
        }
    }

    #[test]
    fn every_vietnamese_letter_has_a_plain_one() {
        let all = "àáảãạăằắẳẵặâầấẩẫậèéẻẽẹêềếểễệìíỉĩịòóỏõọôồốổỗộơờớởỡợùúủũụưừứửữựỳýỷỹỵđ";
        let plain = "aaaaaaaaaaaaaaaaaeeeeeeeeeeeiiiiiooooooooooooooooouuuuuuuuuuuyyyyyd";
        assert_eq!(folded(all), plain);
        assert_eq!(folded(&all.to_uppercase()), plain);
    }
}
