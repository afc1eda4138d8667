//! Vietnamese names: a surname, then middle and given names.
//!
//! A name alone is weak evidence: streets, schools and bridges are called after people. What stands before and after
//! decides, and how many of the syllables are ones that people are called by.

use super::Kind;
use super::fold::composed_lower;
use super::number::Reading;
use super::words::{self, Word};

/// Most syllables after the surname.
const SYLLABLES_MAX: usize = 3;

/// Surnames that are seldom anything else. About nine in ten people have one of the first fourteen.
pub(super) const SURNAMES: &str =
    "nguyễn trần lê phạm hoàng huỳnh phan vũ võ đặng bùi đỗ ngô trịnh đinh đoàn trương phùng lương";
/// Surnames that are common words as well, or rare.
pub(super) const RARE_SURNAMES: &str = "hồ dương lý đào mai tô tạ hà lâm cao châu tăng quách lưu vương thái kiều đàm tống nghiêm triệu thạch chu la văn lục khổng \
    hứa giang âu ông bạch từ doãn khúc mạc ninh phó quang sầm thân tôn viên vi danh cù diệp hầu lại lã lăng lều phí";

/// Middle and given names without diacritics, ascending.
const SYLLABLES: &str = "an anh au ba bac bach bang bao bich binh bong buu ca cam canh cat chau chi chien chinh chuan chung cong cu cuc cuong da dai dan \
    dang danh dao dat di diem diep dieu dinh do doan doanh don dong du duan duc dung duong duy duyen gam gia giang giao giap ha hai han \
    hang hanh hao hau hien hiep hieu hoa hoai hoan hoang hoat hoi hong hop hue hung huong huu huy huyen huynh kha khai khang khanh \
    khiem khoa khoan khoi khue khuong khuyen kien kiet kieu kim ky lac lam lan lanh le lich lien lieu linh loan loc loi long lua luan \
    luat luc luong luu luyen ly mai man manh mao mau mien minh mo my na nam nga ngan nghi nghia ngo ngoc nguyen nguyet nha nhan nhat \
    nhi nhien nho nhu nhung nhut ninh nu nuong oanh phan phat phi phong phu phuc phung phuoc phuong quan quang que quoc quy quyen \
    quyet quynh sa san sang sau sinh son song suong sy ta tai tam tan tao tat thach thai tham than thang thanh thao the thi thiem \
    thien thiep thieu thinh tho thoa thoai thom thong thu thuan thuc thuong thuy thuyen thy tien tiep tin tinh to toai toan toi ton \
    tra tram tran trang tri triet trieu trinh trong truc trung truong tu tuan tue tung tuoi tuong tuu tuy tuyen tuyet ut uyen van vang \
    vi vien viet vinh vu vui vuong vy xuan xuyen y yen";

/// Words before a name that make it a place or a thing.
const PLACES: &str = "duong pho truong cau quan phuong xa huyen cho ngo ngach hem kiet ga ben song nui ho tinh tp thpt thcs th ptth khu lang dinh den chua \
    cang dai giai quy hang tiem cty tnhh cp hkd bridge street school road university hospital";
/// The same of two words.
const PLACE_PAIRS: &str = "dai hoc|tieu hoc|trung hoc|benh vien|cong vien|cong ty|san van|quang truong|dai lo|nha hat|bao tang|hoc vien|cao dang|mam non|thanh pho|\
    nha may|nha sach|nha thuoc|toa nha|di bo|tuong dai|khu pho|thi tran|thi xa|van dong|giai thuong|san bay";
/// Words after a name that make it a place.
const PLACES_AFTER: &str = "street st road rd bridge school university hospital park avenue ave ward district square";
/// Words before a name that are only said of people.
const TITLES: &str = "ong ba anh chi em co chu bac cau mo duong di thim ban thay kh bs ths ts gs pgs ks ls mr mrs ms miss dr ten toi chau cu be tk";
const TITLE_PAIRS: &str = "khach hang|bac si|luat su|ky su|giam doc|giao vien|co giao|thay giao|nhan vien|benh nhan|nguoi nhan|nguoi gui|ten la|toi la|ho ten|va ten|\
    dong chi|dai dien|lien he|truong phong|ke toan|chu ho|chu xe|lai xe|tai xe|hoc sinh|sinh vien|nguoi mua|nguoi ban|can bo|gap anh|gap chi";

