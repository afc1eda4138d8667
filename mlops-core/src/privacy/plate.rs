//! Vietnamese number plates and passports.

/// Provinces by the first two digits of a plate, as they were before July 2025: from general lists, not checked against the circular that
/// sets them.
const SERIES: [(u8, &str); 81] = [
    (11, "Cao Bằng"),
    (12, "Lạng Sơn"),
    (14, "Quảng Ninh"),
    (15, "Hải Phòng"),
    (16, "Hải Phòng"),
    (17, "Thái Bình"),
    (18, "Nam Định"),
    (19, "Phú Thọ"),
    (20, "Thái Nguyên"),
    (21, "Yên Bái"),
    (22, "Tuyên Quang"),
    (23, "Hà Giang"),
    (24, "Lào Cai"),
    (25, "Lai Châu"),
    (26, "Sơn La"),
    (27, "Điện Biên"),
    (28, "Hòa Bình"),
    (29, "Hà Nội"),
    (30, "Hà Nội"),
    (31, "Hà Nội"),
    (32, "Hà Nội"),
    (33, "Hà Nội"),
    (34, "Hải Dương"),
    (35, "Ninh Bình"),
    (36, "Thanh Hóa"),
    (37, "Nghệ An"),
    (38, "Hà Tĩnh"),
    (39, "Đồng Nai"),
    (40, "Hà Nội"),
    (41, "Thành phố Hồ Chí Minh"),
    (43, "Đà Nẵng"),
    (47, "Đắk Lắk"),
    (48, "Đắk Nông"),
    (49, "Lâm Đồng"),
    (50, "Thành phố Hồ Chí Minh"),
    (51, "Thành phố Hồ Chí Minh"),
    (52, "Thành phố Hồ Chí Minh"),
    (53, "Thành phố Hồ Chí Minh"),
    (54, "Thành phố Hồ Chí Minh"),
    (55, "Thành phố Hồ Chí Minh"),
    (56, "Thành phố Hồ Chí Minh"),
    (57, "Thành phố Hồ Chí Minh"),
    (58, "Thành phố Hồ Chí Minh"),
    (59, "Thành phố Hồ Chí Minh"),
    (60, "Đồng Nai"),
    (61, "Bình Dương"),
    (62, "Long An"),
    (63, "Tiền Giang"),
    (64, "Vĩnh Long"),
    (65, "Cần Thơ"),
    (66, "Đồng Tháp"),
    (67, "An Giang"),
    (68, "Kiên Giang"),
    (69, "Cà Mau"),
    (70, "Tây Ninh"),
    (71, "Bến Tre"),
    (72, "Bà Rịa - Vũng Tàu"),
    (73, "Quảng Bình"),
    (74, "Quảng Trị"),
    (75, "Thừa Thiên Huế"),
    (76, "Quảng Ngãi"),
    (77, "Bình Định"),
    (78, "Phú Yên"),
    (79, "Khánh Hòa"),
    (80, "trung ương"),
    (81, "Gia Lai"),
    (82, "Kon Tum"),
    (83, "Sóc Trăng"),
    (84, "Trà Vinh"),
    (85, "Ninh Thuận"),
    (86, "Bình Thuận"),
    (88, "Vĩnh Phúc"),
    (89, "Hưng Yên"),
    (90, "Hà Nam"),
    (92, "Quảng Nam"),
    (93, "Bình Phước"),
    (94, "Bạc Liêu"),
    (95, "Hậu Giang"),
    (97, "Bắc Kạn"),
    (98, "Bắc Giang"),
    (99, "Bắc Ninh"),
];

/// A plate in a text.
pub(super) struct Found {
    pub(super) end: usize,
    /// Written with the separators that plates have, and five digits.
    pub(super) telling: bool,
}

