//! Tokens that keep the shape of a number: format-preserving encryption.
//!
//! FF1 of NIST SP 800-38G with AES-256 under a key derived from the host's, the kind's name as tweak, over the decimal digits.

use std::fmt;

use aes::Aes256;
use fpe::ff1::{FF1, FlexibleNumeralString};

use super::{Kind, PseudonymKey};
use crate::{Error, Result};

/// Least digits: SP 800-38G revision 1 wants a million values or more.
pub const SHAPE_DIGITS_MIN: usize = 6;
const RADIX: u32 = 10;

/// The cipher; its round keys are overwritten on drop.
pub(super) struct Shape {
    cipher: FF1<Aes256>,
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shape(hidden)")
    }
}

impl Shape {
    pub(super) fn new(key: &[u8; 32]) -> Result<Self> {
        FF1::new(key, RADIX).map(|cipher| Self { cipher }).map_err(|e| Error::external("fpe", e.to_string()))
    }

    fn run(&self, kind: Kind, digits: Vec<u16>, back: bool) -> Option<Vec<u16>> {
        let tweak = kind.as_str().as_bytes();
        let digits = FlexibleNumeralString::from(digits);
        let made = if back { self.cipher.decrypt(tweak, &digits) } else { self.cipher.encrypt(tweak, &digits) };
        made.ok().map(Vec::from)
    }

    /// `text` with its digits in cipher and everything else in place.
    fn replaced(&self, kind: Kind, text: &str, back: bool) -> Option<String> {
        let kept = usize::from(kind == Kind::Phone);
        let is_digit = |b: &u8| b.is_ascii_digit();
        let digits: Vec<u16> = text.bytes().filter(is_digit).skip(kept).map(|b| u16::from(b - b'0')).collect();
        let opens_well = kind != Kind::Phone || text.starts_with('0');
        if digits.len() < SHAPE_DIGITS_MIN || !opens_well || !is_shaped(kind, text) {
            return None;
        }
        let mut made = self.run(kind, digits, back)?.into_iter();
        let mut seen = 0;
        let replaced = text.chars().map(|c| {
            let digit = c.is_ascii_digit();
            seen += usize::from(digit);
            if digit && seen > kept { made.next().map_or(c, |d| char::from(b'0' + d as u8)) } else { c }
        });
        Some(replaced.collect())
    }
}

/// Whether values of `kind` are digits that can be in cipher.
pub(super) const fn has_shape(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Cccd
            | Kind::Cmnd
            | Kind::Phone
            | Kind::TaxCode
            | Kind::SocialInsurance
            | Kind::Passport
            | Kind::Plate
            | Kind::BankCard
    )
}

/// Whether nothing but digits stands in a normal form, but for the letters of series and the hyphen of branches.
fn is_shaped(kind: Kind, text: &str) -> bool {
    let letters = text.bytes().filter(u8::is_ascii_uppercase).count();
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let hyphens = text.bytes().filter(|b| *b == b'-').count();
    let letters_max = match kind {
        Kind::Passport => 1,
        Kind::Plate => 2,
        _ => 0,
    };
    let hyphens_max = usize::from(kind == Kind::TaxCode);
    has_shape(kind) && letters <= letters_max && hyphens <= hyphens_max && letters + digits + hyphens == text.len()
}

impl PseudonymKey {
    /// Another value of the same shape: `value` in its [written form](Kind::normalise) with the digits in cipher.
    ///
    /// Digits stay digits, their number stays, letters of series stay, and so does the zero that phone numbers start with;
    /// check digits do not hold. The same value gives the same token wherever the same key is. Equal plaintexts are seen to
    /// be equal; the format tells nothing else.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `kind` is not one of numbers (CCCD, CMND, phone, tax code, social insurance, passport, plate,
    /// card), or `value` has fewer than six digits to encrypt or is not well-formed. The message tells the length only.
    ///
    /// # Source
    /// NIST SP 800-38G, algorithms 7 and 8; the least domain of revision 1.
    ///
    /// # Examples
    /// ```
    /// use mlops_core::privacy::{Kind, PseudonymKey};
    ///
    /// let key = PseudonymKey::new((0..32).collect())?;
    /// let token = key.encrypt(Kind::Cccd, "001 099 012345")?;
    /// assert!(token.len() == 12 && token.bytes().all(|b| b.is_ascii_digit()));
    /// assert_eq!(key.decrypt(Kind::Cccd, &token)?, "001099012345");
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    pub fn encrypt(&self, kind: Kind, value: &str) -> Result<String> {
        self.shape.replaced(kind, &kind.normalise(value), false).ok_or_else(|| refused("value", value))
    }

    /// The value that [`encrypt`](Self::encrypt) made `token` of, in its written form.
    ///
    /// Any token of the right shape gives some value: a wrong key is not noticed.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `kind` is not one of numbers or `token` has not the shape of one.
    pub fn decrypt(&self, kind: Kind, token: &str) -> Result<String> {
        self.shape.replaced(kind, token.trim(), true).ok_or_else(|| refused("token", token))
    }
}

