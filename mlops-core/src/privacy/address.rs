//! Vietnamese postal addresses: house and street, hamlet, ward, district, province.

use super::Kind;
use super::number::Reading;
use super::words::{self, Word};

/// Most parts of one address.
const PARTS_MAX: usize = 9;
/// Most words of the name of one part.
const NAME_WORDS_MAX: usize = 5;
/// Most digits of a house number.
const HOUSE_DIGITS_MAX: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    House,
    Street,
    Hamlet,
    Ward,
    District,
    Province,
}

impl Part {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Words that open a part, folded; several letters before the longer ones that they begin.
const UNITS: [(&[&str], Part); 36] = [
    (&["duong"], Part::Street),
    (&["pho"], Part::Street),
    (&["dai", "lo"], Part::Street),
    (&["quoc", "lo"], Part::Street),
    (&["tinh", "lo"], Part::Street),
    (&["ngo"], Part::Hamlet),
    (&["ngach"], Part::Hamlet),
    (&["hem"], Part::Hamlet),
    (&["kiet"], Part::Hamlet),
    (&["khu", "pho"], Part::Hamlet),
    (&["to", "dan", "pho"], Part::Hamlet),
    (&["khu", "dan", "cu"], Part::Hamlet),
    (&["khu", "do", "thi"], Part::Hamlet),
    (&["chung", "cu"], Part::Hamlet),
    (&["toa", "nha"], Part::Hamlet),
    (&["toa"], Part::Hamlet),
    (&["can", "ho"], Part::Hamlet),
    (&["tang"], Part::Hamlet),
    (&["to"], Part::Hamlet),
    (&["thon"], Part::Hamlet),
    (&["xom"], Part::Hamlet),
    (&["ap"], Part::Hamlet),
    (&["ban"], Part::Hamlet),
    (&["kp"], Part::Hamlet),
    (&["phuong"], Part::Ward),
    (&["xa"], Part::Ward),
    (&["thi", "tran"], Part::Ward),
    (&["p"], Part::Ward),
    (&["tt"], Part::Ward),
    (&["quan"], Part::District),
    (&["huyen"], Part::District),
    (&["thi", "xa"], Part::District),
    (&["q"], Part::District),
    (&["h"], Part::District),
    (&["tinh"], Part::Province),
    (&["thanh", "pho"], Part::Province),
];

/// Other written forms of provinces.
const ALIASES: [(&str, &str); 8] = [
    ("hcm", "Thành phố Hồ Chí Minh"),
    ("tp hcm", "Thành phố Hồ Chí Minh"),
    ("tphcm", "Thành phố Hồ Chí Minh"),
    ("ho chi minh", "Thành phố Hồ Chí Minh"),
    ("tp ho chi minh", "Thành phố Hồ Chí Minh"),
    ("sai gon", "Thành phố Hồ Chí Minh"),
    ("hue", "Thừa Thiên Huế"),
    ("vung tau", "Bà Rịa - Vũng Tàu"),
];
/// May follow a province.
const COUNTRY: &str = "Việt Nam";

/// Names of provinces.
#[derive(Debug)]
pub(super) struct Places {
    /// Folded form and name, ascending.
    provinces: Vec<(String, &'static str)>,
}

impl Places {
    /// `provinces` as they are written.
    pub(super) fn new(provinces: impl Iterator<Item = &'static str>) -> Self {
        let folded = |name: &str| {
            let words = name.split([' ', '-']).filter(|w| !w.is_empty()).filter_map(|w| words::at(w, 0));
            words.map(|w| String::from_utf8_lossy(w.folded()).into_owned()).collect::<Vec<_>>().join(" ")
        };
        let aliases = ALIASES.into_iter().map(|(alias, name)| (alias.to_owned(), name));
        let mut all: Vec<_> = provinces.chain([COUNTRY]).map(|name| (folded(name), name)).chain(aliases).collect();
        all.sort_unstable();
        Self { provinces: all }
    }

    /// The address that starts at byte `start`: a house number or a word that opens a part.
    pub(super) fn at(&self, text: &str, start: usize) -> Option<(usize, Reading)> {
        let (mut at, mut end, mut parts, mut count, mut said) = (start, start, 0_u8, 0, false);
        while count < PARTS_MAX {
            let Some((part, until, by_word)) = self.part(text, at, parts) else { break };
            if parts & part.bit() != 0 && part != Part::Hamlet {
                break;
            }
            parts |= part.bit();
            said |= by_word && matches!(part, Part::House | Part::Street);
            end = until;
            count += 1;
            let Some(from) = next_part(text, end) else { break };
            at = from;
        }
        reading(parts, said).map(|reading| (end, reading))
    }

