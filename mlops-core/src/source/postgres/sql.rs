//! The text that the server is asked with, and the values bound to it.

use tokio_postgres::types::Type;

use super::columns::EPOCH_MICROS;
use super::kind::Kind;
use crate::source::{Comparison, Predicate, Scalar};
use crate::{Error, Result};

/// Bytes of a name at the most: the server cuts longer ones, and would find another table.
const NAME_BYTES_MAX: usize = 63;

/// The server's times end here, in microseconds since 2000: 4714-11-24 BC and 294276-12-31.
const MICROS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// What rows are asked from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Table { schema: Option<String>, name: String },
    Query(String),
}

impl Relation {
    /// # Errors
    /// [`Error::Invalid`] for a name that the server cannot have, and for a query without text.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Table { schema, name } => {
                schema.iter().try_for_each(|name| check_name("schema", name))?;
                check_name("table", name)
            }
            Self::Query(text) if text.trim().is_empty() || text.contains('\0') => {
                Err(Error::invalid("query", "an empty text or one with NUL", "a SELECT"))
            }
            Self::Query(_) => Ok(()),
        }
    }

    /// The table's name, quoted, for the server.
    pub(super) fn quoted_table(&self) -> Option<String> {
        match self {
            Self::Table { schema: Some(schema), name } => Some(format!("{}.{}", quoted(schema), quoted(name))),
            Self::Table { schema: None, name } => Some(quoted(name)),
            Self::Query(_) => None,
        }
    }

    /// What stands behind FROM.
    pub(super) fn from(&self) -> String {
        match self {
            // On lines of its own: it may end in a comment.
            Self::Query(text) => format!("(\n{}\n) AS source", text.trim_end().trim_end_matches(';')),
            Self::Table { .. } => self.quoted_table().unwrap_or_default(),
        }
    }

    /// For people and catalogs. The text of a query may hold anything, so it shows only as its digest.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Table { schema: Some(schema), name } => format!("{schema}.{name}"),
            Self::Table { schema: None, name } => name.clone(),
            Self::Query(text) => format!("query-{}", &blake3::hash(text.as_bytes()).to_hex()[..16]),
        }
    }
}

fn check_name(setting: &'static str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
        return Err(Error::invalid(setting, format!("{name:?}"), "a name of 1 to 63 bytes without NUL"));
    }
    Ok(())
}

/// `name` as an identifier that keeps its case and holds anything.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `names` as identifiers, one after the other.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(quoted).collect::<Vec<_>>().join(", ")
}

/// One value that is bound to a query, in the server's binary form.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) type_: Type,
    pub(super) bytes: Vec<u8>,
}

/// Conditions in the making, with the values that their `$1`, `$2` … stand for.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    texts: Vec<String>,
    pub(super) values: Vec<Bound>,
    /// Whether they let through exactly the rows that the predicates do, and none that must be left out here.
    pub(super) exact: bool,
}

impl Conditions {
    pub(super) fn none() -> Self {
        Self { texts: Vec::new(), values: Vec::new(), exact: true }
    }

    /// Binds a value and gives the text that stands for it.
    pub(super) fn bind(&mut self, type_: Type, bytes: Vec<u8>) -> String {
        self.values.push(Bound { type_, bytes });
        format!("${}", self.values.len())
    }

    /// Only rows behind `values` of the columns `keys`.
    pub(super) fn behind<'a>(&mut self, keys: impl Iterator<Item = &'a str>, values: Vec<Bound>) {
        let marks: Vec<_> = values.into_iter().map(|value| self.bind(value.type_, value.bytes)).collect();
        self.texts.push(format!("({}) > ({})", listed(keys), marks.join(", ")));
    }

    /// Lets the server leave out rows for which `predicate` on a column of `kind` is not true, as far as it judges alike.
    pub(super) fn push(&mut self, predicate: &Predicate, kind: &Kind) {
        let column = quoted(predicate.column());
        let (text, exact) = match predicate {
            Predicate::IsNull { .. } => (Some(format!("{column} IS NULL")), true),
            Predicate::IsNotNull { .. } => (Some(format!("{column} IS NOT NULL")), true),
            Predicate::Compare { comparison, value, .. } => self.comparison(&column, kind, *comparison, value),
        };
        self.exact &= exact && text.is_some();
        self.texts.extend(text);
    }

    /// The condition, and whether it is exact; without one, no row is left out by the server.
    fn comparison(
        &mut self,
        column: &str,
        kind: &Kind,
        comparison: Comparison,
        value: &Scalar,
    ) -> (Option<String>, bool) {
        let operator = operator(comparison);
        let ordered = !matches!(comparison, Comparison::Eq | Comparison::NotEq);
        match (kind, value) {
            (Kind::Bool, Scalar::Bool(v)) => {
                let mark = self.bind(Type::BOOL, vec![u8::from(*v)]);
                (Some(format!("{column} {operator} {mark}")), true)
            }
            (Kind::Int2 | Kind::Int4 | Kind::Int8, Scalar::Int(v)) => {
                let mark = self.bind(Type::INT8, v.to_be_bytes().into());
                (Some(format!("{column} {operator} {mark}")), true)
            }
            // Arrow holds the zero of whole numbers for greater than a negative one.
            (Kind::Int2 | Kind::Int4 | Kind::Int8, Scalar::Float(v))
                if !v.is_nan() && v.to_bits() != (-0.0_f64).to_bits() =>
            {
                let mark = self.bind(Type::FLOAT8, v.to_be_bytes().into());
                (Some(format!("{column}::float8 {operator} {mark}")), true)
            }
            (Kind::Float4 | Kind::Float8, Scalar::Float(v)) => self.floating(column, comparison, *v),
            (Kind::Float4 | Kind::Float8, Scalar::Int(v)) => self.floating(column, comparison, *v as f64),
            (Kind::Text, Scalar::Text(v)) if !v.contains('\0') => {
                let mark = self.bind(Type::TEXT, v.as_bytes().into());
                // Bytes in order, as Arrow compares, whatever the language of the column.
                let order = if ordered { " COLLATE \"C\"" } else { "" };
                (Some(format!("{column}{order} {operator} {mark}")), true)
            }
            (Kind::TimestampTz, Scalar::Time(v)) => self.time(column, operator, Type::TIMESTAMPTZ, v.as_micros()),
            (Kind::Timestamp | Kind::Date, Scalar::Time(v)) => {
                self.time(column, operator, Type::TIMESTAMP, v.as_micros())
            }
            _ => (None, false),
        }
    }

    /// The server holds all NaN for one and both zeros for equal, where Arrow orders them by their bits: let such rows
    /// come, they are judged here.
    fn floating(&mut self, column: &str, comparison: Comparison, value: f64) -> (Option<String>, bool) {
        if value.is_nan() || (value == 0.0 && comparison == Comparison::NotEq) {
            return (None, false);
        }
        let widened = match (value == 0.0, comparison) {
            (true, Comparison::Lt) => Comparison::LtEq,
            (true, Comparison::Gt) => Comparison::GtEq,
            (_, as_asked) => as_asked,
        };
        let mark = self.bind(Type::FLOAT8, value.to_be_bytes().into());
        (Some(format!("({column} {} {mark} OR {column} = 'NaN')", operator(widened))), false)
    }

    fn time(&mut self, column: &str, operator: &str, type_: Type, micros: i64) -> (Option<String>, bool) {
        match micros.checked_sub(EPOCH_MICROS).filter(|micros| MICROS.contains(micros)) {
            Some(micros) => {
                let mark = self.bind(type_, micros.to_be_bytes().into());
                (Some(format!("{column} {operator} {mark}")), true)
            }
            None => (None, false),
        }
    }

    /// The conditions behind WHERE, with the word.
    pub(super) fn text(&self) -> String {
        if self.texts.is_empty() { String::new() } else { format!(" WHERE {}", self.texts.join(" AND ")) }
    }
}

fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Eq => "=",
        Comparison::NotEq => "<>",
        Comparison::Lt => "<",
        Comparison::LtEq => "<=",
        Comparison::Gt => ">",
        Comparison::GtEq => ">=",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::EventTime;

    #[track_caller]
    fn check(predicate: Predicate, kind: &Kind, text: &str, exact: bool) {
        let mut conditions = Conditions::none();
        conditions.push(&predicate, kind);
        assert_eq!((conditions.text().as_str(), conditions.exact), (text, exact), "{predicate:?}");
    }

    #[test]
    fn names_and_values_never_become_sql() {
        let evil = "a\" OR 1=1; --";
        let mut conditions = Conditions::none();
        conditions.push(&Predicate::new(evil, Comparison::Eq, "'; DROP TABLE t; --"), &Kind::Text);
        assert_eq!(conditions.text(), " WHERE \"a\"\" OR 1=1; --\" = $1");
        assert_eq!(conditions.values[0].bytes, b"'; DROP TABLE t; --");
        let table = Relation::Table { schema: Some("s.x".into()), name: "t\"; --".into() };
        assert_eq!(table.from(), "\"s.x\".\"t\"\"; --\"");
        assert_eq!(Relation::Query("SELECT 1; -- one".into()).from(), "(\nSELECT 1; -- one\n) AS source");
    }

    #[test]
    fn the_server_leaves_out_only_what_arrow_would() {
        let lt = |value: Scalar| Predicate::Compare { column: "c".into(), comparison: Comparison::Lt, value };
        check(lt(5.into()), &Kind::Int4, " WHERE \"c\" < $1", true);
        check(lt(0.5.into()), &Kind::Int4, " WHERE \"c\"::float8 < $1", true);
        check(lt((-0.0).into()), &Kind::Int4, "", false);
        check(lt(0.5.into()), &Kind::Float8, " WHERE (\"c\" < $1 OR \"c\" = 'NaN')", false);
        check(lt(0.0.into()), &Kind::Float8, " WHERE (\"c\" <= $1 OR \"c\" = 'NaN')", false);
        check(lt(f64::NAN.into()), &Kind::Float4, "", false);
        check(lt("x".into()), &Kind::Text, " WHERE \"c\" COLLATE \"C\" < $1", true);
        check(lt("x".into()), &Kind::OddText, "", false);
        check(lt("a\0b".into()), &Kind::Text, "", false);
        check(lt(5.into()), &Kind::Decimal { precision: 5, scale: 2 }, "", false);
        check(lt(EventTime::EPOCH.into()), &Kind::Date, " WHERE \"c\" < $1", true);
        check(lt(EventTime::from_micros(i64::MAX).into()), &Kind::TimestampTz, " WHERE \"c\" < $1", true);
        check(lt(EventTime::from_micros(i64::MIN).into()), &Kind::TimestampTz, "", false);
        check(Predicate::IsNull { column: "c".into() }, &Kind::Uuid, " WHERE \"c\" IS NULL", true);
    }

    #[test]
    fn names_that_the_server_would_cut_are_refused() {
        let table = |name: &str| Relation::Table { schema: None, name: name.to_owned() };
        assert!(table(&"n".repeat(63)).check().is_ok());
        for bad in ["", &"n".repeat(64), "a\0b"] {
            assert!(matches!(table(bad).check(), Err(Error::Invalid { setting: "table", .. })), "{bad:?}");
        }
        assert!(matches!(Relation::Query("  ".into()).check(), Err(Error::Invalid { setting: "query", .. })));
    }
}