/// What stands around a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Company {
    Nothing,
    Title,
    Place,
}

/// Words as they are written and without diacritics, each ascending.
#[derive(Debug)]
struct List {
    written: Vec<&'static str>,
    folded: Vec<Vec<u8>>,
}

impl List {
    fn new(list: &'static str) -> Self {
        let mut written: Vec<_> = list.split_whitespace().collect();
        let fold = |word: &&str| words::at(word, 0).map(|w| w.folded().to_vec());
        let mut folded: Vec<_> = written.iter().filter_map(fold).collect();
        written.sort_unstable();
        folded.sort_unstable();
        Self { written, folded }
    }

    /// A word without diacritics is in the list by its letters, one that has them only as it is written there.
    fn holds(&self, raw: &str, word: &Word) -> bool {
        if raw.is_ascii() {
            self.folded.binary_search_by(|entry| entry.as_slice().cmp(word.folded())).is_ok()
        } else {
            self.written.binary_search(&composed_lower(raw).as_str()).is_ok()
        }
    }
}

/// Lists that names are read with.
#[derive(Debug)]
pub(super) struct Names {
    syllables: List,
    surnames: List,
    rare: List,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { syllables: List::new(SYLLABLES), surnames: List::new(SURNAMES), rare: List::new(RARE_SURNAMES) }
    }

    /// The name whose surname starts at byte `start`; `small` also takes names without capitals.
    pub(super) fn at(&self, text: &str, start: usize, small: bool) -> Option<(usize, Reading)> {
        let surname = words::at(text, start)?;
        if !surname.capital && !small {
            return None;
        }
        let common = self.is_surname(text, &surname)?;
        let (mut end, mut count, mut middle) = (surname.end, 0, false);
        while count < SYLLABLES_MAX {
            let Some(word) = words::next(text, end).filter(|w| w.start > end && w.capital == surname.capital) else {
                break;
            };
            if !self.is_syllable(&word, middle) {
                break;
            }
            middle |= count == 0 && (word.is(b"van") || word.is(b"thi"));
            end = word.end;
            count += 1;
        }
        if count == 0 || text[end..].starts_with('@') {
            return None;
        }
        let company = company(text, start, end);
        let plain = text[start..end].is_ascii();
        let form = form(common, count, middle, plain);
        Some((end, reading(form, common, surname.capital, company)))
    }

    /// Whether a word is a surname, and if so whether it is seldom anything else.
    fn is_surname(&self, text: &str, word: &Word) -> Option<bool> {
        let raw = &text[word.start..word.end];
        let common = self.surnames.holds(raw, word);
        (common || self.rare.holds(raw, word)).then_some(common)
    }

    /// After `Văn` and `Thị` any word is a given name, and so is a single letter anywhere.
    fn is_syllable(&self, word: &Word, after_middle: bool) -> bool {
        let folded = word.folded();
        let known = self.syllables.folded.binary_search_by(|entry| entry.as_slice().cmp(folded)).is_ok();
        let letters = !folded.is_empty() && folded.iter().all(u8::is_ascii_lowercase);
        known || (letters && ((after_middle && folded.len() <= 6) || (folded.len() == 1 && word.capital)))
    }
}

/// How surely the syllables alone make a name.
fn form(common: bool, count: usize, middle: bool, plain: bool) -> f64 {
    match (common, count) {
        (true, 2..) if middle => 0.9,
        (true, 3) => 0.85,
        (true, 2) => 0.75,
        (true, _) => 0.45,
        (false, 2..) if middle => 0.8,
        (false, 3) => 0.65,
        (false, 2) if plain => 0.4,
        (false, 2) => 0.6,
        (false, _) => 0.2,
    }
}