fn refused(setting: &'static str, value: &str) -> Error {
    let shown = format!("a text of {} characters", value.chars().count());
    Error::invalid(setting, shown, "a well-formed number of its kind with six digits or more")
}

#[cfg(test)]
mod tests {
    use aes::{Aes128, Aes192};
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    fn numerals(text: &str, radix: u32) -> FlexibleNumeralString {
        text.chars().map(|c| c.to_digit(radix).unwrap() as u16).collect::<Vec<_>>().into()
    }

    /// NIST, *Examples with Intermediate Values*, FF1samples.pdf: samples 1 to 9.
    #[test]
    fn the_cipher_gives_the_samples_that_nist_published() {
        let key = "2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94";
        let (none, short, long) = ("", "39383736353433323130", "3737373770717273373737");
        let (ten, word) = ("0123456789", "0123456789abcdefghi");
        for (bytes, radix, tweak, plain, expected) in [
            (16, 10, none, ten, "2433477484"),
            (16, 10, short, ten, "6124200773"),
            (16, 36, long, word, "a9tv40mll9kdu509eum"),
            (24, 10, none, ten, "2830668132"),
            (24, 10, short, ten, "2496655549"),
            (24, 36, long, word, "xbj3kv35jrawxv32ysr"),
            (32, 10, none, ten, "6657667009"),
            (32, 10, short, ten, "1001623463"),
            (32, 36, long, word, "xs8a0azh2avyalyzuwd"),
        ] {
            let (key, tweak, plain) = (&hex(key)[..bytes], hex(tweak), numerals(plain, radix));
            let made = match bytes {
                16 => FF1::<Aes128>::new(key, radix).unwrap().encrypt(&tweak, &plain).unwrap(),
                24 => FF1::<Aes192>::new(key, radix).unwrap().encrypt(&tweak, &plain).unwrap(),
                _ => FF1::<Aes256>::new(key, radix).unwrap().encrypt(&tweak, &plain).unwrap(),
            };
            let digits: Vec<u16> = made.into();
            let shown: String = digits.iter().map(|d| char::from_digit(u32::from(*d), radix).unwrap()).collect();
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn round_keys_are_overwritten_on_drop() {
        fn overwritten<T: zeroize::ZeroizeOnDrop>() {}
        overwritten::<Aes256>();
    }

    #[test]
    fn every_shape_stays_and_spellings_meet() {
        let key = PseudonymKey::new((0..32).collect()).unwrap();
        for (kind, value) in [
            (Kind::Cccd, "001099012345"),
            (Kind::Cmnd, "012345678"),
            (Kind::Phone, "0912345678"),
            (Kind::TaxCode, "0100233488-001"),
            (Kind::SocialInsurance, "7912345678"),
            (Kind::Passport, "B1234567"),
            (Kind::Plate, "29A12345"),
            (Kind::BankCard, "4111111111111111"),
        ] {
            let token = key.encrypt(kind, value).unwrap();
            let mask = |text: &str| text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
            assert_eq!(mask(&token), mask(value));
            assert_ne!(token, value);
            assert_eq!(key.decrypt(kind, &token).unwrap(), value);
        }
        assert_eq!(
            key.encrypt(Kind::Phone, "+84 912 345 678").unwrap(),
            key.encrypt(Kind::Phone, "0912345678").unwrap()
        );
        assert_ne!(key.encrypt(Kind::Cmnd, "012345678").unwrap(), key.encrypt(Kind::Cmnd, "012345679").unwrap());
    }

    #[test]
    fn what_has_no_shape_is_refused_without_being_quoted() {
        let key = PseudonymKey::new((0..32).collect()).unwrap();
        for (kind, value) in [
            (Kind::Email, "an@x.vn"),
            (Kind::Cccd, "00109"),
            (Kind::Cccd, "hỏng 001099012345"),
            (Kind::Phone, "912"),
            (Kind::PersonName, "Nguyễn Văn An"),
            (Kind::Plate, "29A"),
        ] {
            let message = key.encrypt(kind, value).unwrap_err().to_string();
            assert!(!message.contains(value), "{message}");
            assert!(key.decrypt(kind, value).is_err());
        }
    }

    proptest! {
        #[test]
        fn decryption_undoes_encryption(value in "0[0-9]{8,18}", first in 0_u8..9) {
            let key = PseudonymKey::new((first..first + 32).collect()).unwrap();
            for kind in Kind::ALL.into_iter().filter(|kind| has_shape(*kind)) {
                if let Ok(token) = key.encrypt(kind, &value) {
                    prop_assert_eq!(key.decrypt(kind, &token).unwrap(), kind.normalise(&value));
                    prop_assert_eq!(token.len(), kind.normalise(&value).len());
                }
            }
        }
    }
}
