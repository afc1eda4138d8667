//! Running an expression over a batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{and_kleene, cast, not, nullif, or_kleene};
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::compile::{Aid, Call, Node};
use super::value::Value;
use super::{Function, Memo, Program, Type, calendar, geo, number, text};
use crate::schema::column;
use crate::time::EventTime;
use crate::{Error, Result};

impl Program {
    /// One value per row of `batch`, of [`output`](Self::output)'s [`data_type`](Type::data_type); `now` is what `now()` gives.
    ///
    /// # Errors
    /// [`Error::Schema`] when the batch is not of the schema that the expression was checked against, [`Error::Invalid`] when
    /// the texts that it builds take more than a gibibyte.
    pub fn evaluate(&self, batch: &RecordBatch, now: EventTime) -> Result<ArrayRef> {
        let value = self.run(batch, now, &Memo::default())?;
        self.output().write(&value, batch.num_rows())
    }

    /// Rows for which a boolean expression is false: neither true nor null. `memo` knows what other programs have worked out
    /// for this batch and time.
    pub(crate) fn false_rows(&self, batch: &RecordBatch, now: EventTime, memo: &Memo) -> Result<BooleanBuffer> {
        let truth = self.run(batch, now, memo)?.spread(batch.num_rows())?;
        let truth = truth.as_boolean();
        let no = !truth.values();
        Ok(truth.nulls().map_or(no.clone(), |nulls| &no & nulls.inner()))
    }

    /// Rows for which a boolean expression is true; `memo` as in [`false_rows`](Self::false_rows).
    pub(crate) fn true_rows(&self, batch: &RecordBatch, now: EventTime, memo: &Memo) -> Result<BooleanBuffer> {
        let truth = self.run(batch, now, memo)?.spread(batch.num_rows())?;
        Ok(true_of(truth.as_boolean()))
    }

    pub(super) fn run(&self, batch: &RecordBatch, now: EventTime, memo: &Memo) -> Result<Value> {
        let read = |input: &super::compile::Input| {
            let found = column(batch, input.place, &input.name);
            let array = found.ok_or_else(|| Error::schema(&input.name, &input.data_type, "no column"))?;
            if array.data_type() != &input.data_type {
                return Err(Error::schema(&input.name, &input.data_type, array.data_type()));
            }
            input.kind.read(array)
        };
        let inputs = self.inputs.iter().map(read).collect::<Result<Vec<_>>>()?;
        Run { inputs: &inputs, now, rows: batch.num_rows(), memo }.value(&self.root)
    }
}

fn true_of(truth: &BooleanArray) -> BooleanBuffer {
    match truth.nulls() {
        Some(nulls) => truth.values() & nulls.inner(),
        None => truth.values().clone(),
    }
}

struct Run<'a> {
    inputs: &'a [Value],
    now: EventTime,
    rows: usize,
    memo: &'a Memo,
}

impl Run<'_> {
    fn value(&self, node: &Node) -> Result<Value> {
        match node {
            Node::Input(place) => Ok(self.inputs[*place].clone()),
            Node::Constant(value) => Ok(value.clone()),
            Node::Now => Ok(Value::time(self.now)),
            Node::Call(call) => {
                let args = call.args.iter().map(|arg| self.value(arg)).collect::<Result<Vec<_>>>()?;
                self.call(call, &args)
            }
            Node::Common(slot, node) => self.memo.value(*slot, || self.value(node)),
        }
    }

    fn call(&self, call: &Call, args: &[Value]) -> Result<Value> {
        use Function as F;
        let takes_null = matches!(call.function, F::And | F::Or | F::IsNull | F::Coalesce | F::Case | F::NullIf);
        if !takes_null && args.iter().any(Value::is_null_constant) {
            return Ok(Value::null(call.output));
        }
        let constant = args.iter().all(|arg| arg.constant);
        let len = if constant { 1 } else { self.rows };
        let array = compute(call, args, len)?;
        debug_assert_eq!(array.len(), len);
        Ok(Value { array, constant })
    }
}