    fn part(&self, text: &str, at: usize, before: u8) -> Option<(Part, usize, bool)> {
        let word = words::at(text, at)?;
        if before == 0 && (word.is(b"so") || word.is(b"sn") || word.is(b"nha")) {
            let mut number = words::next(text, word.end)?;
            if number.is(b"nha") {
                number = words::next(text, number.end)?;
            }
            return house_number(text, &number).map(|end| (Part::House, end, true));
        }
        if word.number {
            return if before == 0 { house_number(text, &word).map(|end| (Part::House, end, false)) } else { None };
        }
        if let Some((end, _)) = self.province(text, &word) {
            return Some((Part::Province, end, false));
        }
        if let Some((part, name_from)) = unit(text, &word) {
            let end = if part == Part::Province {
                self.province(text, &words::next(text, name_from)?).map(|found| found.0)
            } else {
                name(text, name_from)
            };
            // `thành phố` names a city of a province as well.
            let part = if part == Part::Province && end.is_none() { Part::District } else { part };
            return end.or_else(|| name(text, name_from)).map(|end| (part, end, true));
        }
        if let Some(end) = glued_unit(&word) {
            return Some((end, word.end, true));
        }
        // After a house number the street needs no word: `12 Nguyễn Trãi`, `hẻm 51 Cao Thắng`.
        (before != 0 && before & !(Part::House.bit() | Part::Hamlet.bit()) == 0 && word.capital)
            .then(|| name(text, word.start))
            .flatten()
            .map(|end| (Part::Street, end, false))
    }

    /// End and name of the province whose name starts with `word`.
    fn province(&self, text: &str, word: &Word) -> Option<(usize, &'static str)> {
        let mut joined = String::with_capacity(40);
        let (mut best, mut next) = (None, Some(*word));
        for _ in 0..4 {
            let Some(word) = next.filter(|w| w.capital && !w.folded().is_empty()) else { break };
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(std::str::from_utf8(word.folded()).ok()?);
            if let Ok(found) = self.provinces.binary_search_by(|(folded, _)| folded.as_str().cmp(&joined)) {
                best = Some((word.end, self.provinces[found].1));
            }
            let dot = usize::from(joined == "tp" && text[word.end..].starts_with('.'));
            next = words::next(text, word.end + dot);
        }
        best
    }

    /// Whether the words from byte `start` to `end` are the name of a province.
    pub(super) fn starts(&self, text: &str, start: usize, end: usize) -> bool {
        words::at(text, start).and_then(|word| self.province(text, &word)).is_some_and(|found| found.0 >= end)
    }

