//! Functions of text.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringViewBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Float64Type, Int64Type};

use super::compile::{Aid, Call};
use super::eval::nulls_of;
use super::value::{Texts, Value};
use super::{Function, Type};
use crate::time::EventTime;
use crate::{Error, Result};

/// Longest text that an expression builds, in bytes; a longer one is null.
pub const TEXT_RESULT_BYTES_MAX: usize = 1 << 16;

/// Most bytes of text that one step builds over one batch.
const BATCH_BYTES_MAX: usize = 1 << 30;

pub(super) fn compute(call: &Call, args: &[Value], len: usize) -> Result<ArrayRef> {
    if call.function == Function::Length {
        let texts = args[0].texts();
        let lengths: Vec<i64> = (0..len).map(|row| characters(texts.value(row)) as i64).collect();
        return Ok(Arc::new(Int64Array::new(lengths.into(), args[0].array.nulls().cloned())));
    }
    if call.function == Function::Substring {
        return substring(args, len);
    }
    let texts: Vec<_> = if call.operand == Type::Text { args.iter().map(Value::texts).collect() } else { Vec::new() };
    let at = |arg: usize, row: usize| if args[arg].constant { 0 } else { row };
    build(args, len, |row, out| match call.function {
        Function::Lower => out.extend(texts[0].value(row).chars().flat_map(char::to_lowercase)),
        Function::Upper => out.extend(texts[0].value(row).chars().flat_map(char::to_uppercase)),
        Function::Trim => out.push_str(texts[0].value(row).trim()),
        Function::Concat => {
            for (arg, text) in texts.iter().enumerate() {
                if out.len() <= TEXT_RESULT_BYTES_MAX {
                    out.push_str(text.value(at(arg, row)));
                }
            }
        }
        Function::Replace => replace(&texts, |arg| at(arg, row), out),
        _ => written(call.operand, &args[0], row, out),
    })
}

/// Stops once the result is too long, which makes it null.
fn replace(texts: &[Texts<'_>], at: impl Fn(usize) -> usize, out: &mut String) {
    let [text, part, other] = std::array::from_fn(|arg| texts[arg].value(at(arg)));
    if part.is_empty() {
        out.push_str(text);
        return;
    }
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(part) {
        if out.len() > TEXT_RESULT_BYTES_MAX {
            return;
        }
        out.push_str(before);
        out.push_str(other);
        rest = after;
    }
    out.push_str(rest);
}

fn substring(args: &[Value], len: usize) -> Result<ArrayRef> {
    let texts = args[0].texts();
    let (starts, counts) = (args[1].numbers::<Int64Type>(), args[2].numbers::<Int64Type>());
    let at = |arg: usize, row: usize| if args[arg].constant { 0 } else { row };
    let cut = |row: usize| {
        let start = usize::try_from(starts.value(at(1, row))).ok()?.checked_sub(1)?;
        let count = usize::try_from(counts.value(at(2, row))).ok()?;
        let text = texts.value(at(0, row));
        let place = |text: &str, nth: usize| text.char_indices().nth(nth).map_or(text.len(), |(place, _)| place);
        let rest = &text[place(text, start)..];
        Some(&rest[..place(rest, count)])
    };
    let nulls = nulls_of(args, len);
    let mut builder = StringViewBuilder::with_capacity(len);
    for row in 0..len {
        let known = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        builder.append_option(known.then(|| cut(row)).flatten());
    }
    Ok(Arc::new(builder.finish()))
}

/// Unicode scalar values: the bytes that do not continue one.
pub(crate) fn characters(text: &str) -> usize {
    text.as_bytes().iter().filter(|byte| (**byte as i8) >= -64).count()
}

fn written(from: Type, value: &Value, row: usize, out: &mut String) {
    // Writing to a string does not fail.
    let _ = match from {
        Type::Bool => write!(out, "{}", value.array.as_boolean().value(row)),
        Type::Int => write!(out, "{}", value.numbers::<Int64Type>().value(row)),
        Type::Float => write!(out, "{}", value.numbers::<Float64Type>().value(row)),
        Type::Time => write!(out, "{}", EventTime::from_micros(value.numbers::<Int64Type>().value(row))),
        Type::Text => out.write_str(value.texts().value(row)),
    };
}

fn build(args: &[Value], len: usize, write: impl Fn(usize, &mut String)) -> Result<ArrayRef> {
    let nulls = nulls_of(args, len);
    let mut builder = StringViewBuilder::with_capacity(len);
    let (mut out, mut total) = (String::new(), 0_usize);
    for row in 0..len {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            builder.append_null();
            continue;
        }
        out.clear();
        write(row, &mut out);
        total += out.len();
        if total > BATCH_BYTES_MAX {
            return Err(Error::invalid("expression", "text of more than a gibibyte", "at most 2^30 bytes per batch"));
        }
        builder.append_option((out.len() <= TEXT_RESULT_BYTES_MAX).then_some(&out));
    }
    Ok(Arc::new(builder.finish()))
}

/// Tests of text that are no comparisons.
pub(super) fn test(call: &Call, args: &[Value], len: usize) -> BooleanArray {
    if let Aid::Regex(regex) = &call.aid {
        let texts = args[0].texts();
        let marks = BooleanBuffer::collect_bool(len, |row| regex.is_match(texts.value(row)));
        return BooleanArray::new(marks, args[0].array.nulls().cloned());
    }
    match call.function {
        Function::Contains => test_pairs(&args[0], &args[1], len, |text, part| text.contains(part)),
        Function::StartsWith => test_pairs(&args[0], &args[1], len, |text, part| text.starts_with(part)),
        _ => test_pairs(&args[0], &args[1], len, |text, part| text.ends_with(part)),
    }
}

pub(super) fn test_pairs(a: &Value, b: &Value, len: usize, fits: impl Fn(&str, &str) -> bool) -> BooleanArray {
    let (x, y) = (a.texts(), b.texts());
    let at = |constant: bool, row: usize| if constant { 0 } else { row };
    let marks =
        BooleanBuffer::collect_bool(len, |row| fits(x.value(at(a.constant, row)), y.value(at(b.constant, row))));
    BooleanArray::new(marks, nulls_of(&[a.clone(), b.clone()], len))
}
