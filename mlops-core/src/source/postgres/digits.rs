//! The wire form of `numeric`: groups of four digits, a weight, a sign and a scale.

use std::fmt::Write;

use crate::source::cells::Misfit;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// A number as the server sends it.
#[derive(Debug)]
pub(super) struct Digits<'a> {
    /// Two bytes for each group of four digits, from the most significant.
    groups: &'a [u8],
    /// Power of 10,000 of the first group.
    weight: i32,
    sign: u16,
    /// Digits behind the point.
    scale: u16,
}

impl<'a> Digits<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Misfit> {
        let whole = || {
            let (head, groups) = bytes.split_first_chunk::<8>()?;
            let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
            let fits = groups.len() == usize::from(word(0)) * 2 && groups.chunks_exact(2).all(|g| group(g) < 10_000);
            fits.then(|| Self { groups, weight: i32::from(word(2) as i16), sign: word(4), scale: word(6) })
        };
        whole().ok_or_else(|| "not a number in the form of the server".into())
    }

    fn special(&self) -> Option<&'static str> {
        match self.sign {
            NAN => Some("NaN"),
            INFINITY => Some("Infinity"),
            NEGATIVE_INFINITY => Some("-Infinity"),
            _ => None,
        }
    }

    /// The number times 10 to the power of `scale`, which must be whole and have at most `precision` digits.
    pub(super) fn decimal(&self, precision: u8, scale: i8) -> Result<i128, Misfit> {
        if let Some(special) = self.special() {
            return Err(format!("{special}, which a decimal cannot hold").into());
        }
        let refuse = || Misfit::from("a number of more digits than its column has");
        let mut value = 0_i128;
        for (index, digits) in self.groups.chunks_exact(2).map(group).enumerate() {
            let power = 4 * (self.weight - index as i32) + i32::from(scale);
            let part = if power >= 0 {
                let factor = 10_i128.checked_pow(power as u32).filter(|_| digits > 0);
                if digits == 0 { Some(0) } else { factor.and_then(|f| f.checked_mul(i128::from(digits))) }
            } else {
                let divisor = 10_u16.checked_pow(power.unsigned_abs());
                match divisor {
                    Some(d) if digits % d == 0 => Some(i128::from(digits / d)),
                    None if digits == 0 => Some(0),
                    _ => None,
                }
            };
            value = part.and_then(|part| value.checked_add(part)).ok_or_else(refuse)?;
        }
        let limit = 10_i128.checked_pow(u32::from(precision)).ok_or_else(refuse)?;
        if value >= limit {
            return Err(refuse());
        }
        Ok(if self.sign == NEGATIVE { -value } else { value })
    }

    /// Appends the number as the server itself spells it.
    pub(super) fn spell(&self, out: &mut String) {
        if let Some(special) = self.special() {
            out.push_str(special);
            return;
        }
        if self.sign == NEGATIVE {
            out.push('-');
        }
        let digits = |place: i32| {
            let index = usize::try_from(self.weight - place).ok();
            index.and_then(|i| self.groups.chunks_exact(2).nth(i)).map_or(0, group)
        };
        // Writing to text cannot fail.
        let _ = write!(out, "{}", if self.weight < 0 { 0 } else { digits(self.weight) });
        for place in (0..self.weight).rev() {
            let _ = write!(out, "{:04}", digits(place));
        }
        if self.scale > 0 {
            out.push('.');
            let end = out.len() + usize::from(self.scale);
            for place in 1.. {
                if out.len() >= end {
                    break;
                }
                let _ = write!(out, "{:04}", digits(-place));
            }
            out.truncate(end);
        }
    }
}

fn group(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wire form of a number.
    fn wire(groups: &[u16], weight: i16, sign: u16, scale: u16) -> Vec<u8> {
        let head = [groups.len() as u16, weight as u16, sign, scale];
        head.iter().chain(groups).flat_map(|word| word.to_be_bytes()).collect()
    }

    #[track_caller]
    fn check(bytes: &[u8], spelt: &str, decimal: Option<i128>) {
        let digits = Digits::read(bytes).unwrap();
        let mut text = String::new();
        digits.spell(&mut text);
        assert_eq!((text.as_str(), digits.decimal(10, 2).ok()), (spelt, decimal));
    }

    #[test]
    fn numbers_are_read_as_the_server_means_them() {
        // As `numeric_send` of PostgreSQL 15.18 writes them.
        check(&wire(&[1, 2345, 6700], 1, 0, 2), "12345.67", Some(1_234_567));
        check(&wire(&[2500], -1, NEGATIVE, 2), "-0.25", Some(-25));
        check(&wire(&[], 0, 0, 2), "0.00", Some(0));
        check(&wire(&[1], 1, 0, 0), "10000", Some(1_000_000));
        check(&wire(&[1], -2, 0, 8), "0.00000001", None);
        check(&wire(&[9999, 9999, 9900], 1, 0, 2), "99999999.99", Some(9_999_999_999));
        check(&wire(&[1], 2, 0, 0), "100000000", None);
        check(&wire(&[], 0, NAN, 0), "NaN", None);
        check(&wire(&[], 0, NEGATIVE_INFINITY, 0), "-Infinity", None);
    }

    #[test]
    fn torn_and_lying_numbers_do_not_fit() {
        let good = wire(&[1, 2345], 1, 0, 0);
        for cut in 0..good.len() {
            assert!(Digits::read(&good[..cut]).is_err());
        }
        assert!(Digits::read(&wire(&[10_000], 0, 0, 0)).is_err());
        let huge = wire(&[1], i16::MAX, 0, 0);
        assert!(Digits::read(&huge).unwrap().decimal(38, 0).is_err());
    }
}
