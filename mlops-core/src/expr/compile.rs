//! Expressions that were checked against a schema.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use foldhash::fast::FixedState;
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::value::Value;
use super::{Common, Expr, Function, whole};
use crate::source::Scalar;
use crate::{Error, Result, Schema};

/// Type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// True or false.
    Bool,
    /// A whole number of 64 bits.
    Int,
    /// A real number of 64 bits.
    Float,
    /// Text.
    Text,
    /// An instant, in microseconds.
    Time,
}

impl Type {
    /// Arrow's type of a column of such values.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Text => DataType::Utf8View,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "a boolean",
            Self::Int => "an integer",
            Self::Float => "a float",
            Self::Text => "text",
            Self::Time => "a time",
        })
    }
}

/// An [`Expr`] that fits a schema and can run. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Program {
    pub(super) inputs: Arc<[Input]>,
    pub(super) root: Arc<Node>,
    output: Type,
}

/// A column that is read.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: String,
    /// Where it was, and most likely is.
    pub(super) place: usize,
    pub(super) data_type: DataType,
    pub(super) kind: Type,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Input(usize),
    Constant(Value),
    Now,
    Call(Box<Call>),
    /// A call that others have, too, and its place in a [`Memo`](super::Memo).
    Common(usize, Box<Node>),
}

#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) function: Function,
    /// Type of the arguments that are treated alike.
    pub(super) operand: Type,
    pub(super) output: Type,
    pub(super) args: Vec<Node>,
    pub(super) aid: Aid,
}

type Set<T> = Arc<HashSet<T, FixedState>>;

/// What is prepared once.
#[derive(Clone, Debug)]
pub(super) enum Aid {
    None,
    Regex(Arc<Regex>),
    Bools(Set<bool>),
    Whole(Set<i64>),
    Floats(Set<u64>),
    Texts(Set<Box<str>>),
    WholeBounds(Arc<[i64]>),
    FloatBounds(Arc<[f64]>),
}

impl Program {
    pub(super) fn new(expr: &Expr, schema: &Schema, common: &Common) -> Result<Self> {
        expr.check_size()?;
        let mut compiler = Compiler { schema, common, inputs: Vec::new() };
        let typed = compiler.node(expr)?;
        let output = typed.kind.unwrap_or(Type::Bool);
        let root = coerce(typed, output);
        Ok(Self { inputs: compiler.inputs.into(), root: Arc::new(root), output })
    }

    /// Type of what it computes.
    pub fn output(&self) -> Type {
        self.output
    }

    /// Columns that it reads, each once, in the order of their first use.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|input| input.name.as_str())
    }
}

struct Compiler<'a> {
    schema: &'a Schema,
    common: &'a Common,
    inputs: Vec<Input>,
}

struct Typed {
    node: Node,
    /// Unknown for a null.
    kind: Option<Type>,
}

use Type::{Bool, Float, Int, Text, Time};

const ANY: [Type; 5] = [Bool, Int, Float, Text, Time];
const ORDERED: [Type; 4] = [Int, Float, Text, Time];
const NUMBERS: [Type; 2] = [Int, Float];

