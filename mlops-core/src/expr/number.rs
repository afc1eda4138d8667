//! Arithmetic: what has no answer is null.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Float64Array, Int64Array, PrimitiveArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{Float64Type, Int64Type};

use super::compile::Call;
use super::eval::nulls_of;
use super::value::Value;
use super::{Function, Type};

pub(super) fn compute(call: &Call, args: &[Value], len: usize) -> ArrayRef {
    use Function as F;
    match (call.function, call.operand) {
        (F::Int, from) => Arc::new(to_int(from, &args[0], len)),
        (F::Float, from) => Arc::new(to_float(from, &args[0], len)),
        (F::IsNan, _) => {
            let values = args[0].numbers::<Float64Type>();
            let marks = BooleanBuffer::collect_bool(len, |row| values.value(row).is_nan());
            Arc::new(BooleanArray::new(marks, values.nulls().cloned()))
        }
        (F::Divide | F::Sqrt | F::Ln | F::Exp | F::Pow, _) | (_, Type::Float) => floats(call.function, args, len),
        (function, _) => wholes(function, args, len),
    }
}

fn wholes(function: Function, args: &[Value], len: usize) -> ArrayRef {
    use Function as F;
    let all =
        |f: fn(i64, i64) -> Option<i64>| -> ArrayRef { fold(args, len, |a, b| checked::<Int64Type>(a, b, len, f)) };
    let one = || args[0].numbers::<Int64Type>();
    match function {
        F::Add => all(i64::checked_add),
        F::Subtract => all(i64::checked_sub),
        F::Multiply => all(i64::checked_mul),
        // The least number by -1 has the remainder 0, although the quotient does not fit.
        F::Remainder => all(|a, b| (b != 0).then(|| a.wrapping_rem(b))),
        F::Min => all(|a, b| Some(a.min(b))),
        F::Max => all(|a, b| Some(a.max(b))),
        F::Negate => Arc::new(one().unary_opt::<_, Int64Type>(i64::checked_neg)),
        F::Abs => Arc::new(one().unary_opt::<_, Int64Type>(i64::checked_abs)),
        _ => args[0].array.clone(),
    }
}

fn floats(function: Function, args: &[Value], len: usize) -> ArrayRef {
    use Function as F;
    macro_rules! all {
        ($f:expr) => {
            fold(args, len, |a, b| plain(a, b, len, $f))
        };
    }
    let one = |f: fn(f64) -> f64| -> ArrayRef { Arc::new(args[0].numbers::<Float64Type>().unary::<_, Float64Type>(f)) };
    let some = |f: fn(f64) -> Option<f64>| -> ArrayRef {
        Arc::new(args[0].numbers::<Float64Type>().unary_opt::<_, Float64Type>(f))
    };
    let pairs =
        |f: fn(f64, f64) -> Option<f64>| -> ArrayRef { fold(args, len, |a, b| checked::<Float64Type>(a, b, len, f)) };
    match function {
        F::Add => all!(|a, b| a + b),
        F::Subtract => all!(|a, b| a - b),
        F::Multiply => all!(|a, b| a * b),
        F::Divide => pairs(|a, b| (b != 0.0).then(|| a / b)),
        F::Remainder => pairs(|a, b| (b != 0.0).then(|| a % b)),
        F::Pow => pairs(|a, b| Some(a.powf(b)).filter(|power| !power.is_nan() || a.is_nan() || b.is_nan())),
        F::Min => all!(|a: f64, b: f64| if a.is_nan() || a < b { a } else { b }),
        F::Max => all!(|a: f64, b: f64| if a.is_nan() || a > b { a } else { b }),
        F::Negate => one(|a| -a),
        F::Abs => one(f64::abs),
        F::Floor => one(f64::floor),
        F::Ceil => one(f64::ceil),
        F::Round => one(f64::round),
        F::Exp => one(f64::exp),
        F::Sqrt => some(|a| (a >= 0.0 || a.is_nan()).then(|| a.sqrt())),
        F::Ln => some(|a| (a > 0.0 || a.is_nan()).then(|| a.ln())),
        other => unreachable!("`{}` is no function of floats", other.name()),
    }
}

/// Joins the arguments from left to right.
fn fold<T: ArrowPrimitiveType>(
    args: &[Value],
    len: usize,
    join: impl Fn(&Value, &Value) -> PrimitiveArray<T>,
) -> ArrayRef {
    let mut all = args[0].clone();
    for arg in &args[1..] {
        let constant = all.constant && arg.constant;
        let joined = join(&all, arg);
        debug_assert_eq!(joined.len(), len);
        all = Value { constant: constant && len == 1, ..Value::rows(joined) };
    }
    all.array
}

