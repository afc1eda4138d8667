//! Which types hold every value of which others.

use arrow::datatypes::{DataType, TimeUnit};

use super::logical_type;

/// Types that two others may meet in, narrowest first.
const MEETING_POINTS: [DataType; 7] = [
    DataType::Int16,
    DataType::Int32,
    DataType::Int64,
    DataType::Float32,
    DataType::Float64,
    DataType::Timestamp(TimeUnit::Millisecond, None),
    DataType::Timestamp(TimeUnit::Microsecond, None),
];

/// Whether both hold the same content, encodings aside.
pub(super) fn same(a: &DataType, b: &DataType) -> bool {
    a == b || logical_type(a) == logical_type(b)
}

/// Whether `to` is another type than `from` and holds every value of it exactly.
///
/// Whole numbers go into wider ones and into floats that have a value for each of them, dates into times down to the microsecond
/// (in the years that 64 bits reach), naive times into UTC, decimals into those with as many digits on both sides.
pub(super) fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Date32, Decimal128, Dictionary, FixedSizeList, Float16, Float32, Float64, LargeList, List, Null, Struct,
        Timestamp,
    };
    if same(from, to) {
        return false;
    }
    match (from, to) {
        (Null, _) => true,
        (Dictionary(_, values), to) => widens(values, to),
        (from, Dictionary(_, values)) => widens(from, values),
        (from, to) if from.is_integer() && to.is_integer() => {
            let ((signed, bits), (wide_signed, wide_bits)) = (whole(from), whole(to));
            bits < wide_bits && (wide_signed || !signed)
        }
        (from, Float32) if from.is_integer() => whole(from).1 <= 16,
        (from, Float64) if from.is_integer() => whole(from).1 <= 32,
        (Float16, Float32 | Float64) | (Float32, Float64) => true,
        (Date32, Timestamp(unit, zone)) => ticks(*unit) <= ticks(TimeUnit::Microsecond) && is_utc(zone.as_deref()),
        (Timestamp(from, naive), Timestamp(to, zone)) => {
            let finer = ticks(*from) <= ticks(*to) && (*to != TimeUnit::Nanosecond || from == to);
            finer && (naive == zone || (naive.is_none() && is_utc(zone.as_deref())))
        }
        (Decimal128(digits, scale), Decimal128(wide_digits, wide_scale)) => {
            let whole_digits = |digits: u8, scale: i8| i16::from(digits) - i16::from(scale);
            wide_scale >= scale && whole_digits(*wide_digits, *wide_scale) >= whole_digits(*digits, *scale)
        }
        (List(from), List(to) | LargeList(to)) | (LargeList(from), LargeList(to)) => {
            holds(from.data_type(), to.data_type())
        }
        (FixedSizeList(from, a), FixedSizeList(to, b)) => a == b && holds(from.data_type(), to.data_type()),
        (Struct(from), Struct(to)) => {
            from.len() == to.len()
                && from.iter().zip(to).all(|(a, b)| a.name() == b.name() && holds(a.data_type(), b.data_type()))
        }
        _ => false,
    }
}

/// Whether `to` holds every value of `from`.
pub(super) fn holds(from: &DataType, to: &DataType) -> bool {
    same(from, to) || widens(from, to)
}

/// The narrowest type that holds every value of both, if there is one.
pub(super) fn meet(a: &DataType, b: &DataType) -> Option<DataType> {
    if holds(a, b) {
        return Some(b.clone());
    }
    if holds(b, a) {
        return Some(a.clone());
    }
    MEETING_POINTS.iter().find(|wide| holds(a, wide) && holds(b, wide)).cloned()
}

/// Whether a whole number has a sign, and how many bits it has.
fn whole(data_type: &DataType) -> (bool, usize) {
    (data_type.is_signed_integer(), data_type.primitive_width().unwrap_or(0) * 8)
}

fn ticks(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

fn is_utc(zone: Option<&str>) -> bool {
    matches!(zone, None | Some("UTC" | "Etc/UTC" | "Z" | "+00:00"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType::{
        Date32, Decimal128, Float32, Float64, Int8, Int32, Int64, LargeUtf8, Null, UInt8, UInt32, UInt64, Utf8,
    };

    fn at(unit: TimeUnit, zone: Option<&str>) -> DataType {
        DataType::Timestamp(unit, zone.map(Into::into))
    }

    #[test]
    fn only_what_holds_every_value_is_wider() {
        let (s, us, ns) = (TimeUnit::Second, TimeUnit::Microsecond, TimeUnit::Nanosecond);
        let wider = [
            (Int32, Int64),
            (UInt8, Int32),
            (UInt32, Int64),
            (Int32, Float64),
            (Int8, Float32),
            (Float32, Float64),
            (Null, Utf8),
            (Date32, at(us, None)),
            (Date32, at(us, Some("UTC"))),
            (at(s, None), at(us, None)),
            (at(us, None), at(us, Some("UTC"))),
            (Decimal128(5, 2), Decimal128(7, 3)),
        ];
        for (from, to) in wider {
            assert!(widens(&from, &to), "{from} into {to}");
            assert!(!widens(&to, &from), "{to} into {from}");
        }
        let neither = [
            (Int64, Float64), // 2^53 + 1 has no float
            (Int32, Float32),
            (UInt64, Int64),
            (Utf8, Int64),
            (Utf8, LargeUtf8), // the same content
            (at(us, None), at(ns, None)),
            (Date32, at(us, Some("Asia/Ho_Chi_Minh"))),
            (Decimal128(5, 2), Decimal128(5, 3)),
        ];
        for (a, b) in neither {
            assert!(!widens(&a, &b) && !widens(&b, &a), "{a} and {b}");
        }
    }

    #[test]
    fn two_types_meet_in_the_narrowest_that_holds_both() {
        assert_eq!(meet(&UInt8, &Int8), Some(DataType::Int16));
        assert_eq!(meet(&Int32, &Float32), Some(Float64));
        assert_eq!(meet(&UInt32, &Int32), Some(Int64));
        assert_eq!(meet(&Date32, &at(TimeUnit::Second, None)), Some(at(TimeUnit::Second, None)));
        assert_eq!(meet(&Null, &Utf8), Some(Utf8));
        assert_eq!(meet(&Int64, &Float64), None);
        assert_eq!(meet(&Int64, &Utf8), None);
    }
}
