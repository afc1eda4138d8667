//! Values and instants as Feast writes them: the messages `feast.types.Value` and `google.protobuf.Timestamp`.
//!
//! On this side a value is what stands in a row: little-endian numbers, text as it is, numbers of a list one after the other,
//! texts of a list each behind a `u32` with its length.

use std::fmt;

use crate::define::{Item, ValueType};

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED32: u8 = 5;

/// Fields of `Value` that are known here.
const BYTES: u32 = 1;
const STRING: u32 = 2;
const INT32: u32 = 3;
const INT64: u32 = 4;
const DOUBLE: u32 = 5;
const FLOAT: u32 = 6;
const BOOL: u32 = 7;
const UNIX_TIMESTAMP: u32 = 8;
const STRING_LIST: u32 = 12;
const INT32_LIST: u32 = 13;
const INT64_LIST: u32 = 14;
const DOUBLE_LIST: u32 = 15;
const FLOAT_LIST: u32 = 16;
const NULL: u32 = 19;

const SECOND_US: i64 = 1_000_000;

/// The first and the first too late second of a `Timestamp`: years 1 to 9999.
const SECONDS: std::ops::Range<i64> = -62_135_596_800..253_402_300_800;

/// Why a value cannot be put into Feast's form, or taken out of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unfit {
    /// An instant with a fraction of a second: Feast keeps whole ones in features.
    Fraction,
    /// An event time outside of the years 1 to 9999.
    Year,
    /// The bytes are no message, or one that says what cannot be.
    Malformed,
    /// The message holds another type, with this number in `feast.types.Value`.
    Type(u32),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fraction => f.write_str("an instant with a fraction of a second, which Feast does not keep"),
            Self::Year => f.write_str("an instant outside of the years 1 to 9999, which Feast does not keep"),
            Self::Malformed => f.write_str("it is no message of Feast"),
            Self::Type(number) => write!(f, "field {number} of `feast.types.Value`"),
        }
    }
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn tag(field: u32, wire: u8, out: &mut Vec<u8>) {
    varint(u64::from(field) << 3 | u64::from(wire), out);
}

fn bytes_field(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    tag(field, LENGTH, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn number<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Unfit> {
    bytes.try_into().map_err(|_| Unfit::Malformed)
}

/// Appends a value that is not null; a null one is no bytes at all.
pub(super) fn put(of: ValueType, value: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
    let signed = |field, value: i64, out: &mut Vec<u8>| {
        tag(field, VARINT, out);
        varint(value.cast_unsigned(), out);
    };
    match of {
        ValueType::Bool => signed(BOOL, i64::from(value != [0]), out),
        ValueType::Int32 => signed(INT32, i32::from_le_bytes(number(value)?).into(), out),
        ValueType::Int64 => signed(INT64, i64::from_le_bytes(number(value)?), out),
        ValueType::Timestamp => {
            let micros = i64::from_le_bytes(number(value)?);
            if micros.rem_euclid(SECOND_US) != 0 {
                return Err(Unfit::Fraction);
            }
            signed(UNIX_TIMESTAMP, micros / SECOND_US, out);
        }
        ValueType::Float32 => {
            tag(FLOAT, FIXED32, out);
            out.extend_from_slice(value);
        }
        ValueType::Float64 => {
            tag(DOUBLE, FIXED64, out);
            out.extend_from_slice(value);
        }
        ValueType::Utf8 => bytes_field(STRING, value, out),
        ValueType::Binary => bytes_field(BYTES, value, out),
        ValueType::Vector(_) => packed(FLOAT_LIST, value, out),
        ValueType::List(Item::Float64) => packed(DOUBLE_LIST, value, out),
        ValueType::List(Item::Int64) => {
            let mut numbers = Vec::with_capacity(value.len());
            value.as_chunks::<8>().0.iter().for_each(|bytes| varint(u64::from_le_bytes(*bytes), &mut numbers));
            packed(INT64_LIST, &numbers, out);
        }
        ValueType::List(Item::Utf8) => {
            let mut list = Vec::with_capacity(value.len());
            let mut rest = value;
            while let Some((length, after)) = rest.split_first_chunk::<4>() {
                let length = u32::from_le_bytes(*length) as usize;
                let (text, after) = after.split_at_checked(length).ok_or(Unfit::Malformed)?;
                bytes_field(1, text, &mut list);
                rest = after;
            }
            bytes_field(STRING_LIST, &list, out);
        }
    }
    Ok(())
}

/// Appends a message whose field 1 is packed numbers.
fn packed(field: u32, numbers: &[u8], out: &mut Vec<u8>) {
    let mut list = Vec::with_capacity(numbers.len() + 8);
    if !numbers.is_empty() {
        bytes_field(1, numbers, &mut list);
    }
    bytes_field(field, &list, out);
}

/// What one field of a message holds.
#[derive(Clone, Copy)]
enum Content<'a> {
    Number(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(&'a [u8]),
}

/// Reads a message field by field.
struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    fn varint(&mut self) -> Result<u64, Unfit> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Unfit::Malformed)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Unfit::Malformed)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Unfit> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(Unfit::Malformed)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn next(&mut self) -> Result<Option<(u32, Content<'a>)>, Unfit> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = u32::try_from(tag >> 3).map_err(|_| Unfit::Malformed)?;
        let content = match (tag & 7) as u8 {
            VARINT => Content::Number(self.varint()?),
            FIXED64 => Content::Fixed64(self.take()?),
            FIXED32 => Content::Fixed32(self.take()?),
            LENGTH => {
                let length = usize::try_from(self.varint()?).map_err(|_| Unfit::Malformed)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(Unfit::Malformed)?;
                self.0 = rest;
                Content::Bytes(bytes)
            }
            _ => return Err(Unfit::Malformed),
        };
        Ok(Some((field, content)))
    }
}