fn compute(call: &Call, args: &[Value], len: usize) -> Result<ArrayRef> {
    use Function as F;
    Ok(match call.function {
        F::And => kleene(args, len, and_kleene)?,
        F::Or => kleene(args, len, or_kleene)?,
        F::Not => Arc::new(not(args[0].array.as_boolean())?),
        F::Eq | F::NotEq | F::Lt | F::LtEq | F::Gt | F::GtEq => {
            Arc::new(compare(call.function, call.operand, &args[0], &args[1], len))
        }
        F::Between => {
            let above = compare(F::GtEq, call.operand, &args[0], &args[1], len);
            let below = compare(F::LtEq, call.operand, &args[0], &args[2], len);
            Arc::new(and_kleene(&above, &below)?)
        }
        F::In => Arc::new(listed(&call.aid, &args[0])),
        F::IsNull => {
            let nulls = args[0].array.logical_nulls();
            let marks = nulls.map_or_else(|| BooleanBuffer::new_unset(len), |nulls| !nulls.inner());
            Arc::new(BooleanArray::new(marks, None))
        }
        F::Coalesce => coalesce(args, len)?,
        F::Case => case(args, len)?,
        F::Year
        | F::Month
        | F::Day
        | F::Weekday
        | F::Hour
        | F::Minute
        | F::Second
        | F::SecondsBetween
        | F::AddSeconds => calendar::compute(call.function, args, len),
        F::Length | F::Lower | F::Upper | F::Trim | F::Concat | F::Substring | F::Replace | F::Text => {
            text::compute(call, args, len)?
        }
        F::NullIf if args[1].is_null_constant() => args[0].spread(len)?,
        F::NullIf => {
            let same = compare(F::Eq, call.operand, &args[0], &args[1], len);
            nullif(&args[0].spread(len)?, &same)?
        }
        F::Bucket => Arc::new(bucket(&call.aid, &args[0])),
        F::GeoDistance => Arc::new(geo::distance(args, len)),
        F::Contains | F::StartsWith | F::EndsWith | F::Matches => Arc::new(text::test(call, args, len)),
        F::Bool => truth(call.operand, &args[0], len),
        F::Time => calendar::from(call.operand, &args[0], len),
        _ => number::compute(call, args, len),
    })
}

type Kleene = fn(&BooleanArray, &BooleanArray) -> Result<BooleanArray, arrow::error::ArrowError>;

fn kleene(args: &[Value], len: usize, join: Kleene) -> Result<ArrayRef> {
    let mut all = args[0].spread(len)?;
    for arg in &args[1..] {
        let next = arg.spread(len)?;
        all = Arc::new(join(all.as_boolean(), next.as_boolean())?);
    }
    Ok(all)
}

macro_rules! by_comparison {
    ($function:expr, $test:ident $(::<$t:ty>)?, $a:expr, $b:expr, $len:expr) => {
        match $function {
            Function::Eq => $test$(::<$t>)?($a, $b, $len, |x, y| x == y),
            Function::NotEq => $test$(::<$t>)?($a, $b, $len, |x, y| x != y),
            Function::Lt => $test$(::<$t>)?($a, $b, $len, |x, y| x < y),
            Function::LtEq => $test$(::<$t>)?($a, $b, $len, |x, y| x <= y),
            Function::Gt => $test$(::<$t>)?($a, $b, $len, |x, y| x > y),
            _ => $test$(::<$t>)?($a, $b, $len, |x, y| x >= y),
        }
    };
}

fn compare(function: Function, operand: Type, a: &Value, b: &Value, len: usize) -> BooleanArray {
    match operand {
        Type::Int | Type::Time => by_comparison!(function, number_test::<Int64Type>, a, b, len),
        Type::Float => by_comparison!(function, number_test::<Float64Type>, a, b, len),
        Type::Text => by_comparison!(function, text_test, a, b, len),
        Type::Bool => by_comparison!(function, bool_test, a, b, len),
    }
}

use number::test as number_test;
use text::test_pairs as text_test;

fn bool_test(a: &Value, b: &Value, len: usize, fits: impl Fn(bool, bool) -> bool) -> BooleanArray {
    let (x, y) = (a.array.as_boolean(), b.array.as_boolean());
    let at = |constant: bool, row: usize| if constant { 0 } else { row };
    let marks =
        BooleanBuffer::collect_bool(len, |row| fits(x.value(at(a.constant, row)), y.value(at(b.constant, row))));
    BooleanArray::new(marks, nulls_of(&[a.clone(), b.clone()], len))
}

