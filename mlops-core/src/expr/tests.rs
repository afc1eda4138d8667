//! Expressions over a small table with values made by hand, mistakes and where they are, and the laws.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int32Array, Int64Array,
    LargeStringArray, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::Int32Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;

use super::{Expr, Function, Program, Type};
use crate::source::Scalar;
use crate::time::EventTime;
use crate::{Error, Result, Schema};

/// 2024-02-29T12:34:56Z, a Thursday.
const NOW: EventTime = EventTime::from_micros(1_709_210_096_000_000);

fn table() -> RecordBatch {
    let nanos = TimestampNanosecondArray::from(vec![Some(-1), Some(NOW.as_micros() * 1000), None]);
    let plans: DictionaryArray<Int32Type> = [Some("a"), None, Some("b")].into_iter().collect();
    let cents = Decimal128Array::from(vec![Some(150), Some(-25), None]).with_precision_and_scale(10, 2).unwrap();
    let columns: [(&str, ArrayRef); 12] = [
        ("i", Arc::new(Int64Array::from(vec![Some(7), Some(-2), None]))),
        ("j", Arc::new(Int32Array::from(vec![Some(2), Some(0), Some(5)]))),
        ("big", Arc::new(UInt64Array::from(vec![Some(u64::MAX), Some(3), None]))),
        ("least", Arc::new(Int64Array::from(vec![i64::MIN; 3]))),
        ("f", Arc::new(Float64Array::from(vec![Some(1.5), Some(f64::NAN), None]))),
        ("cents", Arc::new(cents)),
        ("t", Arc::new(StringArray::from(vec![Some("  Hà Nội "), Some("x-1"), None]))),
        ("l", Arc::new(LargeStringArray::from(vec![Some("12"), Some("x-1"), Some("2024-02-29")]))),
        ("plan", Arc::new(plans)),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("at", Arc::new(nanos)),
        ("day", Arc::new(Date32Array::from(vec![Some(0), Some(19_782), None]))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn program(text: &str) -> Result<Program> {
    Expr::parse(text)?.compile(&Schema::new(table().schema()).unwrap())
}

fn shown(array: &dyn Array) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let formatter = ArrayFormatter::try_new(array, &options).unwrap();
    (0..array.len()).map(|row| formatter.value(row).to_string()).collect()
}

#[track_caller]
fn gives(text: &str, expected: [&str; 3]) {
    let values = program(text).unwrap().evaluate(&table(), NOW).unwrap();
    assert_eq!(shown(&values), expected, "{text}");
}

#[test]
fn arithmetic_is_null_where_it_has_no_answer() {
    gives("i + j * 2", ["11", "-2", "null"]);
    gives("i / j", ["3.5", "null", "null"]);
    gives("i % j", ["1", "null", "null"]);
    gives("-7 % j", ["-1", "null", "-2"]);
    gives("-least", ["null", "null", "null"]);
    gives("abs(least)", ["null"; 3]);
    gives("least % -1", ["0"; 3]);
    gives("least - 1", ["null"; 3]);
    gives("i * 9223372036854775807", ["null"; 3]);
    gives("sqrt(i)", ["2.6457513110645907", "null", "null"]);
    gives("ln(j)", ["0.6931471805599453", "null", "1.6094379124341003"]);
    gives("pow(j, 0.5)", ["1.4142135623730951", "0.0", "2.23606797749979"]);
    gives("pow(i, 0.5)", ["2.6457513110645907", "null", "null"]);
    gives("exp(0 * j)", ["1.0"; 3]);
    gives("floor(cents)", ["1.0", "-1.0", "null"]);
    gives("ceil(cents)", ["2.0", "-0.0", "null"]);
    gives("round(cents)", ["2.0", "-0.0", "null"]);
    gives("max(1, j, 3)", ["3", "3", "5"]);
    gives("min(f, 2)", ["1.5", "NaN", "null"]);
    gives("big", ["null", "3", "null"]);
}

#[test]
fn logic_is_three_valued() {
    gives("b and true", ["true", "false", "null"]);
    gives("b and false", ["false"; 3]);
    gives("b or true", ["true"; 3]);
    gives("b or null", ["true", "null", "null"]);
    gives("not b", ["false", "true", "null"]);
    gives("b is null", ["false", "false", "true"]);
    gives("b is not null", ["true", "true", "false"]);
}

#[test]
fn comparisons_look_at_nan_as_ieee_does() {
    gives("f >= 0", ["true", "false", "null"]);
    gives("f = f", ["true", "false", "null"]);
    gives("f != f", ["false", "true", "null"]);
    gives("is_nan(f)", ["false", "true", "null"]);
    gives("0 * -1.0 = 0", ["true"; 3]);
    gives("i between -2 and j + 5", ["true", "true", "null"]);
    gives("i not between 0 and 5", ["true", "true", "null"]);
    gives("t = l", ["false", "true", "null"]);
    gives("b = true", ["true", "false", "null"]);
    gives("i in (7, 8)", ["true", "false", "null"]);
    gives("f in (1.5, 2)", ["true", "false", "null"]);
    gives("plan in ('a', 'c')", ["true", "null", "false"]);
    gives("plan not in ('a', 'c')", ["false", "null", "true"]);
    gives("day in (time '2024-02-29')", ["false", "true", "null"]);
}

#[test]
fn the_first_that_fits_is_taken() {
    gives("coalesce(i, j)", ["7", "-2", "5"]);
    gives("coalesce(null, f, 0)", ["1.5", "NaN", "0.0"]);
    gives("coalesce(t, l)", ["  Hà Nội ", "x-1", "2024-02-29"]);
    gives("if(b, i, j)", ["7", "0", "5"]);
    gives("case when i > 0 then 'up' when i < 0 then 'down' end", ["up", "down", "null"]);
    gives("case when b then t else l end", ["  Hà Nội ", "x-1", "2024-02-29"]);
}

#[test]
fn text_is_counted_and_cut_by_characters() {
    gives("length(t)", ["9", "3", "null"]);
    gives("length(trim(t))", ["6", "3", "null"]);
    gives("upper(trim(t))", ["HÀ NỘI", "X-1", "null"]);
    gives("lower(upper(t))", ["  hà nội ", "x-1", "null"]);
    gives("contains(t, 'Nội')", ["true", "false", "null"]);
    gives("starts_with(l, t)", ["false", "true", "null"]);
    gives("ends_with(l, '2')", ["true", "false", "false"]);
    gives("matches(l, '[0-9]+')", ["true", "false", "false"]);
    gives("concat(plan, '-', text(j))", ["a-2", "null", "b-5"]);
}

#[test]
fn text_is_cut_and_replaced_without_a_panic() {
    gives("substring(t, 3, 2)", ["Hà", "1", "null"]);
    gives("substring(l, j, 100)", ["2", "null", "-02-29"]);
    gives("substring(l, 1, -1)", ["null"; 3]);
    gives("replace(trim(t), 'à', 'a')", ["Ha Nội", "x-1", "null"]);
    gives("replace(l, '', 'y')", ["12", "x-1", "2024-02-29"]);
    gives("replace(l, '2', '22')", ["122", "x-1", "220224-022-229"]);
}

#[test]
fn buckets_are_counted_from_below() {
    gives("bucket(i, 0, 7, 9)", ["2", "0", "null"]);
    gives("bucket(f, -1.5, 1.5)", ["2", "null", "null"]);
    gives("bucket(least, 0)", ["0"; 3]);
    gives("bucket(j, 0.5, 2)", ["2", "0", "2"]);
    for mistake in ["bucket(i, 2, 1)", "bucket(i, 1, 1)", "bucket(i, j)", "bucket(i, null)"] {
        assert!(matches!(program(mistake), Err(Error::Invalid { .. })), "{mistake}");
    }
    assert!(matches!(program("bucket(t, 1)"), Err(Error::Schema { .. })));
}

#[test]
fn a_value_can_be_taken_as_unknown() {
    gives("null_if(j, 0)", ["2", "null", "5"]);
    gives("null_if(f, f)", ["null", "NaN", "null"]);
    gives("null_if(t, 'x-1')", ["  Hà Nội ", "null", "null"]);
    gives("null_if(null, 1)", ["null"; 3]);
    gives("null_if(j, i)", ["2", "0", "5"]);
    gives("null_if(j, null)", ["2", "0", "5"]);
}

#[test]
fn distances_are_in_metres() {
    // A degree of latitude on a sphere of 6 371 008.8 m: π r / 180.
    gives("round(geo_distance(0, 0, 1, 0))", ["111195.0"; 3]);
    gives("geo_distance(0, j, 0, j)", ["0.0"; 3]);
    gives("geo_distance(91, 0, 0, 0)", ["null"; 3]);
    gives("geo_distance(f, 0, 0, 0) is null", ["false", "false", "true"]);
}

#[test]
fn times_are_read_in_utc_whatever_their_unit() {
    // -1 ns is 1969-12-31T23:59:59.999999999Z, a Wednesday; 19 782 days after 1970 is 2024-02-29.
    gives("year(at)", ["1969", "2024", "null"]);
    gives("month(at)", ["12", "2", "null"]);
    gives("day(at)", ["31", "29", "null"]);
    gives("weekday(at)", ["3", "4", "null"]);
    gives("hour(at)", ["23", "12", "null"]);
    gives("minute(at)", ["59", "34", "null"]);
    gives("second(at)", ["59", "56", "null"]);
    gives("seconds_between(now(), at)", ["1709210096.000001", "0.0", "null"]);
    gives("at <= now()", ["true", "true", "null"]);
    gives("add_seconds(day, 0.5) = time '1970-01-01T00:00:00.5Z'", ["true", "false", "null"]);
    gives("add_seconds(day, 1e300) is null", ["true"; 3]);
    gives("weekday(day)", ["4", "4", "null"]);
}

#[test]
fn casts_that_do_not_fit_are_null() {
    gives("int(l)", ["12", "null", "null"]);
    gives("int(1e300 * j)", ["null", "0", "null"]);
    gives("int(f)", ["1", "null", "null"]);
    gives("float(b)", ["1.0", "0.0", "null"]);
    gives("bool(j)", ["true", "false", "true"]);
    gives("bool(concat('tr', 'ue'))", ["true"; 3]);
    gives("time(l) = time '2024-02-29'", ["null", "null", "true"]);
    gives("text(day)", ["1970-01-01T00:00:00.000000Z", "2024-02-29T00:00:00.000000Z", "null"]);
}

#[test]
fn the_calendar_holds_at_both_ends_of_time() {
    // Python 3.11 datetime knows no such years; by hand from 146 097 days per 400 years.
    for (time, year) in [(i64::MIN, -290_308), (i64::MAX, 294_247)] {
        let value = Expr::call(Function::Year, [Expr::literal(EventTime::from_micros(time))]);
        let program = value.compile(&Schema::new(table().schema()).unwrap()).unwrap();
        assert_eq!(shown(&program.evaluate(&table(), NOW).unwrap())[0], year.to_string());
    }
}

#[test]
fn mistakes_are_told_with_their_place_and_advice() {
    for (text, at, advice) in [
        ("i > 0 && j > 0", 7, "write `and`"),
        ("i = \"a\"", 5, "single quotes"),
        ("i = null", 5, "write `is null`"),
        ("1 < i < 3", 7, "do not chain"),
        ("lenght(t) > 3", 1, "is `length` meant?"),
        ("length(t, t)", 1, "takes 1 arguments, not 2"),
        ("(i > 0", 7, "`)` is expected"),
        ("i >", 4, "ends where a value is expected"),
        ("t like 'a%'", 3, "write `contains`"),
        ("i > 0 AND j > 0", 7, "lower case"),
        ("t = 'open", 5, "not closed"),
        ("i = 9223372036854775808", 5, "does not fit 64 bits"),
        ("i = 1x", 5, "runs into a name"),
        ("", 1, "ends where a value is expected"),
        ("time 'soon'", 6, "RFC 3339"),
        ("à && b", 3, "write `and`"),
    ] {
        let error = Expr::parse(text).unwrap_err().to_string();
        assert!(error.contains(&format!("at {at}:")) && error.contains(advice), "{text}: {error}");
    }
    assert_eq!(Expr::parse("-9223372036854775808").unwrap(), Expr::literal(i64::MIN));
}

#[test]
fn types_are_checked_before_anything_runs() {
    let refused = |text: &str| program(text).unwrap_err();
    assert!(matches!(refused("nowhere > 0"), Error::NotFound { .. }));
    for (text, column) in
        [("length(i)", "i"), ("i + t", "t"), ("b < b", "b"), ("not i", "i"), ("i = 'x'", "i"), ("time(f)", "f")]
    {
        assert!(matches!(refused(text), Error::Schema { column: found, .. } if found == column), "{text}");
    }
    assert!(matches!(refused("matches(t, l)"), Error::Invalid { .. }));
    assert!(matches!(refused("matches(t, '(')"), Error::Invalid { .. }));
    assert!(matches!(refused("i in (1, j)"), Error::Invalid { .. }));
    assert_eq!(program("i + 1").unwrap().output(), Type::Int);
    assert_eq!(program("i + 1.0").unwrap().output(), Type::Float);
    assert_eq!(program("i + big - i").unwrap().columns().collect::<Vec<_>>(), ["i", "big"]);
}

#[test]
fn what_is_too_large_is_refused_and_nothing_overflows_the_stack() {
    let deep = format!("{}i{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(Expr::parse(&deep).unwrap_err().to_string().contains("deep"));
    let minus = format!("{}i", "- ".repeat(10_000));
    assert!(Expr::parse(&minus).is_err());
    assert!(Expr::parse(&format!("i{}", " - 1".repeat(100))).is_err());
    assert!(Expr::parse(&format!("i{}", " + 1".repeat(5_000))).is_ok(), "sums of many are one call");
    assert!(Expr::parse(&"x".repeat(70_000)).is_err());
    let wide = Expr::call(Function::Add, vec![Expr::column("i"); 20_000]);
    assert!(wide.compile(&Schema::new(table().schema()).unwrap()).is_err());
    let concat = "concat(".repeat(18) + "t" + &", t, t)".repeat(18);
    gives(&format!("{concat} is null"), ["false", "false", "true"]);
    let doubled = (0..18).fold("text(j)".to_owned(), |inner, _| format!("concat({inner}, {inner})"));
    assert!(Expr::parse(&doubled).is_err(), "a text of a megabyte is refused");
}

#[test]
fn a_text_that_grows_too_long_is_null() {
    let long = format!("'{}'", "x".repeat(20_000));
    gives(&format!("length(concat({long}, {long}))"), ["40000"; 3]);
    let doubled = Expr::call(Function::Concat, vec![Expr::literal("x".repeat(20_000)); 4]);
    let program = doubled.compile(&Schema::new(table().schema()).unwrap()).unwrap();
    assert_eq!(shown(&program.evaluate(&table(), NOW).unwrap()), ["null"; 3]);
}

#[test]
fn trees_and_text_can_be_mixed_in_json() {
    let json = r#"{"call": {"function": "and", "args": ["i > 0", {"call": {"function": "is_null", "args": [{"column": "t"}]}}]}}"#;
    let expr: Expr = serde_json::from_str(json).unwrap();
    assert_eq!(expr.to_string(), "i > 0 and t is null");
    let again: Expr = serde_json::from_str(&serde_json::to_string(&expr).unwrap()).unwrap();
    assert_eq!(again, expr);
    assert!(serde_json::from_str::<Expr>(r#"{"column": "a", "more": 1}"#).is_err());
    assert!(serde_json::from_str::<Expr>(r#"{"call": {"function": "system", "args": []}}"#).is_err());
    assert!(serde_json::from_str::<Expr>(r#""i >""#).is_err());
}

fn leaf() -> impl Strategy<Value = Expr> {
    let names = ["i", "j", "big", "least", "f", "cents", "t", "l", "plan", "b", "at", "day", "odd `name", "and", ""];
    prop_oneof![
        4 => prop::sample::select(names[..12].to_vec()).prop_map(Expr::column),
        1 => prop::sample::select(names.to_vec()).prop_map(Expr::column),
        1 => prop_oneof![Just(i64::MIN), Just(0), any::<i64>(), -9..9_i64].prop_map(Expr::literal),
        1 => any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(Expr::literal),
        1 => "[a-c' ]{0,4}".prop_map(Expr::literal),
        1 => any::<bool>().prop_map(Expr::literal),
        1 => any::<i64>().prop_map(|us| Expr::literal(EventTime::from_micros(us))),
        1 => Just(Expr::Literal(None)),
    ]
}

/// Any tree with the right numbers of arguments; most of them are of the wrong types.
fn tree() -> impl Strategy<Value = Expr> {
    leaf().prop_recursive(4, 24, 5, |inner| {
        (prop::sample::select(Function::ALL.to_vec()), prop::collection::vec(inner, 5)).prop_map(
            |(function, mut args)| {
                let (least, most) = function.arity();
                args.truncate(most.min(if function == Function::Case { 5 } else { least.max(3) }));
                Expr::call(function, args)
            },
        )
    })
}

/// Trees whose types mostly go together, by wrapping operands in casts.
fn typed() -> impl Strategy<Value = Expr> {
    let number = |inner: Expr| Expr::call(Function::Float, [Expr::call(Function::Text, [inner])]);
    (tree_of_numbers(), tree_of_numbers(), prop::sample::select(Function::ALL.to_vec())).prop_map(
        move |(a, b, function)| {
            let args: Vec<Expr> = match function.arity() {
                (0, _) => vec![],
                (1, 1) => vec![a],
                (3, _) => vec![Expr::call(Function::Lt, [a.clone(), b.clone()]), number(a), b],
                _ => vec![number(a), b],
            };
            Expr::call(function, args)
        },
    )
}

fn tree_of_numbers() -> impl Strategy<Value = Expr> {
    let names = ["i", "j", "big", "least", "f", "cents"];
    let leaf = prop_oneof![
        prop::sample::select(names.to_vec()).prop_map(Expr::column),
        prop_oneof![Just(i64::MAX), Just(0), -9..9_i64].prop_map(Expr::literal),
        prop_oneof![Just(0.0), Just(-0.5), Just(1e308)].prop_map(Expr::literal),
    ];
    let functions = [
        Function::Add,
        Function::Subtract,
        Function::Multiply,
        Function::Divide,
        Function::Remainder,
        Function::Negate,
        Function::Abs,
        Function::Floor,
        Function::Round,
        Function::Sqrt,
        Function::Ln,
        Function::Exp,
        Function::Pow,
        Function::Min,
        Function::Max,
        Function::Coalesce,
        Function::Int,
        Function::Float,
    ];
    leaf.prop_recursive(5, 32, 3, move |inner| {
        (prop::sample::select(functions.to_vec()), prop::collection::vec(inner, 3)).prop_map(|(function, mut args)| {
            args.truncate(function.arity().1);
            Expr::call(function, args)
        })
    })
}

fn as_it_is_alone(expr: &Expr) -> std::result::Result<(), TestCaseError> {
    let table = table();
    let Ok(program) = expr.compile(&Schema::new(table.schema()).unwrap()) else { return Ok(()) };
    let whole = program.evaluate(&table, NOW).unwrap();
    prop_assert_eq!(whole.data_type(), &program.output().data_type());
    let alone = (0..table.num_rows()).map(|row| shown(&program.evaluate(&table.slice(row, 1), NOW).unwrap()).remove(0));
    prop_assert_eq!(shown(&whole), alone.collect::<Vec<_>>(), "{}", expr);
    prop_assert_eq!(program.evaluate(&table.slice(0, 0), NOW).unwrap().len(), 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn text_form_and_tree_are_inverse(expr in tree()) {
        let text = expr.to_string();
        let again = Expr::parse(&text).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
        prop_assert_eq!(again, expr, "{}", text);
    }

    #[test]
    fn a_row_alone_gives_what_it_gives_in_a_table(expr in prop_oneof![tree(), typed(), tree_of_numbers()]) {
        as_it_is_alone(&expr)?;
    }

    #[test]
    fn no_text_panics(text in "[a-z0-9 ().,'`+*/<>=!-]{0,40}") {
        let _ = Expr::parse(&text).map(|expr| as_it_is_alone(&expr));
    }
}

#[test]
fn a_scalar_of_every_kind_can_stand_in_an_expression() {
    for scalar in
        [Scalar::Bool(true), Scalar::Int(-1), Scalar::Float(0.1), Scalar::Text("it's".into()), Scalar::Time(NOW)]
    {
        let expr = Expr::Literal(Some(scalar));
        assert_eq!(Expr::parse(&expr.to_string()).unwrap(), expr);
    }
}