/// The value in `message` as it stands in a row, appended to `out`; whether there is one.
///
/// Whole numbers of 32 bits are read where 64 are declared, and so are real ones.
pub(super) fn read(of: ValueType, message: &[u8], out: &mut Vec<u8>) -> Result<bool, Unfit> {
    let mut fields = Message(message);
    let mut last = None;
    while let Some((field, content)) = fields.next()? {
        last = Some((field, content));
    }
    let Some((field, content)) = last else { return Ok(false) };
    if field == NULL {
        return Ok(false);
    }
    let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
    match (of, field, content) {
        (ValueType::Bool, BOOL, Content::Number(number)) => put(&[u8::from(number != 0)]),
        (ValueType::Int32, INT32, Content::Number(number)) => {
            let number = i32::try_from(number.cast_signed()).map_err(|_| Unfit::Malformed)?;
            put(&number.to_le_bytes());
        }
        (ValueType::Int64, INT32 | INT64, Content::Number(number)) => put(&number.to_le_bytes()),
        (ValueType::Timestamp, UNIX_TIMESTAMP, Content::Number(number)) => {
            let micros = number.cast_signed().checked_mul(SECOND_US).ok_or(Unfit::Malformed)?;
            put(&micros.to_le_bytes());
        }
        (ValueType::Float32, FLOAT, Content::Fixed32(bytes)) => put(&bytes),
        (ValueType::Float64, DOUBLE, Content::Fixed64(bytes)) => put(&bytes),
        (ValueType::Float64, FLOAT, Content::Fixed32(bytes)) => {
            put(&f64::from(f32::from_le_bytes(bytes)).to_le_bytes())
        }
        (ValueType::Utf8, STRING, Content::Bytes(bytes)) => {
            std::str::from_utf8(bytes).map_err(|_| Unfit::Malformed)?;
            put(bytes);
        }
        (ValueType::Binary, BYTES, Content::Bytes(bytes)) => put(bytes),
        (ValueType::Vector(_) | ValueType::List(_), _, Content::Bytes(list)) => return read_list(of, field, list, out),
        _ => return Err(Unfit::Type(field)),
    }
    Ok(true)
}