fn reading(form: f64, common: bool, capital: bool, company: Company) -> Reading {
    if !capital {
        return Reading::new(Kind::PersonName, 0.05, 0.1, if common { 0.8 } else { 0.6 });
    }
    match company {
        Company::Place => Reading { against: 0.05, ..Reading::new(Kind::PersonName, 0.1, 0.1, 0.3) },
        Company::Title => Reading { against: 0.4, ..Reading::new(Kind::PersonName, 0.5 + form * 0.5, 0.97, 0.98) },
        Company::Nothing => Reading { against: form * 0.5, ..Reading::new(Kind::PersonName, form, 0.8, 0.97) },
    }
}

fn listed(list: &str, word: &Word) -> bool {
    list.split_whitespace().any(|entry| word.is(entry.as_bytes()))
}

fn paired(list: &str, first: &Word, second: &Word) -> bool {
    list.split('|')
        .filter_map(|pair| pair.split_once(' '))
        .any(|(a, b)| first.is(a.as_bytes()) && second.is(b.as_bytes()))
}

fn company(text: &str, start: usize, end: usize) -> Company {
    let after = words::next(text, end).filter(|w| w.start > end && listed(PLACES_AFTER, w) && w.capital);
    if after.is_some() {
        return Company::Place;
    }
    let [near, far] = words::behind::<2>(text, start);
    let Some(near) = near else { return Company::Nothing };
    if let Some(far) = far {
        if paired(PLACE_PAIRS, &far, &near) {
            return Company::Place;
        }
        if paired(TITLE_PAIRS, &far, &near) {
            return Company::Title;
        }
    }
    let close = |w: &Word| text[w.end..start].len() <= 2;
    if near.number && near.folded().len() <= 5 && &text[near.end..start] == " " {
        return Company::Place;
    }
    // `Cô` and `Dì` are said of people, `Đường` is not: where both lists hold the folded word the diacritics decide.
    let raw = composed_lower(&text[near.start..near.end]);
    match raw.as_str() {
        "dượng" | "cậu" | "cụ" => Company::Title,
        "đường" | "cầu" => Company::Place,
        _ if listed(PLACES, &near) && close(&near) => Company::Place,
        _ if listed(TITLES, &near) && close(&near) => Company::Title,
        _ => Company::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, surname: &str, expected: Option<(&str, bool)>) {
        let names = Names::new();
        let start = text.find(surname).unwrap();
        let found = names.at(text, start, false).map(|(end, r)| (&text[start..end], r.bare >= 0.5));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn names_end_where_the_sentence_goes_on() {
        check("Chị Nguyễn Thị Minh Khai đã gọi", "Nguyễn", Some(("Nguyễn Thị Minh Khai", true)));
        check("Nguyễn Văn A đặt", "Nguyễn", Some(("Nguyễn Văn A", true)));
        check("TRẦN QUỐC TOẢN", "TRẦN", Some(("TRẦN QUỐC TOẢN", true)));
        check("Le Thi Hong Nhung", "Le", Some(("Le Thi Hong Nhung", true)));
        check("Pham Xylophone", "Pham", None);
        check("Nguye\u{302}\u{303}n Va\u{306}n An", "Nguye", Some(("Nguye\u{302}\u{303}n Va\u{306}n An", true)));
    }

    #[test]
    fn places_called_after_people_are_not_people() {
        check("đường Nguyễn Văn Cừ", "Nguyễn", Some(("Nguyễn Văn Cừ", false)));
        check("trường THPT Lê Hồng Phong", "Lê", Some(("Lê Hồng Phong", false)));
        check("Đại học Tôn Đức Thắng", "Tôn", Some(("Tôn Đức Thắng", false)));
        check("cầu Trần Thị Lý", "Trần", Some(("Trần Thị Lý", false)));
        check("12 Trần Hưng Đạo", "Trần", Some(("Trần Hưng Đạo", false)));
        check("Nguyen Hue Street", "Nguyen", Some(("Nguyen Hue", false)));
        check("ở Hà Nam", "Hà", Some(("Hà Nam", false)));
    }
}