impl Compiler<'_> {
    fn node(&mut self, expr: &Expr) -> Result<Typed> {
        match expr {
            Expr::Column(name) => self.column(name),
            Expr::Literal(None) => Ok(Typed { node: Node::Constant(Value::null(Bool)), kind: None }),
            Expr::Literal(Some(Scalar::Float(value))) if !value.is_finite() => {
                Err(Error::invalid("expression", value, "a constant that is finite"))
            }
            Expr::Literal(Some(scalar)) => {
                let (value, kind) = Value::scalar(scalar);
                Ok(Typed { node: Node::Constant(value), kind: Some(kind) })
            }
            Expr::Call { function, args } => {
                let Typed { node, kind } = self.call(expr, *function, args)?;
                let node = match self.common.slot(expr) {
                    Some(slot) => Node::Common(slot, Box::new(node)),
                    None => node,
                };
                Ok(Typed { node, kind })
            }
        }
    }

    fn column(&mut self, name: &str) -> Result<Typed> {
        let place = self.schema.index_of(name)?;
        let data_type = self.schema.arrow().field(place).data_type();
        let refuse = || Error::schema(name, "a boolean, a number, text, a date or a timestamp", data_type);
        let kind = Type::of(data_type).ok_or_else(refuse)?;
        let known = self.inputs.iter().position(|input| input.name == name);
        let input = known.unwrap_or(self.inputs.len());
        if known.is_none() {
            self.inputs.push(Input { name: name.to_owned(), place, data_type: data_type.clone(), kind });
        }
        Ok(Typed { node: Node::Input(input), kind: Some(kind) })
    }

    fn call(&mut self, expr: &Expr, function: Function, args: &[Expr]) -> Result<Typed> {
        use Function as F;
        let (least, most) = function.arity();
        let odd_case = function == F::Case && args.len().is_multiple_of(2);
        if !(least..=most).contains(&args.len()) || odd_case {
            let call = format!("`{}` of {} arguments", function.name(), args.len());
            return Err(Error::invalid("expression", call, "a call with as many arguments as the function takes"));
        }
        if function == F::Now {
            return Ok(Typed { node: Node::Now, kind: Some(Time) });
        }
        let typed = args.iter().map(|arg| self.node(arg)).collect::<Result<Vec<_>>>()?;
        let aid = if matches!(function, F::Matches) { regex(&args[1])? } else { Aid::None };
        let call = Open { expr, function, args, typed, aid };
        match function {
            F::And | F::Or | F::Not => call.all(Bool, Bool),
            F::Eq | F::NotEq | F::IsNull => call.same(&ANY, Some(Bool)),
            F::Lt | F::LtEq | F::Gt | F::GtEq | F::Between => call.same(&ORDERED, Some(Bool)),
            F::In => call.listed(),
            F::Add | F::Subtract | F::Multiply | F::Remainder | F::Negate | F::Abs | F::Floor | F::Ceil | F::Round => {
                call.same(&NUMBERS, None)
            }
            F::Min | F::Max => call.same(&[Int, Float, Time], None),
            F::Divide | F::Sqrt | F::Ln | F::Exp | F::Pow | F::GeoDistance => call.all(Float, Float),
            F::IsNan => call.all(Float, Bool),
            F::Coalesce | F::NullIf => call.same(&ANY, None),
            F::Bucket => call.bucketed(),
            F::Case => call.case(),
            F::Length => call.all(Text, Int),
            F::Lower | F::Upper | F::Trim | F::Concat | F::Replace => call.all(Text, Text),
            F::Substring => call.each(&[Text, Int, Int], Text),
            F::Contains | F::StartsWith | F::EndsWith | F::Matches => call.all(Text, Bool),
            F::Year | F::Month | F::Day | F::Weekday | F::Hour | F::Minute | F::Second => call.all(Time, Int),
            F::SecondsBetween => call.all(Time, Float),
            F::AddSeconds => call.each(&[Time, Float], Time),
            F::Int => call.same(&ANY, Some(Int)),
            F::Float => call.same(&[Float, Int, Bool, Text], Some(Float)),
            F::Text => call.same(&ANY, Some(Text)),
            F::Bool => call.same(&[Bool, Int, Float, Text], Some(Bool)),
            F::Time => call.same(&[Time, Int, Text], Some(Time)),
            F::Now => Ok(Typed { node: Node::Now, kind: Some(Time) }),
        }
    }
}

/// A call whose arguments have types, and which has none as yet.
struct Open<'a> {
    expr: &'a Expr,
    function: Function,
    args: &'a [Expr],
    typed: Vec<Typed>,
    aid: Aid,
}

impl Open<'_> {
    /// All arguments are `operand`.
    fn all(self, operand: Type, output: Type) -> Result<Typed> {
        let wanted = vec![operand; self.args.len()];
        self.each(&wanted, output)
    }

    /// The arguments have these types.
    fn each(self, wanted: &[Type], output: Type) -> Result<Typed> {
        let operand = wanted[0];
        for (position, (typed, wanted)) in self.typed.iter().zip(wanted).enumerate() {
            if !typed.kind.is_none_or(|kind| kind == *wanted || (kind, *wanted) == (Int, Float)) {
                return Err(self.refuse(position, &wanted.to_string()));
            }
        }
        let args = self.typed.into_iter().zip(wanted).map(|(typed, wanted)| coerce(typed, *wanted)).collect();
        let (function, aid) = (self.function, self.aid);
        let call = Call { function, operand, output, args, aid };
        Ok(Typed { node: Node::Call(Box::new(call)), kind: Some(output) })
    }

    /// All arguments are of one type out of `allowed`, which is also that of the result where nothing else is said.
    fn same(self, allowed: &[Type], output: Option<Type>) -> Result<Typed> {
        let operand = self.unified(0..self.args.len(), allowed)?.unwrap_or(allowed[0]);
        self.all(operand, output.unwrap_or(operand))
    }

    /// The one type of the arguments at `positions`; none where all are null.
    fn unified(&self, positions: impl Iterator<Item = usize>, allowed: &[Type]) -> Result<Option<Type>> {
        let mut one: Option<Type> = None;
        for position in positions {
            let Some(kind) = self.typed[position].kind else { continue };
            if !allowed.contains(&kind) {
                let names: Vec<String> = allowed.iter().map(Type::to_string).collect();
                return Err(self.refuse(position, &names.join(" or ")));
            }
            one = match one {
                None => Some(kind),
                Some(before) if before == kind => Some(kind),
                Some(Int | Float) if matches!(kind, Int | Float) => Some(Float),
                Some(before) => return Err(self.refuse(position, &format!("{before} like the others"))),
            };
        }
        Ok(one)
    }

    fn case(self) -> Result<Typed> {
        let count = self.args.len();
        let is_value = move |position: &usize| position % 2 == 1 || position + 1 == count;
        let operand = self.unified((0..count).filter(is_value), &ANY)?.unwrap_or(Bool);
        let wanted: Vec<Type> = (0..count).map(|place| if is_value(&place) { operand } else { Bool }).collect();
        self.each(&wanted, operand)
    }

    /// A value among constants.
    fn listed(mut self) -> Result<Typed> {
        let operand = self.unified(0..self.args.len(), &ANY)?.unwrap_or(Bool);
        let constant = |expr: &Expr| if let Expr::Literal(Some(value)) = expr { Some(value.clone()) } else { None };
        let values: Option<Vec<Scalar>> = self.args[1..].iter().map(constant).collect();
        let Some(values) = values else {
            return Err(Error::invalid("expression", "`in`", "a value among constants, none of them null"));
        };
        self.aid = set(&values, operand);
        self.args = &self.args[..1];
        self.typed.truncate(1);
        self.all(operand, Bool)
    }

    /// A number among ascending constants.
    fn bucketed(mut self) -> Result<Typed> {
        let operand = self.unified(0..self.args.len(), &NUMBERS)?.unwrap_or(Float);
        let bound = |expr: &Expr| match expr {
            Expr::Literal(Some(value)) => Some(value.clone()),
            Expr::Call { function: Function::Negate, args } => match args.as_slice() {
                [Expr::Literal(Some(Scalar::Int(value)))] => value.checked_neg().map(Scalar::Int),
                [Expr::Literal(Some(Scalar::Float(value)))] => Some(Scalar::Float(-value)),
                _ => None,
            },
            _ => None,
        };
        let bounds: Option<Vec<Scalar>> = self.args[1..].iter().map(bound).collect();
        self.aid = bounds.as_deref().and_then(|bounds| ascending(bounds, operand)).ok_or_else(|| {
            Error::invalid("expression", "`bucket`", "a number and bounds that are constants in ascending order")
        })?;
        self.args = &self.args[..1];
        self.typed.truncate(1);
        self.all(operand, Int)
    }

    fn refuse(&self, position: usize, expected: &str) -> Error {
        let arg = &self.args[position];
        let column = arg.columns().into_iter().next().or_else(|| self.expr.columns().into_iter().next());
        let found = self.typed[position].kind.map_or("null".to_owned(), |kind| kind.to_string());
        let short = |expr: &Expr| expr.to_string().chars().take(80).collect::<String>();
        Error::schema(
            column.unwrap_or("*"),
            format!("{expected} in `{}`", short(self.expr)),
            format!("`{}`, which is {found}", short(arg)),
        )
    }
}

