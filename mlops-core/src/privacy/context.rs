//! Words around a value that say what it is: `CCCD`, `số điện thoại`, `order id`.
//!
//! One automaton over folded letters, fed character by character in the same pass that finds the values. Positions are
//! counted in *steps* — folded letters, with every gap (spaces, digits, punctuation) as one — so that distance does not
//! depend on the form of the diacritics or the length of numbers.

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::{Anchored, MatchKind, dfa::DFA};

use super::Kind;
use super::fold::{Folded, fold};
use crate::{Error, Result};

/// Steps before a value in which a word speaks for it.
const BEFORE_STEPS: usize = 40;
/// Steps before a value in which a word speaks against it.
const AGAINST_STEPS: usize = 14;
/// Steps after a value in which a word speaks for it: `001… (CCCD)`.
pub(super) const AFTER_STEPS: usize = 14;
/// Steps that a line break counts for.
const LINE_STEPS: usize = 8;

/// How surely a word names a kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) enum Strength {
    #[default]
    None,
    /// Could mean it, such as `id`.
    Weak,
    /// Means it.
    Strong,
}

/// Strength per kind, by [`Kind::index`].
pub(super) type Strengths = [Strength; Kind::ALL.len()];

/// What a word says.
#[derive(Clone, Copy, Debug)]
struct Label {
    strong: u8,
    weak: u8,
    against: bool,
}

const CCCD: Label = Label { strong: Kind::Cccd.bit(), weak: Kind::Cmnd.bit(), against: false };
const IDENTITY: Label = Label { strong: Kind::Cccd.bit() | Kind::Cmnd.bit(), weak: 0, against: false };
const ID: Label = Label { strong: 0, weak: Kind::Cccd.bit() | Kind::Cmnd.bit(), against: false };
const PHONE: Label = Label { strong: Kind::Phone.bit(), weak: 0, against: false };
const EMAIL: Label = Label { strong: Kind::Email.bit(), weak: 0, against: false };
const AGAINST: Label = Label { strong: 0, weak: 0, against: true };

/// Folded words; where two end at one place the longer one speaks.
const WORDS: [(Label, &[&str]); 6] = [
    (
        CCCD,
        &[
            "cccd",
            "can cuoc",
            "cancuoc",
            "can cuoc cong dan",
            "dinh danh",
            "dinh danh ca nhan",
            "ddcn",
            "citizen id",
            "citizenid",
            "citizen identity",
        ],
    ),
    (
        IDENTITY,
        &[
            "cmnd",
            "cmt",
            "cmtnd",
            "chung minh",
            "chung minh thu",
            "chung minh nhan dan",
            "giay to tuy than",
            "cmnd cccd",
            "identity card",
            "identity number",
            "identity no",
            "id card",
            "id number",
            "id no",
            "idcard",
            "national id",
            "nationalid",
            "personal id",
            "identification number",
            "socccd",
            "socmnd",
            "so giay to",
            "identitycard",
        ],
    ),
    (ID, &["id", "identity", "identification", "so id"]),
    (
        PHONE,
        &[
            "sdt",
            "dt",
            "dien thoai",
            "dienthoai",
            "sodienthoai",
            "so dt",
            "dtdd",
            "di dong",
            "didong",
            "tel",
            "telephone",
            "phone",
            "phones",
            "phonenumber",
            "phoneno",
            "mobile",
            "mobileno",
            "mobilephone",
            "mob",
            "cell",
            "cellphone",
            "msisdn",
            "zalo",
            "viber",
            "whatsapp",
            "wa me",
            "call",
            "goi",
            "alo",
            "lien he",
            "lienhe",
            "lh",
            "contact",
            "sms",
            "nhan tin",
            "so may",
            "may ban",
            "hotline",
            "fax",
        ],
    ),
    (EMAIL, &["email", "e mail", "mail", "emailaddress", "thu dien tu", "hop thu", "gmail"]),
    (
        AGAINST,
        &[
            "order",
            "orders",
            "order id",
            "order no",
            "order number",
            "orderid",
            "don hang",
            "ma don",
            "ma don hang",
            "van don",
            "ma van don",
            "tracking",
            "tracking number",
            "tracking no",
            "invoice",
            "invoice no",
            "hoa don",
            "so hoa don",
            "giao dich",
            "ma giao dich",
            "transaction",
            "transaction id",
            "txn",
            "trace",
            "trace id",
            "reference",
            "ref",
            "ref no",
            "tham chieu",
            "ma tham chieu",
            "timestamp",
            "version",
            "phien ban",
            "build",
            "sku",
            "barcode",
            "ma vach",
            "ma hang",
            "ma san pham",
            "product",
            "product id",
            "serial",
            "serial no",
            "imei",
            "so tai khoan",
            "stk",
            "tai khoan",
            "account",
            "account no",
            "account number",
            "account id",
            "mst",
            "ma so thue",
            "tax code",
            "tax id",
            "bhxh",
            "bao hiem",
            "hop dong",
            "so hop dong",
            "contract",
            "price",
            "amount",
            "total",
            "so tien",
            "don gia",
            "gia ban",
            "customer id",
            "customerid",
            "user id",
            "userid",
            "session id",
            "request id",
            "item id",
            "offer id",
            "event id",
            "ma loi",
            "error",
            "port",
            "voucher",
            "coupon",
            "ma khach hang",
            "ma kh",
            "ticket",
            "checksum",
            "hash",
            "uuid",
            "offset",
            "revision",
            "batch",
            "lot",
        ],
    ),
];

