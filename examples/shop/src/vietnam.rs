//! Names, provinces, mobile prefixes and citizen numbers as Vietnam has them.
//!
//! Structure of the number: Decree 137/2015/ND-CP, article 13, and Circular 07/2016/TT-BCA, article 7 with annex 1.
//! Prefixes are those whose whole range of seven further digits is in use.

use std::fmt::Write;

/// A province: code in citizen numbers, name, and share of the customers (rounded population in tens of thousands).
pub(crate) struct Province {
    pub(crate) code: u16,
    pub(crate) name: &'static str,
    pub(crate) weight: u16,
}

macro_rules! provinces {
    ($($code:literal $name:literal $weight:literal),* $(,)?) => {
        /// The 63 provinces that citizen numbers know.
        pub(crate) const PROVINCES: &[Province] = &[$(Province { code: $code, name: $name, weight: $weight }),*];
    };
}

provinces! {
    1 "Hà Nội" 844, 2 "Hà Giang" 89, 4 "Cao Bằng" 54, 6 "Bắc Kạn" 32, 8 "Tuyên Quang" 80, 10 "Lào Cai" 76,
    11 "Điện Biên" 63, 12 "Lai Châu" 48, 14 "Sơn La" 130, 15 "Yên Bái" 85, 17 "Hòa Bình" 87, 19 "Thái Nguyên" 133,
    20 "Lạng Sơn" 80, 22 "Quảng Ninh" 136, 24 "Bắc Giang" 189, 25 "Phú Thọ" 151, 26 "Vĩnh Phúc" 119, 27 "Bắc Ninh" 148,
    30 "Hải Dương" 194, 31 "Hải Phòng" 208, 33 "Hưng Yên" 129, 34 "Thái Bình" 187, 35 "Hà Nam" 87, 36 "Nam Định" 187,
    37 "Ninh Bình" 101, 38 "Thanh Hóa" 372, 40 "Nghệ An" 342, 42 "Hà Tĩnh" 132, 44 "Quảng Bình" 91, 45 "Quảng Trị" 65,
    46 "Thừa Thiên Huế" 116, 48 "Đà Nẵng" 122, 49 "Quảng Nam" 152, 51 "Quảng Ngãi" 124, 52 "Bình Định" 150,
    54 "Phú Yên" 87, 56 "Khánh Hòa" 125, 58 "Ninh Thuận" 60, 60 "Bình Thuận" 125, 62 "Kon Tum" 58, 64 "Gia Lai" 159,
    66 "Đắk Lắk" 191, 67 "Đắk Nông" 67, 68 "Lâm Đồng" 133, 70 "Bình Phước" 103, 72 "Tây Ninh" 119, 74 "Bình Dương" 276,
    75 "Đồng Nai" 325, 77 "Bà Rịa - Vũng Tàu" 118, 79 "Hồ Chí Minh" 939, 80 "Long An" 173, 82 "Tiền Giang" 179,
    83 "Bến Tre" 130, 84 "Trà Vinh" 102, 86 "Vĩnh Long" 103, 87 "Đồng Tháp" 160, 89 "An Giang" 191, 91 "Kiên Giang" 175,
    92 "Cần Thơ" 125, 93 "Hậu Giang" 73, 94 "Sóc Trăng" 120, 95 "Bạc Liêu" 92, 96 "Cà Mau" 121,
}

/// Surnames: as written, without marks, and share in per mille.
pub(crate) const SURNAMES: &[(&str, &str, u16)] = &[
    ("Nguyễn", "nguyen", 384),
    ("Trần", "tran", 121),
    ("Lê", "le", 95),
    ("Phạm", "pham", 70),
    ("Hoàng", "hoang", 51),
    ("Phan", "phan", 45),
    ("Vũ", "vu", 39),
    ("Võ", "vo", 32),
    ("Đặng", "dang", 21),
    ("Bùi", "bui", 20),
    ("Đỗ", "do", 14),
    ("Hồ", "ho", 13),
    ("Ngô", "ngo", 13),
    ("Dương", "duong", 10),
    ("Lý", "ly", 5),
    ("Đinh", "dinh", 9),
    ("Trương", "truong", 9),
    ("Lương", "luong", 7),
    ("Mai", "mai", 6),
    ("Huỳnh", "huynh", 16),
];

