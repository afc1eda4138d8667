//! A typed request out of the bytes of a body.

use std::fmt;

use arrow::array::RecordBatch;
use mlops_core::rank::{RequestId, Weights};
use mlops_core::{EventTime, Name};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::context::{ContextReader, ContextSeed, Fault, NameSeed, Scalar, ScalarSeed};
use crate::http::problem::{Problem, ProblemCode, shown};
use crate::http::wire::parse_id;

/// What a body asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: Option<RequestId>,
    pub(super) at: Option<EventTime>,
    pub(super) context: RecordBatch,
    pub(super) limit: usize,
    pub(super) weights: Option<Weights>,
}

/// What a body may ask for.
#[derive(Debug)]
pub(super) struct Parser {
    pub(super) context: ContextReader,
    pub(super) limit_max: usize,
    pub(super) takes_weights: bool,
}

impl Parser {
    /// Reads a body, every byte of it.
    ///
    /// # Errors
    /// The first thing that is wrong: 400 for the form, 422 for a value.
    pub(super) fn parse(&self, body: &[u8]) -> Result<Asked, Problem> {
        let fault = Fault::default();
        let mut json = serde_json::Deserializer::from_slice(body);
        let asked = AskedSeed { parser: self, fault: &fault }.deserialize(&mut json);
        let asked = asked.and_then(|asked| json.end().map(|()| asked));
        asked.map_err(|error| match fault.into_problem() {
            Some(problem) => problem,
            None if error.is_data() => Problem::named(ProblemCode::BadField, "body", "expected an object"),
            None => Problem::new(ProblemCode::NotJson, format!("the body is not JSON: {error}")),
        })
    }

    fn limit(&self, scalar: &Scalar<'_>) -> Result<usize, Problem> {
        let Scalar::Int(limit) = scalar else {
            return Err(Problem::named(ProblemCode::BadField, LIMIT, scalar.unexpected("an integer")));
        };
        let limit = usize::try_from(*limit).ok().filter(|limit| (1..=self.limit_max).contains(limit));
        limit.ok_or_else(|| Problem::named(ProblemCode::BadValue, LIMIT, format!("not in 1..={}", self.limit_max)))
    }

    fn weights(weights: Option<Weights>) -> Result<Option<Weights>, Problem> {
        match weights {
            Some(weights) if Name::new(weights.version()).is_err() => {
                Err(Problem::named(ProblemCode::BadValue, "weights.version", "not a name"))
            }
            weights => Ok(weights),
        }
    }
}

const REQUEST_ID: &str = "request_id";
const AT: &str = "at";
const CONTEXT: &str = "context";
const LIMIT: &str = "limit";
const WEIGHTS: &str = "weights";
const FIELDS: [&str; 5] = [REQUEST_ID, AT, CONTEXT, LIMIT, WEIGHTS];

fn id(scalar: &Scalar<'_>) -> Result<Option<RequestId>, Problem> {
    match scalar {
        Scalar::Null => Ok(None),
        Scalar::Text(text) => match parse_id(text) {
            Some(id) => Ok(Some(id)),
            None => Err(Problem::named(ProblemCode::BadValue, REQUEST_ID, "not 32 lower-case hex digits")),
        },
        other => Err(Problem::named(ProblemCode::BadField, REQUEST_ID, other.unexpected("a text"))),
    }
}

fn at(scalar: &Scalar<'_>) -> Result<Option<EventTime>, Problem> {
    match scalar {
        Scalar::Null => Ok(None),
        Scalar::Int(micros) => match i64::try_from(*micros) {
            Ok(micros) => Ok(Some(EventTime::from_micros(micros))),
            Err(_) => Err(Problem::named(ProblemCode::BadValue, AT, "beyond the end of time")),
        },
        other => {
            let wanted = "an integer of microseconds since the epoch";
            Err(Problem::named(ProblemCode::BadField, AT, other.unexpected(wanted)))
        }
    }
}

struct AskedSeed<'a> {
    parser: &'a Parser,
    fault: &'a Fault,
}

impl AskedSeed<'_> {
    fn known(&self, name: &str, given: &[bool]) -> Result<usize, Problem> {
        let named = |reason| Problem::named(ProblemCode::BadField, name, reason);
        let place = FIELDS.iter().position(|field| *field == name).ok_or_else(|| named("no such field"))?;
        if given[place] {
            return Err(named("given twice"));
        }
        if FIELDS[place] == WEIGHTS && !self.parser.takes_weights {
            return Err(named("this service has weights of its own"));
        }
        Ok(place)
    }
}

