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

/// Vietnamese vowels: without tone, then grave, acute, hook above, tilde, dot below.
const VOWELS: [[char; 6]; 12] = [
    ['a', 'à', 'á', 'ả', 'ã', 'ạ'],
    ['ă', 'ằ', 'ắ', 'ẳ', 'ẵ', 'ặ'],
    ['â', 'ầ', 'ấ', 'ẩ', 'ẫ', 'ậ'],
    ['e', 'è', 'é', 'ẻ', 'ẽ', 'ẹ'],
    ['ê', 'ề', 'ế', 'ể', 'ễ', 'ệ'],
    ['i', 'ì', 'í', 'ỉ', 'ĩ', 'ị'],
    ['o', 'ò', 'ó', 'ỏ', 'õ', 'ọ'],
    ['ô', 'ồ', 'ố', 'ổ', 'ỗ', 'ộ'],
    ['ơ', 'ờ', 'ớ', 'ở', 'ỡ', 'ợ'],
    ['u', 'ù', 'ú', 'ủ', 'ũ', 'ụ'],
    ['ư', 'ừ', 'ứ', 'ử', 'ữ', 'ự'],
    ['y', 'ỳ', 'ý', 'ỷ', 'ỹ', 'ỵ'],
];

/// `c` with a combining mark, where Vietnamese has such a letter.
fn composed(c: char, mark: char) -> Option<char> {
    let (row, column) =
        VOWELS.iter().enumerate().find_map(|(r, row)| row.iter().position(|v| *v == c).map(|i| (r, i)))?;
    let other = |from: char, to: char| {
        (VOWELS[row][0] == from).then(|| VOWELS.iter().find(|r| r[0] == to).map(|r| r[column]))?
    };
    match mark {
        '\u{302}' => [('a', 'â'), ('e', 'ê'), ('o', 'ô')].into_iter().find_map(|(from, to)| other(from, to)),
        '\u{306}' => other('a', 'ă'),
        '\u{31b}' => [('o', 'ơ'), ('u', 'ư')].into_iter().find_map(|(from, to)| other(from, to)),
        tone if column == 0 => {
            let tones = ['\u{300}', '\u{301}', '\u{309}', '\u{303}', '\u{323}'];
            tones.iter().position(|t| *t == tone).map(|i| VOWELS[row][i + 1])
        }
        _ => None,
    }
}

/// Lower case, Vietnamese letters composed, runs of spaces as one.
pub(super) fn composed_lower(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        let c = if c.is_whitespace() { ' ' } else { c };
        match out.chars().next_back() {
            Some(' ') if c == ' ' => {}
            Some(last) => match composed(last, c) {
                Some(whole) => {
                    out.pop();
                    out.push(whole);
                }
                None => out.push(c),
            },
            None => out.push(c),
        }
    }
    out
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

    #[test]
    fn decomposed_letters_are_composed_in_any_order_of_marks() {
        for text in ["NGUYỄN", "Nguye\u{302}\u{303}n", "nguye\u{303}\u{302}n"] {
            assert_eq!(composed_lower(text), "nguyễn");
        }
        assert_eq!(composed_lower("Đặng  Thi\u{323}\tTu\u{31b}\u{300}"), "đặng thị từ");
        assert_eq!(composed_lower("b\u{301}"), "b\u{301}");
    }
}