/// Middle names of men, then of women.
pub(crate) const MIDDLE: [&[&str]; 2] = [
    &["Văn", "Hữu", "Đức", "Minh", "Quang", "Công", "Xuân", "Thanh", "Quốc", "Ngọc"],
    &["Thị", "Ngọc", "Thu", "Thanh", "Phương", "Minh", "Kim", "Khánh", "Hồng", "Mỹ"],
];

/// Given names of men, then of women: as written and without marks.
pub(crate) const GIVEN: [&[(&str, &str)]; 2] = [
    &[
        ("Anh", "anh"),
        ("Bảo", "bao"),
        ("Cường", "cuong"),
        ("Dũng", "dung"),
        ("Đạt", "dat"),
        ("Hải", "hai"),
        ("Hiếu", "hieu"),
        ("Hùng", "hung"),
        ("Huy", "huy"),
        ("Khoa", "khoa"),
        ("Kiên", "kien"),
        ("Lâm", "lam"),
        ("Long", "long"),
        ("Nam", "nam"),
        ("Phong", "phong"),
        ("Phúc", "phuc"),
        ("Quân", "quan"),
        ("Sơn", "son"),
        ("Tuấn", "tuan"),
        ("Việt", "viet"),
    ],
    &[
        ("An", "an"),
        ("Chi", "chi"),
        ("Dung", "dung"),
        ("Giang", "giang"),
        ("Hà", "ha"),
        ("Hạnh", "hanh"),
        ("Hoa", "hoa"),
        ("Huyền", "huyen"),
        ("Lan", "lan"),
        ("Linh", "linh"),
        ("Mai", "mai"),
        ("My", "my"),
        ("Nga", "nga"),
        ("Nhung", "nhung"),
        ("Oanh", "oanh"),
        ("Quỳnh", "quynh"),
        ("Thảo", "thao"),
        ("Trang", "trang"),
        ("Vân", "van"),
        ("Yến", "yen"),
    ],
];

/// First two national digits of mobile numbers.
const MOBILE: &[u64] = &[
    32, 33, 34, 35, 36, 37, 38, 39, 86, 96, 97, 98, 70, 76, 77, 78, 79, 90, 93, 81, 82, 83, 84, 85, 88, 91, 94, 56, 58,
    92,
];

/// How many mobile numbers [`mobile_number`] can write.
pub(crate) const MOBILE_NUMBERS: u64 = MOBILE.len() as u64 * 10_000_000;

/// How many serials end citizen numbers of one province, sex and year of birth.
pub(crate) const SERIALS: u64 = 1_000_000;

/// Domains that are reserved for examples (RFC 2606), so that no address belongs to anybody.
pub(crate) const MAIL_DOMAINS: &[&str] = &["example.com", "example.net", "example.org"];

/// Replaces `text` by the national digits (no leading 0) of mobile number `index` modulo [`MOBILE_NUMBERS`].
pub(crate) fn mobile_number(text: &mut String, prefix: &str, index: u64) {
    text.clear();
    let area = (index / 10_000_000) as usize % MOBILE.len();
    let start = MOBILE.get(area).copied().unwrap_or(90);
    let _ = write!(text, "{prefix}{start}{:07}", index % 10_000_000);
}

/// Replaces `text` by the citizen number: province of birth, century and sex, year of birth, `serial` modulo [`SERIALS`].
pub(crate) fn citizen_number(text: &mut String, province: &Province, female: bool, birth_year: i64, serial: u64) {
    text.clear();
    let century = (birth_year.div_euclid(100) - 19).clamp(0, 4) * 2 + i64::from(female);
    let _ = write!(text, "{:03}{century}{:02}{:06}", province.code, birth_year.rem_euclid(100), serial % SERIALS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_63_provinces_with_rising_codes() {
        assert_eq!(PROVINCES.len(), 63);
        assert!(PROVINCES.windows(2).all(|pair| pair[0].code < pair[1].code));
    }

    #[test]
    fn citizen_numbers_have_the_structure_of_the_decree() {
        let mut text = String::new();
        let hanoi = &PROVINCES[0];
        citizen_number(&mut text, hanoi, false, 1987, 42);
        assert_eq!(text, "001087000042");
        citizen_number(&mut text, hanoi, true, 2004, 1_000_007);
        assert_eq!(text, "001304000007");
    }

    #[test]
    fn mobile_numbers_have_nine_national_digits() {
        let mut text = String::new();
        mobile_number(&mut text, "0", 0);
        assert_eq!(text, "0320000000");
        mobile_number(&mut text, "+84", MOBILE_NUMBERS - 1);
        assert_eq!(text, "+84929999999");
    }
}