/// Nulls of a result that is null where an argument is; constants are not null here.
pub(super) fn nulls_of(args: &[Value], len: usize) -> Option<NullBuffer> {
    let rows = args.iter().filter(|arg| !arg.constant || len == 1);
    rows.fold(None, |all, arg| NullBuffer::union(all.as_ref(), arg.array.nulls()))
}

fn listed(aid: &Aid, value: &Value) -> BooleanArray {
    let len = value.array.len();
    let marks = match aid {
        Aid::Bools(set) => {
            let values = value.array.as_boolean();
            BooleanBuffer::collect_bool(len, |row| set.contains(&values.value(row)))
        }
        Aid::Whole(set) => {
            let values = value.numbers::<Int64Type>().values();
            BooleanBuffer::collect_bool(len, |row| set.contains(&values[row]))
        }
        Aid::Floats(set) => {
            let values = value.numbers::<Float64Type>().values();
            BooleanBuffer::collect_bool(len, |row| set.contains(&(values[row] + 0.0).to_bits()))
        }
        Aid::Texts(set) => {
            let texts = value.texts();
            BooleanBuffer::collect_bool(len, |row| set.contains(texts.value(row)))
        }
        Aid::None | Aid::Regex(_) | Aid::WholeBounds(_) | Aid::FloatBounds(_) => {
            unreachable!("`in` is compiled with a set")
        }
    };
    BooleanArray::new(marks, value.array.nulls().cloned())
}

/// Number of bounds at or below each value.
fn bucket(aid: &Aid, value: &Value) -> Int64Array {
    match aid {
        Aid::WholeBounds(bounds) => {
            let at = |value| bounds.partition_point(|bound| *bound <= value) as i64;
            value.numbers::<Int64Type>().unary(at)
        }
        Aid::FloatBounds(bounds) => {
            let at = |value: f64| (!value.is_nan()).then(|| bounds.partition_point(|bound| *bound <= value) as i64);
            value.numbers::<Float64Type>().unary_opt(at)
        }
        _ => unreachable!("`bucket` is compiled with bounds"),
    }
}

/// `then` where `mask` is set, else `other`.
fn choose(mask: BooleanBuffer, then: &Value, other: &ArrayRef, len: usize) -> Result<ArrayRef> {
    let (mut then, mut other) = (then.spread(len)?, other.clone());
    if then.data_type() != other.data_type() {
        (then, other) = (cast(&then, &DataType::Utf8View)?, cast(&other, &DataType::Utf8View)?);
    }
    Ok(zip(&BooleanArray::new(mask, None), &then, &other)?)
}

fn coalesce(args: &[Value], len: usize) -> Result<ArrayRef> {
    let Some((last, rest)) = args.split_last() else { unreachable!("it has an argument") };
    rest.iter().rev().try_fold(last.spread(len)?, |result, arg| {
        if arg.is_null_constant() {
            return Ok(result);
        }
        match arg.array.logical_nulls() {
            Some(nulls) if !arg.constant => choose(nulls.into_inner(), arg, &result, len),
            _ => arg.spread(len),
        }
    })
}

fn case(args: &[Value], len: usize) -> Result<ArrayRef> {
    let Some((last, branches)) = args.split_last() else { unreachable!("it has an argument") };
    branches.chunks(2).rev().try_fold(last.spread(len)?, |result, branch| {
        let condition = branch[0].spread(len)?;
        choose(true_of(condition.as_boolean()), &branch[1], &result, len)
    })
}

/// `bool(a)`.
fn truth(operand: Type, value: &Value, len: usize) -> ArrayRef {
    let nulls = value.array.nulls().cloned();
    let marks = match operand {
        Type::Int | Type::Time => {
            let values = value.numbers::<Int64Type>().values();
            BooleanBuffer::collect_bool(len, |row| values[row] != 0)
        }
        Type::Float => {
            let values = value.numbers::<Float64Type>().values();
            BooleanBuffer::collect_bool(len, |row| values[row] != 0.0)
        }
        Type::Text => {
            let texts = value.texts();
            let parsed = (0..len).map(|row| value.array.is_valid(row).then(|| texts.value(row).parse().ok()).flatten());
            return Arc::new(parsed.collect::<BooleanArray>());
        }
        Type::Bool => return value.array.clone(),
    };
    Arc::new(BooleanArray::new(marks, nulls))
}