/// The same value as `to`; what does not fit was refused before.
fn coerce(typed: Typed, to: Type) -> Node {
    match typed.kind {
        None => Node::Constant(Value::null(to)),
        Some(kind) if kind == to => typed.node,
        Some(kind) => {
            let args = vec![typed.node];
            Node::Call(Box::new(Call { function: Function::Float, operand: kind, output: to, args, aid: Aid::None }))
        }
    }
}

fn regex(pattern: &Expr) -> Result<Aid> {
    match pattern {
        Expr::Literal(Some(Scalar::Text(pattern))) => Ok(Aid::Regex(Arc::new(whole(pattern)?))),
        _ => Err(Error::invalid("expression", "`matches`", "a match with a constant regular expression")),
    }
}

/// The constants of `in`, all of which are of the type `operand`.
fn set(values: &[Scalar], operand: Type) -> Aid {
    fn pick<T: Eq + std::hash::Hash>(values: &[Scalar], pick: impl Fn(&Scalar) -> Option<T>) -> Set<T> {
        Arc::new(values.iter().filter_map(pick).collect())
    }
    match operand {
        Bool => Aid::Bools(pick(values, |v| if let Scalar::Bool(v) = v { Some(*v) } else { None })),
        Int | Time => Aid::Whole(pick(values, |v| match v {
            Scalar::Int(v) => Some(*v),
            Scalar::Time(v) => Some(v.as_micros()),
            _ => None,
        })),
        Float => Aid::Floats(pick(values, |v| match v {
            Scalar::Int(v) => Some((*v as f64 + 0.0).to_bits()),
            Scalar::Float(v) => Some((*v + 0.0).to_bits()),
            _ => None,
        })),
        Text => Aid::Texts(pick(values, |v| if let Scalar::Text(v) = v { Some(v.as_str().into()) } else { None })),
    }
}

/// The bounds of `bucket`; none where they do not ascend.
fn ascending(bounds: &[Scalar], operand: Type) -> Option<Aid> {
    let float = |bound: &Scalar| match bound {
        Scalar::Int(value) => Some(*value as f64),
        Scalar::Float(value) => Some(*value),
        _ => None,
    };
    if operand == Int {
        let whole = |bound: &Scalar| if let Scalar::Int(value) = bound { Some(*value) } else { None };
        let whole: Arc<[i64]> = bounds.iter().map(whole).collect::<Option<_>>()?;
        return whole.windows(2).all(|pair| pair[0] < pair[1]).then_some(Aid::WholeBounds(whole));
    }
    let floats: Arc<[f64]> = bounds.iter().map(float).collect::<Option<_>>()?;
    floats.windows(2).all(|pair| pair[0] < pair[1]).then_some(Aid::FloatBounds(floats))
}
