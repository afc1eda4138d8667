//! Views from text and from files, what they refuse, and what they give.

use arrow::array::{Array, AsArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};

use super::*;

fn view() -> OnDemandViewBuilder {
    OnDemandView::builder("bargain")
        .input("usual", ValueType::Float64, "customer:mean_price")
        .input_by("price", ValueType::Float64, "offer:price", [("offer_id", "shown_id")])
        .input("seen", ValueType::Timestamp, "customer:last_seen")
        .column("place", ValueType::Utf8)
}

fn inputs() -> RecordBatch {
    let floats = |values: [Option<f64>; 3]| Arc::new(Float64Array::from(values.to_vec())) as ArrayRef;
    let seen = TimestampMicrosecondArray::from(vec![Some(1_000_000), None, Some(-1_000_000)]).with_timezone("UTC");
    RecordBatch::try_from_iter_with_nullable([
        ("usual", floats([Some(20.0), Some(0.0), None]), true),
        ("price", floats([Some(10.0), Some(1.0), Some(f64::NAN)]), true),
        ("seen", Arc::new(seen) as ArrayRef, true),
        ("place", Arc::new(StringArray::from(vec![Some("hn"), None, Some("sg")])) as ArrayRef, true),
    ])
    .unwrap()
}

#[test]
fn columns_are_computed_and_what_has_no_answer_is_null() {
    let view = view()
        .feature("ratio", "price / usual")
        .feature("bucket", "bucket(price, 5, 15)")
        .feature("place", "upper(coalesce(place, 'nowhere'))")
        .feature("idle_s", "seconds_between(now(), seen)")
        .feature("again", "add_seconds(now(), 1)")
        .feature("cheap", "price < usual")
        .build()
        .unwrap();
    let types: Vec<_> = (0..6).filter_map(|at| view.value_type(at)).collect();
    use ValueType::{Bool, Float64, Int64, Timestamp, Utf8};
    assert_eq!(types, [Float64, Int64, Utf8, Float64, Timestamp, Bool]);
    assert_eq!((view.reads(0), view.reads(3), view.reads(4)), (&[1, 0][..], &[2][..], &[][..]));
    let instants = [EventTime::from_secs(3), EventTime::from_secs(4), EventTime::from_secs(5)];
    let values = view.compute(&inputs(), &instants).unwrap();
    let data_types: Vec<_> = values.iter().map(|column| column.data_type().clone()).collect();
    assert_eq!(data_types, types.iter().map(|value_type| value_type.data_type()).collect::<Vec<_>>());
    assert_eq!(values[0].as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(0.5), None, None]);
    assert_eq!(values[1].as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(1), Some(0), None]);
    let places: Vec<_> = values[2].as_string::<i32>().iter().flatten().collect();
    assert_eq!(places, ["HN", "NOWHERE", "SG"]);
    assert_eq!(values[3].as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(2.0), None, Some(6.0)]);
    let again = values[4].as_primitive::<TimestampMicrosecondType>();
    assert_eq!(again.values(), &[4_000_000, 5_000_000, 6_000_000]);
}

#[test]
fn one_instant_stands_for_all_rows_and_any_other_number_is_refused() {
    let view = view().feature("again", "now()").build().unwrap();
    let values = view.compute(&inputs(), &[EventTime::from_micros(7)]).unwrap();
    assert_eq!(values[0].as_primitive::<TimestampMicrosecondType>().values(), &[7; 3]);
    let error = view.compute(&inputs(), &[EventTime::EPOCH; 2]).unwrap_err();
    assert!(matches!(error, Error::Core(Core::Schema { .. })), "{error}");
    let empty = view.compute(&inputs().slice(0, 0), &[]).unwrap();
    assert_eq!(empty[0].len(), 0);
}

#[test]
fn a_mistake_names_the_feature_and_the_place() {
    for (expr, hints) in [
        ("price +* 2", vec!["`bargain:x`", "at 8"]),
        ("prize / usual", vec!["`bargain:x`", "prize"]),
        ("price + place", vec!["`bargain:x`", "place", "text"]),
        ("length(price)", vec!["`bargain:x`", "price", "float"]),
        ("`now()`", vec!["`bargain:x`"]),
    ] {
        let error = view().feature("x", expr).build().unwrap_err();
        assert!(matches!(error, Error::Core(Core::InvalidData { .. })), "{expr}: {error:?}");
        let text = error.to_string();
        assert!(hints.iter().all(|hint| text.contains(hint)), "{expr}: {text}");
    }
}

#[test]
fn what_no_expression_can_read_is_refused_only_where_it_is_read() {
    let raw = || view().input("raw", ValueType::Binary, "customer:raw");
    assert!(raw().feature("x", "price").build().is_ok());
    let error = raw().feature("x", "raw is null").build().unwrap_err().to_string();
    assert!(error.contains("raw") && error.contains("bargain:x"), "{error}");
}

#[test]
fn names_are_there_once_and_features_at_least() {
    assert!(matches!(view().build(), Err(Error::Core(Core::Invalid { .. }))));
    let twice = view().feature("x", "price").feature("x", "usual").build();
    assert!(matches!(twice, Err(Error::Core(Core::AlreadyExists { kind: "feature", .. }))));
    let twice = view().column("price", ValueType::Int64).feature("x", "price").build();
    assert!(matches!(twice, Err(Error::Core(Core::AlreadyExists { kind: "input", .. }))));
    assert!(view().input("bad", ValueType::Int64, "no reference").feature("x", "price").build().is_err());
    let shadow = view().feature("price", "coalesce(price, 0)").build();
    assert!(shadow.is_ok(), "a feature may be called like an input");
}

#[test]
fn files_hold_the_text_of_expressions_and_nothing_unknown() {
    let built = view().feature("ratio", "price / usual").owner("growth").build().unwrap();
    let text = serde_json::to_string(&built).unwrap();
    assert!(text.contains(r#""expr":"price / usual""#), "{text}");
    assert!(text.contains(r#""from":{"feature":"offer:price"},"keys":{"offer_id":"shown_id"}"#), "{text}");
    let again: OnDemandView = serde_json::from_str(&text).unwrap();
    assert_eq!(again, built);
    assert_eq!(again.fingerprint(), built.fingerprint());
    assert!(serde_json::from_str::<OnDemandView>(&text.replace("owner", "owned")).is_err());
    assert!(
        serde_json::from_str::<OnDemandView>(&text.replace("\"name\":\"usual\"", "\"name\":\"other\"")).is_err(),
        "checked again"
    );
    let mapped = text.replace(r#""from":{"column":"place"}"#, r#""from":{"column":"place"},"keys":{"a":"b"}"#);
    assert!(serde_json::from_str::<OnDemandView>(&mapped).unwrap_err().to_string().contains("bargain:place"));
    let other = view().feature("ratio", "usual / price").build().unwrap();
    assert_ne!(other.fingerprint(), built.fingerprint());
}

#[test]
fn a_batch_of_another_shape_is_refused() {
    let view = view().feature("x", "price").build().unwrap();
    let ints = RecordBatch::try_from_iter([("price", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    let error = view.compute(&ints, &[EventTime::EPOCH]).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Schema { column, .. }) if column == "usual"), "{error}");
    assert!(!format!("{view:?}").contains("price / "), "{view:?}");
}