/// The word list as an automaton.
pub(super) struct Lexicon {
    dfa: DFA,
    labels: Vec<Label>,
}

impl Lexicon {
    pub(super) fn new() -> Result<Self> {
        let mut patterns = Vec::new();
        let mut labels = Vec::new();
        for (label, words) in WORDS {
            patterns.extend(words.iter().map(|word| format!(" {word} ")));
            labels.extend(words.iter().map(|_| label));
        }
        let dfa = DFA::builder()
            .match_kind(MatchKind::Standard)
            .build(&patterns)
            .map_err(|e| Error::external("aho-corasick", e))?;
        Ok(Self { dfa, labels })
    }

    /// What a column's name says: `so_dien_thoai`, `customerPhone`, `Số CMND`.
    pub(super) fn of_column(&self, name: &str) -> Result<Strengths> {
        let mut tracker = Tracker::new(self)?;
        let mut strengths = Strengths::default();
        let mut lower = false;
        for c in name.chars() {
            if c.is_uppercase() && lower {
                tracker.gap(self).into_iter().for_each(|hit| hit.raise(&mut strengths));
            }
            lower = c.is_lowercase();
            match fold(c) {
                Folded::Letter(letter) => tracker.letter(self, letter),
                Folded::Gap => tracker.gap(self).into_iter().for_each(|hit| hit.raise(&mut strengths)),
                Folded::Mark => {}
            }
        }
        tracker.gap(self).into_iter().for_each(|hit| hit.raise(&mut strengths));
        if tracker.against.is_some() {
            // `customer_id` is no identity number: only words that mean a kind outright still speak.
            strengths.iter_mut().filter(|s| **s == Strength::Weak).for_each(|s| *s = Strength::None);
        }
        Ok(strengths)
    }
}

/// A word that speaks for kinds, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    label: Label,
    /// Step at which the word starts.
    pub(super) start: usize,
    /// Step after the word.
    pub(super) end: usize,
}

impl Hit {
    pub(super) fn strength(&self, kind: Kind) -> Strength {
        if self.label.strong & kind.bit() != 0 {
            Strength::Strong
        } else if self.label.weak & kind.bit() != 0 {
            Strength::Weak
        } else {
            Strength::None
        }
    }

    fn raise(&self, strengths: &mut Strengths) {
        for kind in Kind::ALL {
            let slot = &mut strengths[kind.index()];
            *slot = (*slot).max(self.strength(kind));
        }
    }
}

/// The state of one pass: which words were last seen.
#[derive(Debug)]
pub(super) struct Tracker {
    state: StateID,
    step: usize,
    in_gap: bool,
    last: [Option<(usize, Strength)>; Kind::ALL.len()],
    against: Option<usize>,
}

impl Tracker {
    pub(super) fn new(lexicon: &Lexicon) -> Result<Self> {
        let start = lexicon.dfa.start_state(Anchored::No).map_err(|e| Error::external("aho-corasick", e))?;
        let state = lexicon.dfa.next_state(Anchored::No, start, b' ');
        Ok(Self { state, step: 0, in_gap: true, last: [None; Kind::ALL.len()], against: None })
    }