    /// Name of the last province that stands in an address.
    pub(super) fn province_of(&self, text: &str) -> Option<&'static str> {
        let mut found = None;
        let mut from = 0;
        while let Some(offset) = text[from..].find(char::is_alphanumeric) {
            let start = from + offset;
            let run = text[start..].find(|c: char| !c.is_alphanumeric()).map_or(text.len(), |length| start + length);
            match words::at(text, start).and_then(|word| self.province(text, &word)) {
                Some((end, name)) => {
                    found = if name == COUNTRY { found } else { Some(name) };
                    from = end;
                }
                None => from = run,
            }
        }
        found
    }
}

/// Where the next part starts: after a comma, a dash, or one blank.
fn next_part(text: &str, end: usize) -> Option<usize> {
    let rest = &text[end..];
    let trimmed = rest
        .strip_prefix([',', ';'])
        .or_else(|| rest.strip_prefix(" -"))
        .or_else(|| rest.strip_prefix(" ,"))
        .unwrap_or(rest);
    let blanks = trimmed.len() - trimmed.trim_start_matches([' ', '\u{a0}']).len();
    let from = text.len() - trimmed.len() + blanks;
    (from > end && blanks <= 4).then_some(from)
}

/// The unit that `word` opens, and where its name starts.
fn unit(text: &str, word: &Word) -> Option<(Part, usize)> {
    let fits = |words: &[&str]| {
        let mut current = *word;
        for (index, expected) in words.iter().enumerate() {
            if index > 0 {
                current = words::next(text, current.end).filter(|w| w.start > current.end)?;
            }
            if !current.is(expected.as_bytes()) {
                return None;
            }
        }
        Some(current.end)
    };
    let (part, mut end, length) = UNITS
        .iter()
        .filter_map(|(words, part)| fits(words).map(|end| (*part, end, words.len())))
        .max_by_key(|found| found.2)?;
    let short = length == 1 && word.folded().len() <= 2 && part != Part::Hamlet;
    if text[end..].starts_with('.') {
        end += 1;
    } else if short && !word.capital && word.folded().len() == 1 {
        return None;
    }
    if let Some(so) = words::next(text, end).filter(|w| w.is(b"so")) {
        end = so.end;
    }
    Some((part, end))
}

/// `P5`, `Q1`.
fn glued_unit(word: &Word) -> Option<Part> {
    let (first, rest) = word.folded().split_first()?;
    let part = match first {
        b'p' => Part::Ward,
        b'q' => Part::District,
        _ => return None,
    };
    (word.capital && (1..=2).contains(&rest.len()) && rest.iter().all(u8::is_ascii_digit)).then_some(part)
}

/// End of a house number: `12`, `12A`, `12/3B/4`, `12-14`.
fn house_number(text: &str, word: &Word) -> Option<usize> {
    let is_number = |w: &Word| {
        let digits = w.folded().iter().take_while(|b| b.is_ascii_digit()).count();
        w.number && (1..=HOUSE_DIGITS_MAX).contains(&digits) && w.folded().len() - digits <= 2
    };
    let (mut end, mut more) = (is_number(word).then_some(word.end)?, 0);
    while more < 4 && text[end..].starts_with(['/', '-']) {
        let Some(part) = words::at(text, end + 1).filter(is_number) else { break };
        end = part.end;
        more += 1;
    }
    Some(end)
}

/// End of the name at `from`: words with capitals, or a number.
fn name(text: &str, from: usize) -> Option<usize> {
    let first = words::next(text, from)?;
    if first.number {
        return house_number(text, &first);
    }
    let (mut end, mut next, mut count) = (None, Some(first), 0);
    while let Some(word) = next.filter(|w| count < NAME_WORDS_MAX && w.capital) {
        if count > 0 && opens_a_part(text, &word) {
            break;
        }
        end = Some(word.end);
        count += 1;
        next = words::next(text, word.end).filter(|w| w.start > word.end);
    }
    end
}

/// Whether a word with a capital opens the next part and is not a syllable of a name: `Phường`, `TP`, `Q`.
fn opens_a_part(text: &str, word: &Word) -> bool {
    if word.is(b"tp") || glued_unit(word).is_some() {
        return true;
    }
    let raw = super::fold::composed_lower(&text[word.start..word.end]);
    let whole = matches!(
        raw.as_str(),
        "phường"
            | "quận"
            | "huyện"
            | "tỉnh"
            | "xã"
            | "thị"
            | "thành"
            | "p"
            | "q"
            | "phuong"
            | "quan"
            | "huyen"
            | "tinh"
    );
    let value = unit(text, word).and_then(|(_, end)| words::next(text, end)).is_some_and(|w| w.capital || w.number);
    whole && value
}

fn reading(parts: u8, said: bool) -> Option<Reading> {
    let has = |part: Part| parts & part.bit() != 0;
    let areas = [Part::Ward, Part::District, Part::Province].into_iter().filter(|p| has(*p)).count();
    let of =
        |bare, weak, strong| Some(Reading { against: 0.3, ..Reading::new(Kind::PostalAddress, bare, weak, strong) });
    let house = has(Part::House) && (has(Part::Street) || has(Part::Hamlet));
    match (house, areas) {
        (true, 2..) => of(0.92, 0.95, 0.98),
        (true, 1) => of(0.82, 0.9, 0.97),
        (true, _) if said => of(0.6, 0.75, 0.92),
        (true, _) => of(0.2, 0.5, 0.85),
        (false, 1..) if has(Part::Hamlet) || has(Part::Street) => of(0.6 + 0.1 * areas as f64, 0.85, 0.95),
        (false, 3) => of(0.65, 0.8, 0.92),
        (false, 2) if has(Part::Ward) => of(0.52, 0.7, 0.9),
        (false, 2) => of(0.3, 0.5, 0.75),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let places = Places::new(super::super::cccd::provinces());
        let found = places.at(text, 0).filter(|(_, r)| r.bare >= 0.5).map(|(end, _)| &text[..end]);
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn addresses_end_with_their_last_part() {
        for text in [
            "12 Nguyễn Trãi, phường Bến Thành, quận 1, TP. Hồ Chí Minh",
            "số 12/3A đường Lê Lợi, P. Bến Nghé, Q.1, TP.HCM",
            "Số nhà 5, ngõ 20 phố Huế, Phường Phố Huế, Quận Hai Bà Trưng, Hà Nội",
            "thôn Đông, xã Tân Lập, huyện Đan Phượng, thành phố Hà Nội",
            "so 7 duong Tran Phu, phuong Loc Tho",
            "12 Nguyen Trai Phuong Ben Thanh Quan 1 TP HCM",
            "45 Lê Duẩn, P5, Q3",
        ] {
            check(text, Some(text));
            check(&format!("{text}, giao giờ hành chính"), Some(text));
        }
    }

    #[test]
    fn a_place_is_not_an_address() {
        for text in ["12 Nguyễn Trãi", "quận 1", "12 Tháng Năm", "Hà Nội", "xa lắm", "quan trọng", "p 5", "3 Con Gà"]
        {
            check(text, None);
        }
    }

    #[test]
    fn the_province_is_read_back() {
        let places = Places::new(super::super::cccd::provinces());
        assert_eq!(places.province_of("thôn Đông, xã Tân Lập, huyện Ea Kar, tỉnh Đắk Lắk, Việt Nam"), Some("Đắk Lắk"));
        assert_eq!(places.province_of("12 Nguyễn Trãi, Q1, TP. Hồ Chí Minh"), Some("Thành phố Hồ Chí Minh"));
        assert_eq!(places.province_of("đâu đó"), None);
    }
}
