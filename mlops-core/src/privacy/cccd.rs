//! What a citizen identity number says about its owner.

use crate::{Error, Result};

/// Provinces by code, ascending: Circular 07/2016/TT-BCA, annex 1. Numbers kept their codes when provinces merged in 2025.
const PROVINCES: [(u16, &str); 63] = [
    (1, "Hà Nội"),
    (2, "Hà Giang"),
    (4, "Cao Bằng"),
    (6, "Bắc Kạn"),
    (8, "Tuyên Quang"),
    (10, "Lào Cai"),
    (11, "Điện Biên"),
    (12, "Lai Châu"),
    (14, "Sơn La"),
    (15, "Yên Bái"),
    (17, "Hòa Bình"),
    (19, "Thái Nguyên"),
    (20, "Lạng Sơn"),
    (22, "Quảng Ninh"),
    (24, "Bắc Giang"),
    (25, "Phú Thọ"),
    (26, "Vĩnh Phúc"),
    (27, "Bắc Ninh"),
    (30, "Hải Dương"),
    (31, "Hải Phòng"),
    (33, "Hưng Yên"),
    (34, "Thái Bình"),
    (35, "Hà Nam"),
    (36, "Nam Định"),
    (37, "Ninh Bình"),
    (38, "Thanh Hóa"),
    (40, "Nghệ An"),
    (42, "Hà Tĩnh"),
    (44, "Quảng Bình"),
    (45, "Quảng Trị"),
    (46, "Thừa Thiên Huế"),
    (48, "Đà Nẵng"),
    (49, "Quảng Nam"),
    (51, "Quảng Ngãi"),
    (52, "Bình Định"),
    (54, "Phú Yên"),
    (56, "Khánh Hòa"),
    (58, "Ninh Thuận"),
    (60, "Bình Thuận"),
    (62, "Kon Tum"),
    (64, "Gia Lai"),
    (66, "Đắk Lắk"),
    (67, "Đắk Nông"),
    (68, "Lâm Đồng"),
    (70, "Bình Phước"),
    (72, "Tây Ninh"),
    (74, "Bình Dương"),
    (75, "Đồng Nai"),
    (77, "Bà Rịa - Vũng Tàu"),
    (79, "Thành phố Hồ Chí Minh"),
    (80, "Long An"),
    (82, "Tiền Giang"),
    (83, "Bến Tre"),
    (84, "Trà Vinh"),
    (86, "Vĩnh Long"),
    (87, "Đồng Tháp"),
    (89, "An Giang"),
    (91, "Kiên Giang"),
    (92, "Cần Thơ"),
    (93, "Hậu Giang"),
    (94, "Sóc Trăng"),
    (95, "Bạc Liêu"),
    (96, "Cà Mau"),
];

/// Names of the 63 provinces.
pub(super) fn provinces() -> impl Iterator<Item = &'static str> {
    PROVINCES.into_iter().map(|(_, name)| name)
}

/// Oldest age, in years, that a number is believed to tell.
pub const AGE_YEARS_MAX: i32 = 120;

/// Sex as registered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Sex {
    /// Even century digit.
    Male,
    /// Odd century digit.
    Female,
}

/// Where a birth was registered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Birthplace {
    /// One of the 63 provinces of before 2025, by its code `1..=96`.
    Province(u16),
    /// Abroad, by the country's code `100..=999`.
    Abroad(u16),
}

/// The part of a citizen identity number that speaks: for generalising a column to province, sex or age.
///
/// The six serial digits are not kept, so that no number can be made from it again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Cccd {
    birthplace: Birthplace,
    sex: Sex,
    birth_year: i32,
}