/// The list in `message`, which is field `field` of a value.
fn read_list(of: ValueType, field: u32, message: &[u8], out: &mut Vec<u8>) -> Result<bool, Unfit> {
    let start = out.len();
    let mut fields = Message(message);
    while let Some((element, content)) = fields.next()? {
        if element != 1 {
            continue;
        }
        match (of, field, content) {
            (ValueType::List(Item::Utf8), STRING_LIST, Content::Bytes(text)) => {
                std::str::from_utf8(text).map_err(|_| Unfit::Malformed)?;
                let length = u32::try_from(text.len()).map_err(|_| Unfit::Malformed)?;
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(text);
            }
            (ValueType::List(Item::Int64), INT32_LIST | INT64_LIST, Content::Number(number)) => {
                out.extend_from_slice(&number.to_le_bytes());
            }
            (ValueType::List(Item::Int64), INT32_LIST | INT64_LIST, Content::Bytes(packed)) => {
                let mut packed = Message(packed);
                while !packed.0.is_empty() {
                    out.extend_from_slice(&packed.varint()?.to_le_bytes());
                }
            }
            (ValueType::List(Item::Float64), DOUBLE_LIST, Content::Fixed64(bytes)) => out.extend_from_slice(&bytes),
            (ValueType::List(Item::Float64), DOUBLE_LIST, Content::Bytes(packed)) => out.extend_from_slice(packed),
            (ValueType::List(Item::Float64), FLOAT_LIST, Content::Bytes(packed)) => {
                let (numbers, rest) = packed.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(Unfit::Malformed);
                }
                let wide = numbers.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes)));
                wide.for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
            }
            (ValueType::Vector(_), FLOAT_LIST, Content::Fixed32(bytes)) => out.extend_from_slice(&bytes),
            (ValueType::Vector(_), FLOAT_LIST, Content::Bytes(packed)) => out.extend_from_slice(packed),
            _ => return Err(Unfit::Type(field)),
        }
    }
    let length = out.len() - start;
    let fits = match of {
        ValueType::Vector(dimensions) => length == 4 * usize::from(dimensions),
        ValueType::List(Item::Utf8) => field == STRING_LIST,
        ValueType::List(Item::Int64) => matches!(field, INT32_LIST | INT64_LIST),
        _ => matches!(field, DOUBLE_LIST | FLOAT_LIST) && length.is_multiple_of(8),
    };
    if fits { Ok(true) } else { Err(Unfit::Type(field)) }
}

/// Appends an instant in microseconds.
pub(super) fn put_time(micros: i64, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let (seconds, nanos) = (micros.div_euclid(SECOND_US), micros.rem_euclid(SECOND_US) * 1_000);
    if !SECONDS.contains(&seconds) {
        return Err(Unfit::Year);
    }
    for (field, number) in [(1, seconds), (2, nanos)] {
        if number != 0 {
            tag(field, VARINT, out);
            varint(number.cast_unsigned(), out);
        }
    }
    Ok(())
}