    /// Steps so far.
    pub(super) const fn step(&self) -> usize {
        self.step
    }

    /// Takes one folded letter. Words end at gaps, so none is found here.
    #[inline]
    pub(super) fn letter(&mut self, lexicon: &Lexicon, letter: u8) {
        self.state = lexicon.dfa.next_state(Anchored::No, self.state, letter);
        self.step += 1;
        self.in_gap = false;
    }

    /// Takes a gap and returns the word for a kind that ended at it.
    #[inline]
    pub(super) fn gap(&mut self, lexicon: &Lexicon) -> Option<Hit> {
        if self.in_gap {
            return None;
        }
        self.in_gap = true;
        self.step += 1;
        self.state = lexicon.dfa.next_state(Anchored::No, self.state, b' ');
        if lexicon.dfa.is_match(self.state) { self.word(lexicon) } else { None }
    }

    fn word(&mut self, lexicon: &Lexicon) -> Option<Hit> {
        let matches = (0..lexicon.dfa.match_len(self.state)).map(|i| lexicon.dfa.match_pattern(self.state, i));
        let longest = matches.max_by_key(|pattern| lexicon.dfa.pattern_len(*pattern))?;
        let label = *lexicon.labels.get(longest.as_usize())?;
        if label.against {
            self.against = Some(self.step);
            return None;
        }
        let hit =
            Hit { label, start: (self.step + 1).saturating_sub(lexicon.dfa.pattern_len(longest)), end: self.step };
        for kind in Kind::ALL {
            let strength = hit.strength(kind);
            if strength != Strength::None {
                self.last[kind.index()] = Some((self.step, strength));
            }
        }
        Some(hit)
    }

    /// Takes a line break: what follows is further away.
    pub(super) fn line(&mut self) {
        self.step += LINE_STEPS;
    }

    /// What the words before a value say for `kind`, and how many steps ago.
    pub(super) fn speaks_for(&self, kind: Kind) -> Option<(Strength, usize)> {
        let (at, strength) = self.last[kind.index()]?;
        let distance = self.step - at;
        (distance <= BEFORE_STEPS && self.against.is_none_or(|against| against < at)).then_some((strength, distance))
    }

    /// Whether a word such as `order` stands closely before the next value.
    pub(super) fn speaks_against(&self) -> bool {
        self.against.is_some_and(|at| self.step - at <= AGAINST_STEPS)
    }

    /// A number was read. A word against is used up by it, and so are the words before that one.
    ///
    /// A number counts as a step, so that only so many numbers can stand between a word and the one it speaks about.
    pub(super) fn number_read(&mut self) {
        self.step += 1;
        if let Some(against) = self.against.take() {
            self.last.iter_mut().filter(|l| l.is_some_and(|(at, _)| at < against)).for_each(|l| *l = None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, kind: Kind, expected: Strength) {
        assert_eq!(Lexicon::new().unwrap().of_column(name).unwrap()[kind.index()], expected, "{name}");
    }

    #[test]
    fn column_names_speak_in_both_languages_and_all_spellings() {
        for name in [
            "so_dien_thoai",
            "Số điện thoại",
            "So\u{302}\u{301} d\u{111}t",
            "customerPhone",
            "SDT",
            "PHONE_2",
            "dienthoai",
        ] {
            let expected = if name.contains("d\u{111}t") { Strength::None } else { Strength::Strong };
            check(name, Kind::Phone, expected);
        }
        check("cccd", Kind::Cccd, Strength::Strong);
        check("Số CMND", Kind::Cmnd, Strength::Strong);
        check("id", Kind::Cccd, Strength::Weak);
        check("customer_id", Kind::Cccd, Strength::None);
        check("email_address", Kind::Email, Strength::Strong);
        check("telemetry", Kind::Phone, Strength::None);
    }

    #[test]
    fn no_pattern_is_written_in_letters_that_cannot_occur() {
        for (_, words) in WORDS {
            assert!(words.iter().all(|w| w.bytes().all(|b| b.is_ascii_lowercase() || b == b' ')));
        }
    }
}