impl Cccd {
    /// Reads `number`: 12 digits, with spaces, dots or dashes between groups or without.
    ///
    /// Three digits are the place of birth registration, one is century and sex (1900s: 0 male, 1 female; 2000s: 2, 3;
    /// … 2300s: 8, 9), two are the year of birth. There is no check digit.
    ///
    /// * `year`: the present year; the birth year must lie in `year - 120..=year`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `number` has another shape, an unknown place or an impossible year. The message tells
    /// the length only, never the number.
    ///
    /// # Source
    /// Decree 137/2015/NĐ-CP, article 13; Circular 07/2016/TT-BCA, article 7 and annex 1.
    ///
    /// # Examples
    /// ```
    /// use mlops_core::privacy::{Cccd, Sex};
    ///
    /// let person = Cccd::parse("079 203 000123", 2026)?;
    /// assert_eq!(person.province(), Some("Thành phố Hồ Chí Minh"));
    /// assert_eq!((person.sex(), person.birth_year()), (Sex::Male, 2003));
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    pub fn parse(number: &str, year: i32) -> Result<Self> {
        let refuse = || {
            let shown = format!("a value of {} characters", number.chars().count());
            Error::invalid("citizen identity number", shown, "12 digits with a known place and a possible birth year")
        };
        let digits = super::Kind::Cccd.normalise(number);
        Self::of_digits(digits.as_bytes(), year).ok_or_else(refuse)
    }

    /// Reads 12 ASCII digits.
    pub(super) fn of_digits(digits: &[u8], year: i32) -> Option<Self> {
        if !plausible_shape_bytes(digits) {
            return None;
        }
        let value = |range: std::ops::Range<usize>| digits[range].iter().fold(0, |n, d| n * 10 + u16::from(d - b'0'));
        let birthplace = match value(0..3) {
            code @ 100.. => Birthplace::Abroad(code),
            code => PROVINCES.binary_search_by_key(&code, |p| p.0).ok().map(|_| Birthplace::Province(code))?,
        };
        let century = value(3..4);
        let birth_year = 1900 + 100 * i32::from(century / 2) + i32::from(value(4..6));
        let sex = if century % 2 == 0 { Sex::Male } else { Sex::Female };
        (year - AGE_YEARS_MAX..=year).contains(&birth_year).then_some(Self { birthplace, sex, birth_year })
    }

    /// Where the birth was registered.
    pub const fn birthplace(&self) -> Birthplace {
        self.birthplace
    }

    /// Name of the province of birth registration; none when abroad.
    pub fn province(&self) -> Option<&'static str> {
        let Birthplace::Province(code) = self.birthplace else { return None };
        PROVINCES.binary_search_by_key(&code, |p| p.0).ok().map(|found| PROVINCES[found].1)
    }

    /// Sex as registered.
    pub const fn sex(&self) -> Sex {
        self.sex
    }

    /// Year of birth.
    pub const fn birth_year(&self) -> i32 {
        self.birth_year
    }
}

/// Twelve digits that are not all the same.
fn plausible_shape_bytes(digits: &[u8]) -> bool {
    digits.len() == 12 && digits.iter().all(u8::is_ascii_digit) && digits.iter().any(|d| *d != digits[0])
}

pub(super) fn plausible_shape(digits: &str) -> bool {
    plausible_shape_bytes(digits.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_say_place_sex_and_year() {
        let read = |number| Cccd::parse(number, 2026).unwrap();
        assert_eq!((read("001099012345").province(), read("001099012345").birth_year()), (Some("Hà Nội"), 1999));
        assert_eq!(read("096185000001").sex(), Sex::Female);
        assert_eq!(read("096185000001").province(), Some("Cà Mau"));
        assert_eq!(read("048.310.123456").birth_year(), 2010);
        assert_eq!(read("101090000001").birthplace(), Birthplace::Abroad(101));
        assert_eq!(read("101090000001").province(), None);
    }

    #[test]
    fn impossible_numbers_are_refused_without_being_quoted() {
        let unknown_place = "003099012345";
        let not_born_yet = "001230012345"; // century 2, year 30: 2030
        let too_old = "001005012345"; // 1905
        for bad in [unknown_place, not_born_yet, too_old, "111111111111", "00109901234", "0010990123456", "", "đây"] {
            let message = Cccd::parse(bad, 2026).unwrap_err().to_string();
            assert!(bad.is_empty() || !message.contains(bad), "{message}");
        }
    }

    #[test]
    fn province_codes_ascend_so_that_they_can_be_searched() {
        assert!(PROVINCES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