/// Calls `see` with both values of each row.
fn pairs<T: ArrowPrimitiveType, R>(
    a: &Value,
    b: &Value,
    len: usize,
    see: impl Fn(T::Native, T::Native) -> R,
) -> Vec<R> {
    let (xs, ys) = (a.numbers::<T>().values(), b.numbers::<T>().values());
    match (a.constant && len != 1, b.constant && len != 1) {
        (false, false) => xs.iter().zip(ys.iter()).map(|(x, y)| see(*x, *y)).collect(),
        (false, true) => {
            let y = ys[0];
            xs.iter().map(|x| see(*x, y)).collect()
        }
        (true, false) => {
            let x = xs[0];
            ys.iter().map(|y| see(x, *y)).collect()
        }
        (true, true) => (0..len).map(|_| see(xs[0], ys[0])).collect(),
    }
}

fn plain(a: &Value, b: &Value, len: usize, f: impl Fn(f64, f64) -> f64) -> Float64Array {
    let values = pairs::<Float64Type, f64>(a, b, len, f);
    Float64Array::new(values.into(), nulls_of(&[a.clone(), b.clone()], len))
}

/// Like [`plain`], null where `f` has no answer.
fn checked<T: ArrowPrimitiveType>(
    a: &Value,
    b: &Value,
    len: usize,
    f: impl Fn(T::Native, T::Native) -> Option<T::Native>,
) -> PrimitiveArray<T> {
    let results = pairs::<T, Option<T::Native>>(a, b, len, f);
    let (_, values, nulls) = PrimitiveArray::<T>::from_iter(results).into_parts();
    PrimitiveArray::new(values, NullBuffer::union(nulls.as_ref(), nulls_of(&[a.clone(), b.clone()], len).as_ref()))
}

/// One truth per row.
pub(super) fn test<T: ArrowPrimitiveType>(
    a: &Value,
    b: &Value,
    len: usize,
    fits: impl Fn(T::Native, T::Native) -> bool,
) -> BooleanArray {
    let (xs, ys) = (a.numbers::<T>().values(), b.numbers::<T>().values());
    let marks = match (a.constant && len != 1, b.constant && len != 1) {
        (false, false) => {
            let (xs, ys) = (&xs[..len], &ys[..len]);
            BooleanBuffer::collect_bool(len, |row| fits(xs[row], ys[row]))
        }
        (false, true) => {
            let (xs, y) = (&xs[..len], ys[0]);
            BooleanBuffer::collect_bool(len, |row| fits(xs[row], y))
        }
        (true, false) => {
            let (x, ys) = (xs[0], &ys[..len]);
            BooleanBuffer::collect_bool(len, |row| fits(x, ys[row]))
        }
        (true, true) => BooleanBuffer::collect_bool(len, |_| fits(xs[0], ys[0])),
    };
    BooleanArray::new(marks, nulls_of(&[a.clone(), b.clone()], len))
}

fn to_int(from: Type, value: &Value, len: usize) -> Int64Array {
    match from {
        Type::Int | Type::Time => value.numbers::<Int64Type>().clone(),
        Type::Float => value.numbers::<Float64Type>().unary_opt(|v| {
            // 2^63 itself does not fit; its neighbour below does, and -2^63 does.
            let whole = v.trunc();
            (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&whole).then_some(whole as i64)
        }),
        Type::Bool => value.array.as_boolean().iter().map(|v| v.map(i64::from)).collect(),
        Type::Text => parsed::<Int64Type>(value, len),
    }
}

fn to_float(from: Type, value: &Value, len: usize) -> Float64Array {
    match from {
        Type::Int | Type::Time => value.numbers::<Int64Type>().unary(|v| v as f64),
        Type::Float => value.numbers::<Float64Type>().clone(),
        Type::Bool => value.array.as_boolean().iter().map(|v| v.map(|v| f64::from(u8::from(v)))).collect(),
        Type::Text => {
            let all = parsed::<Float64Type>(value, len);
            all.unary_opt(|v| v.is_finite().then_some(v))
        }
    }
}

fn parsed<T: ArrowPrimitiveType<Native: std::str::FromStr>>(value: &Value, len: usize) -> PrimitiveArray<T> {
    let texts = value.texts();
    let one = |row: usize| value.array.is_valid(row).then(|| texts.value(row).trim().parse().ok()).flatten();
    (0..len).map(one).collect()
}