impl<'de> DeserializeSeed<'de> for AskedSeed<'_> {
    type Value = Asked;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Asked, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AskedSeed<'_> {
    type Value = Asked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Asked, A::Error> {
        let Self { parser, fault } = &self;
        let mut given = [false; FIELDS.len()];
        let (mut asked_id, mut asked_at, mut context, mut limit, mut weights) = (None, None, None, None, None);
        let raise = |problem| fault.raise::<A::Error>(problem);
        loop {
            let find = |name: &str| self.known(name, &given);
            let Some(place) = object.next_key_seed(NameSeed { find, fault })? else { break };
            let field = FIELDS[place];
            let plain = ScalarSeed { prefix: "", field, fault };
            match field {
                REQUEST_ID => asked_id = id(&object.next_value_seed(plain)?).map_err(raise)?,
                AT => asked_at = at(&object.next_value_seed(plain)?).map_err(raise)?,
                LIMIT => limit = Some(parser.limit(&object.next_value_seed(plain)?).map_err(raise)?),
                CONTEXT => context = Some(object.next_value_seed(ContextSeed { reader: &parser.context, fault })?),
                _ => {
                    let read = object.next_value::<Option<Weights>>();
                    let read = read.map_err(|e| Problem::named(ProblemCode::BadField, WEIGHTS, shown(&e.to_string())));
                    weights = read.and_then(Parser::weights).map_err(raise)?;
                }
            }
            given[place] = true;
        }
        let missing = || Problem::named(ProblemCode::MissingField, LIMIT, "needed and not given");
        Ok(Asked {
            id: asked_id,
            at: asked_at,
            limit: limit.ok_or_else(missing).map_err(raise)?,
            context: context.map_or_else(|| parser.context.empty(), Ok).map_err(raise)?,
            weights,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, TimestampMicrosecondType};

    use super::*;

    fn parser() -> Parser {
        let fields = vec![
            Field::new("customer", DataType::Int64, false),
            Field::new("cell", DataType::Utf8, true),
            Field::new("balance", DataType::Float64, true),
            Field::new("age", DataType::Int8, true),
            Field::new("share", DataType::Float32, true),
            Field::new("roams", DataType::Boolean, true),
            Field::new("since", EventTime::data_type(), true),
        ];
        let context = ContextReader::new(Arc::new(Schema::new(fields)), 16).unwrap();
        Parser { context, limit_max: 50, takes_weights: true }
    }

    #[track_caller]
    fn refused(body: &str, code: ProblemCode, name: Option<&str>) {
        let problem = parser().parse(body.as_bytes()).expect_err(body);
        assert_eq!((problem.code, problem.name.as_deref()), (code, name), "{body}: {problem}");
        assert!(problem.detail.len() < 512, "{body}: {problem}");
    }

    #[test]
    fn every_type_of_a_context_is_read_as_its_column_says() {
        let body = r#"{"limit":5,"at":-7,"request_id":"000000000000000000000000000000ff","context":{"since":9,"roams":true,
            "share":0.5,"age":-3,"balance":2,"cell":"a\"b","customer":7}}"#;
        let asked = parser().parse(body.as_bytes()).unwrap();
        assert_eq!((asked.limit, asked.at, asked.id), (5, Some(EventTime::from_micros(-7)), Some(RequestId(255))));
        let row = asked.context;
        assert_eq!(row.column(0).as_primitive::<Int64Type>().value(0), 7);
        assert_eq!(row.column(1).as_string::<i32>().value(0), "a\"b");
        assert_eq!(row.column(2).as_primitive::<Float64Type>().value(0), 2.0);
        assert_eq!(row.column(6).as_primitive::<TimestampMicrosecondType>().value(0), 9);
        assert_eq!(row.column(6).data_type(), &EventTime::data_type());
    }

    #[test]
    fn absent_and_null_columns_are_null() {
        let asked = parser().parse(br#"{"context":{"customer":7,"cell":null},"limit":1}"#).unwrap();
        assert_eq!((asked.at, asked.id, asked.weights), (None, None, None));
        for column in 1..7 {
            assert!(asked.context.column(column).is_null(0), "{column}");
        }
    }

    #[test]
    fn a_body_that_is_not_json_is_said_to_be_so() {
        for body in [
            "",
            "{",
            "nul",
            "{\"limit\":1,\"context\":{\"customer\":7}}x",
            "{\"limit\":NaN}",
            "{\"limit\":1,}",
            "\u{feff}{}",
            "{\"limit\":1e999}",
        ] {
            refused(body, ProblemCode::NotJson, None);
        }
        let broken = b"{\"context\":{\"cell\":\"\xff\"}}";
        assert_eq!(parser().parse(broken).unwrap_err().code, ProblemCode::NotJson);
    }

    #[test]
    fn fields_of_the_wrong_form_are_named() {
        use ProblemCode::BadField;
        for body in ["[]", "3", "\"text\"", "null", "true"] {
            refused(body, BadField, Some("body"));
        }
        refused(r#"{"limit":"5"}"#, BadField, Some("limit"));
        refused(r#"{"limit":1.5}"#, BadField, Some("limit"));
        refused(r#"{"limit":[1]}"#, BadField, Some("limit"));
        refused(r#"{"limit":1,"limit":1}"#, BadField, Some("limit"));
        refused(r#"{"limit":1,"k":1}"#, BadField, Some("k"));
        refused(r#"{"at":"2024-01-01"}"#, BadField, Some("at"));
        refused(r#"{"request_id":5}"#, BadField, Some("request_id"));
        refused(r#"{"weights":{"version":"a"}}"#, BadField, Some("weights"));
        refused(r#"{"context":[]}"#, BadField, Some("context"));
        refused(r#"{"context":"x"}"#, BadField, Some("context"));
        refused(r#"{"context":null}"#, BadField, Some("context"));
        refused(r#"{"context":{"customer":"7"}}"#, BadField, Some("context.customer"));
        refused(r#"{"context":{"customer":7.5}}"#, BadField, Some("context.customer"));
        refused(r#"{"context":{"customer":7,"customer":7}}"#, BadField, Some("context.customer"));
        refused(r#"{"context":{"customer":{}}}"#, BadField, Some("context.customer"));
        refused(r#"{"context":{"roams":1}}"#, BadField, Some("context.roams"));
        refused(r#"{"context":{"cell":1}}"#, BadField, Some("context.cell"));
        refused(r#"{"context":{"balance":"1"}}"#, BadField, Some("context.balance"));
        refused(r#"{"context":{"since":0.5}}"#, BadField, Some("context.since"));
        refused(r#"{"context":{"tariff":1}}"#, BadField, Some("context.tariff"));
        let deep = format!("{{\"context\":{{\"cell\":{}", "[".repeat(100_000));
        refused(&deep, BadField, Some("context.cell"));
    }

    #[test]
    fn values_that_are_not_accepted_are_named() {
        use ProblemCode::{BadValue, MissingField};
        for limit in ["0", "-1", "51", "18446744073709551615"] {
            refused(&format!("{{\"limit\":{limit}}}"), BadValue, Some("limit"));
        }
        refused(r#"{"at":9223372036854775808}"#, BadValue, Some("at"));
        refused(r#"{"request_id":"../../etc/passwd"}"#, BadValue, Some("request_id"));
        refused(r#"{"context":{"age":128}}"#, BadValue, Some("context.age"));
        refused(r#"{"context":{"customer":9223372036854775808}}"#, BadValue, Some("context.customer"));
        refused(r#"{"context":{"share":1e200}}"#, BadValue, Some("context.share"));
        refused(r#"{"context":{"cell":"a\u0000b"}}"#, BadValue, Some("context.cell"));
        refused(&format!("{{\"context\":{{\"cell\":\"{}\"}}}}", "x".repeat(10_000)), BadValue, Some("context.cell"));
        refused(r#"{"limit":1}"#, MissingField, Some("context.customer"));
        refused(r#"{"limit":1,"context":{"customer":null}}"#, MissingField, Some("context.customer"));
        refused(r#"{"context":{"customer":7}}"#, MissingField, Some("limit"));
        refused(r#"{"weights":{"version":"a b","by_objective":{}}}"#, BadValue, Some("weights.version"));
    }

    #[test]
    fn weights_are_taken_only_where_the_service_says_so() {
        let body = br#"{"context":{"customer":7},"limit":1,"weights":{"version":"b","by_objective":{"click":1}}}"#;
        assert_eq!(parser().parse(body).unwrap().weights.unwrap().get("click"), Some(1.0));
        let closed = Parser { takes_weights: false, ..parser() };
        assert_eq!(closed.parse(body).unwrap_err().name.as_deref(), Some("weights"));
    }

    #[test]
    fn columns_that_json_cannot_fill_are_refused_when_the_service_is_built() {
        let date = Arc::new(Schema::new(vec![Field::new("born", DataType::Date32, false)]));
        assert!(ContextReader::new(date, 16).unwrap_err().to_string().contains("born"));
        let twice = vec![Field::new("a", DataType::Int64, false), Field::new("a", DataType::Int64, false)];
        assert!(ContextReader::new(Arc::new(Schema::new(twice)), 16).is_err());
    }
}