/// The instant in `message`, in microseconds, rounded down.
pub(super) fn read_time(message: &[u8]) -> Result<i64, Unfit> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut fields = Message(message);
    while let Some((field, content)) = fields.next()? {
        match (field, content) {
            (1, Content::Number(number)) => seconds = number.cast_signed(),
            (2, Content::Number(number)) => nanos = number.cast_signed(),
            _ => {}
        }
    }
    if !SECONDS.contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return Err(Unfit::Malformed);
    }
    Ok(seconds * SECOND_US + nanos / 1_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// Every message was printed by feast 0.67.0 with protobuf 7.36.2, `Value(…).SerializeToString().hex()`.
    #[test]
    fn values_are_those_of_feast() {
        let numbers = |numbers: &[i64]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
        let texts = [&1_u32.to_le_bytes()[..], b"a", &0_u32.to_le_bytes()].concat();
        let cases: [(ValueType, Vec<u8>, &str); 18] = [
            (ValueType::Bool, vec![1], "3801"),
            (ValueType::Bool, vec![0], "3800"),
            (ValueType::Int32, (-2_i32).to_le_bytes().into(), "18feffffffffffffffff01"),
            (ValueType::Int64, numbers(&[i64::MIN]), "2080808080808080808001"),
            (ValueType::Int64, numbers(&[300]), "20ac02"),
            (ValueType::Int64, numbers(&[0]), "2000"),
            (ValueType::Float32, 1.5_f32.to_le_bytes().into(), "350000c03f"),
            (ValueType::Float64, (-0.0_f64).to_le_bytes().into(), "290000000000000080"),
            (ValueType::Utf8, "é".into(), "1202c3a9"),
            (ValueType::Utf8, Vec::new(), "1200"),
            (ValueType::Binary, vec![0, 255], "0a0200ff"),
            (ValueType::Timestamp, numbers(&[-1_000_000]), "40ffffffffffffffffff01"),
            (ValueType::List(Item::Int64), numbers(&[1, -1, 300]), "720f0a0d01ffffffffffffffffff01ac02"),
            (ValueType::List(Item::Int64), Vec::new(), "7200"),
            (
                ValueType::List(Item::Float64),
                [1.5_f64.to_le_bytes(), (-2.0_f64).to_le_bytes()].concat(),
                "7a120a10000000000000f83f00000000000000c0",
            ),
            (ValueType::List(Item::Utf8), texts, "62050a01610a00"),
            (
                ValueType::Vector(2),
                [1.5_f32.to_le_bytes(), 2.0_f32.to_le_bytes()].concat(),
                "82010a0a080000c03f00000040",
            ),
            (ValueType::List(Item::Float64), Vec::new(), "7a00"),
        ];
        for (of, value, expected) in cases {
            let mut out = Vec::new();
            put(of, &value, &mut out).unwrap();
            assert_eq!(hex(&out), expected, "{of}");
            let mut back = Vec::new();
            assert_eq!(read(of, &out, &mut back), Ok(true), "{of}");
            assert_eq!(back, value, "{of}");
        }
    }

    #[test]
    fn null_is_an_empty_message_or_one_that_says_so() {
        for message in ["", "980100"] {
            assert_eq!(read(ValueType::Int64, &unhex(message), &mut Vec::new()), Ok(false));
        }
    }

    /// Printed by protobuf 7.36.2, `Timestamp(seconds=…, nanos=…).SerializeToString().hex()`.
    #[test]
    fn instants_are_those_of_feast() {
        for (micros, expected) in [
            (1_000_000, "0801"),
            (1_706_273_765_123_456, "08e5d7cead06108094ef3a"),
            (-500_000, "08ffffffffffffffffff011080cab5ee01"),
            (0, ""),
        ] {
            let mut out = Vec::new();
            put_time(micros, &mut out).unwrap();
            assert_eq!((hex(&out).as_str(), read_time(&out)), (expected, Ok(micros)));
        }
        assert_eq!(put_time(i64::MAX, &mut Vec::new()), Err(Unfit::Year));
        assert_eq!(put_time(i64::MIN, &mut Vec::new()), Err(Unfit::Year));
    }

    #[test]
    fn narrower_numbers_are_widened_and_other_types_are_told() {
        let read = |of, message| {
            let mut out = Vec::new();
            read(of, &unhex(message), &mut out).map(|_| out)
        };
        assert_eq!(read(ValueType::Int64, "18feffffffffffffffff01"), Ok((-2_i64).to_le_bytes().into()));
        assert_eq!(read(ValueType::Float64, "350000c03f"), Ok(1.5_f64.to_le_bytes().into()));
        assert_eq!(read(ValueType::Int32, "20ac02"), Err(Unfit::Type(INT64)));
        assert_eq!(read(ValueType::Utf8, "0a0200ff"), Err(Unfit::Type(BYTES)));
        assert_eq!(read(ValueType::Vector(3), "82010a0a080000c03f00000040"), Err(Unfit::Type(FLOAT_LIST)));
        assert_eq!(read(ValueType::List(Item::Utf8), "7200"), Err(Unfit::Type(INT64_LIST)));
        let half_second = 500_000_i64.to_le_bytes();
        assert_eq!(put(ValueType::Timestamp, &half_second, &mut Vec::new()), Err(Unfit::Fraction));
    }

    proptest! {
        #[test]
        fn noise_never_panics(message in proptest::collection::vec(any::<u8>(), 0..40)) {
            for of in [ValueType::Int32, ValueType::Utf8, ValueType::List(Item::Int64), ValueType::List(Item::Utf8), ValueType::Vector(2)] {
                let _ = read(of, &message, &mut Vec::new());
            }
            let _ = read_time(&message);
        }
    }
}