/// The plate whose two first digits stand at byte `start`: `29A-123.45`, `59-X1 123.45`, `30F12345`.
pub(super) fn at(text: &str, start: usize) -> Option<Found> {
    let bytes = text.as_bytes();
    province_of(bytes.get(start..start + 2)?)?;
    let mut at = start + 2;
    at += usize::from(bytes.get(at) == Some(&b'-'));
    let letters = bytes.get(at..)?.iter().take(3).take_while(|b| b.is_ascii_uppercase()).count();
    if !(1..=2).contains(&letters) {
        return None;
    }
    at += letters;
    let (mut end, mut telling) = number_at(bytes, at, letters == 2).unwrap_or((0, false));
    if let Some(more) = (letters == 1 && bytes.get(at).is_some_and(u8::is_ascii_digit))
        .then(|| number_at(bytes, at + 1, true))
        .flatten()
    {
        // `59X1-234.56`: a motorbike's second sign of the series is a digit.
        if more.0 > end {
            (end, telling) = more;
        }
    }
    let glued = |b: &u8| b.is_ascii_alphanumeric() || *b >= 0x80;
    (end > 0 && !bytes.get(end).is_some_and(glued)).then_some(Found { end, telling })
}

/// End of `123.45`, `12345` or `1234` at `at`, after one separator or none.
fn number_at(bytes: &[u8], at: usize, old: bool) -> Option<(usize, bool)> {
    let from = at + usize::from(matches!(bytes.get(at), Some(b'-' | b' ' | b'.')));
    let digits = |from: usize| {
        bytes.get(from..).map_or(0, |rest| rest.iter().take(6).take_while(|b| b.is_ascii_digit()).count())
    };
    match digits(from) {
        3 if bytes.get(from + 3) == Some(&b'.') && digits(from + 4) == 2 => Some((from + 6, true)),
        5 => Some((from + 5, from > at)),
        4 if from > at => Some((from + 4, old)),
        _ => None,
    }
}

fn province_of(digits: &[u8]) -> Option<&'static str> {
    let [a @ b'0'..=b'9', b @ b'0'..=b'9'] = *digits else { return None };
    let code = (a - b'0') * 10 + (b - b'0');
    SERIES.binary_search_by_key(&code, |entry| entry.0).ok().map(|found| SERIES[found].1)
}

/// Where a plate was given out.
pub(super) fn province(plate: &str) -> Option<&'static str> {
    province_of(plate.as_bytes().get(..2)?)
}

/// Start of the passport number whose seven or eight digits are `digits`: one upper-case letter before them.
pub(super) fn passport_start(text: &str, digits: std::ops::Range<usize>) -> Option<usize> {
    let bytes = text.as_bytes();
    let start = digits.start.checked_sub(1).filter(|i| bytes[*i].is_ascii_uppercase())?;
    let free = |b: &u8| !b.is_ascii_alphanumeric() && *b != b'_' && *b < 0x80;
    let before = start.checked_sub(1).is_none_or(|i| free(&bytes[i]));
    (before && bytes.get(digits.end).is_none_or(free)).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plates_of_cars_and_motorbikes_are_read() {
        for text in [
            "29A-123.45",
            "30F 123.45",
            "51G-12345",
            "59-X1 123.45",
            "59X1-234.56",
            "29-AA 123.45",
            "80A12345",
            "29LD-123.45",
            "29A-1234",
        ] {
            assert_eq!(at(text, 0).map(|f| f.end), Some(text.len()), "{text}");
        }
        for text in
            ["13A-123.45", "10A-123.45", "29A", "29ABC-123.45", "29A-123", "29A-123456", "29A-123.456", "29a-123.45"]
        {
            assert!(at(text, 0).is_none(), "{text}");
        }
        assert_eq!(province("43A-123.45"), Some("Đà Nẵng"));
        assert!(SERIES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn passports_are_one_letter_and_digits() {
        assert_eq!(passport_start("số B1234567.", 6..13), Some(5));
        assert_eq!(passport_start("ABB1234567", 3..10), None);
        assert_eq!(passport_start("B1234567x", 1..8), None);
    }
}
