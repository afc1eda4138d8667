use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, StringArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use mlops_core::rank::Served;
use proptest::prelude::*;

use super::*;
use crate::samples::{name, rows, seconds, served};

/// Clicks within 10 s and purchases, with their price, within 20 s; 5 s late at most.
fn join() -> LabelJoinBuilder {
    let (schema, _) = rows(&[served(1, 0, &[1])]);
    LabelJoin::builder(&schema, "offer_id")
        .label(LabelRule::new(name("click"), Duration::from_secs(10)))
        .label(LabelRule::new(name("purchase"), Duration::from_secs(20)).value("paid"))
        .lateness(Duration::from_secs(5))
}

fn impressions(join: &mut LabelJoin, answers: &[Arc<Served>], now: i64) {
    join.impressions(&rows(answers).1, seconds(now)).unwrap();
}

/// A label: request, offer, seconds, value.
type Event = (u128, i64, i64, f64);

fn events(rows: &[Event]) -> RecordBatch {
    let times: Vec<i64> = rows.iter().map(|row| row.2 * 1_000_000).collect();
    let columns: [(&str, ArrayRef); 4] = [
        (REQUEST_ID, Arc::new(StringArray::from_iter_values(rows.iter().map(|row| format!("{:032x}", row.0))))),
        ("offer_id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)))),
        (EVENT_TIME, Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
        ("paid", Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.3)))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn label(join: &mut LabelJoin, kind: &str, rows: &[Event], now: i64) {
    join.labels(kind, &events(rows), seconds(now)).unwrap();
}

/// A labelled row: offer, click, second of the click, purchase.
type Found = (i64, f64, Option<i64>, f64);

fn found(batches: &[RecordBatch]) -> Vec<Found> {
    let of = |batch: &RecordBatch| {
        let offers = batch.column_by_name("offer_id").unwrap().as_primitive::<Int64Type>().clone();
        let number = |column: &str| batch.column_by_name(column).unwrap().as_primitive::<Float64Type>().clone();
        let (clicks, purchases) = (number("click"), number("purchase"));
        let times = batch.column_by_name("click_time").unwrap().as_primitive::<TimestampMicrosecondType>().clone();
        let row = move |row: usize| {
            let time = times.is_valid(row).then(|| times.value(row) / 1_000_000);
            (offers.value(row), clicks.value(row), time, purchases.value(row))
        };
        (0..batch.num_rows()).map(row).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of).collect()
}

fn matured(join: &mut LabelJoin, now: i64) -> Vec<Found> {
    found(&join.advance(seconds(now)).unwrap())
}

#[test]
fn a_label_finds_its_impression_and_the_others_are_negative() {
    let mut join = join().build().unwrap();
    impressions(&mut join, &[served(1, 100, &[1, 2, 3])], 100);
    label(&mut join, "click", &[(1, 2, 103, 0.0)], 104);
    label(&mut join, "purchase", &[(1, 3, 110, 49.5)], 111);
    assert!(matured(&mut join, 124).is_empty(), "a purchase can still come at 119, and be 5 s late");
    assert_eq!(matured(&mut join, 125), [(1, 0.0, None, 0.0), (2, 1.0, Some(103), 0.0), (3, 0.0, None, 49.5)]);
    assert!(matured(&mut join, 1_000).is_empty(), "each row is given out once");
    let counters = join.counters();
    assert_eq!((counters.impressions, counters.credited, counters.matured, counters.held), (3, 2, 3, 0));
}

#[test]
fn the_rows_keep_their_columns_and_say_which_are_labels() {
    let mut join = join().build().unwrap();
    impressions(&mut join, &[served(1, 100, &[1])], 100);
    let batch = &join.advance(seconds(125)).unwrap()[0];
    assert_eq!(batch.schema_ref(), join.schema().arrow());
    assert_eq!(join.schema().with(Role::Label), ["click", "purchase"]);
    let (_, impressions) = rows(&[served(1, 100, &[1])]);
    assert_eq!(&batch.columns()[..impressions.num_columns()], impressions.columns());
}

#[test]
fn windows_of_labels_are_half_open() {
    let mut join = join().build().unwrap();
    impressions(&mut join, &[served(1, 100, &[1, 2, 3, 4])], 100);
    label(&mut join, "click", &[(1, 1, 100, 0.0), (1, 2, 109, 0.0), (1, 3, 110, 0.0), (1, 4, 99, 0.0)], 110);
    assert_eq!(join.counters().outside_window, 2);
    let clicks: Vec<f64> = matured(&mut join, 125).iter().map(|row| row.1).collect();
    assert_eq!(clicks, [1.0, 1.0, 0.0, 0.0]);
}

#[test]
fn a_label_may_come_before_its_impression() {
    let mut join = join().build().unwrap();
    label(&mut join, "click", &[(1, 1, 103, 0.0), (1, 9, 103, 0.0), (2, 1, 103, 0.0)], 104);
    assert_eq!(join.counters().waiting, 3);
    impressions(&mut join, &[served(1, 102, &[1, 2])], 105);
    assert_eq!((join.counters().waiting, join.counters().credited), (2, 1));
    // Neither the offer 9 of request 1 nor request 2 ever comes.
    assert!(matured(&mut join, 109).is_empty());
    assert_eq!(join.counters().orphans, 2);
    assert_eq!(matured(&mut join, 127), [(1, 1.0, Some(103), 0.0), (2, 0.0, None, 0.0)]);
}

#[test]
fn a_label_that_waits_outside_of_the_window_is_counted_as_such() {
    let mut join = join().build().unwrap();
    label(&mut join, "click", &[(1, 1, 99, 0.0), (1, 1, 110, 0.0)], 104 + 10);
    impressions(&mut join, &[served(1, 100, &[1])], 114);
    assert_eq!((join.counters().outside_window, join.counters().waiting), (2, 0));
    assert_eq!(matured(&mut join, 125), [(1, 0.0, None, 0.0)]);
}

#[test]
fn of_several_labels_the_earliest_counts() {
    let mut join = join().build().unwrap();
    impressions(&mut join, &[served(1, 100, &[1])], 100);
    label(&mut join, "click", &[(1, 1, 105, 0.0), (1, 1, 103, 0.0), (1, 1, 103, 0.0)], 106);
    label(&mut join, "purchase", &[(1, 1, 107, 20.0), (1, 1, 107, 10.0), (1, 1, 108, 1.0)], 108);
    assert_eq!((join.counters().credited, join.counters().duplicate_labels), (2, 4));
    assert_eq!(matured(&mut join, 125), [(1, 1.0, Some(103), 10.0)], "of simultaneous ones the smallest value");
}

#[test]
fn what_is_behind_the_watermark_is_late() {
    let mut join = join().build().unwrap();
    impressions(&mut join, &[served(1, 100, &[1])], 100);
    assert!(matured(&mut join, 110).is_empty());
    assert_eq!(join.watermark(), seconds(105));
    label(&mut join, "click", &[(1, 1, 104, 0.0), (1, 1, 105, 0.0)], 110);
    impressions(&mut join, &[served(2, 104, &[1]), served(3, 105, &[1])], 110);
    assert!(matured(&mut join, 0).is_empty(), "the watermark does not go back");
    assert_eq!(join.watermark(), seconds(105));
    let counters = join.counters();
    assert_eq!((counters.late_labels, counters.credited), (1, 1));
    assert_eq!((counters.late_impressions, counters.impressions), (1, 2));
}

#[test]
fn a_label_after_its_window_closed_or_never_leaves_the_row_negative() {
    let mut join = join().build().unwrap();
    impressions(&mut join, &[served(1, 100, &[1, 2])], 100);
    assert_eq!(matured(&mut join, 125).len(), 2);
    label(&mut join, "click", &[(1, 1, 103, 0.0)], 126);
    assert_eq!((join.counters().late_labels, join.counters().credited), (1, 0));
    label(&mut join, "click", &[(1, 1, 121, 0.0)], 126);
    assert_eq!(join.counters().waiting, 1, "its impression is gone: it waits, and is an orphan in the end");
    matured(&mut join, 200);
    assert_eq!(join.counters().orphans, 1);
}

#[test]
fn times_too_far_ahead_are_left_out() {
    let mut join = join().ahead(Duration::from_secs(1)).build().unwrap();
    impressions(&mut join, &[served(1, 101, &[1]), served(2, 102, &[1])], 100);
    label(&mut join, "click", &[(1, 1, 101, 0.0), (1, 1, 102, 0.0)], 100);
    let counters = join.counters();
    assert_eq!((counters.future, counters.impressions, counters.credited), (2, 1, 1));
}

#[test]
fn rows_that_come_twice_are_counted() {
    let mut join = join().build().unwrap();
    let answer = served(1, 100, &[1, 2]);
    impressions(&mut join, std::slice::from_ref(&answer), 100);
    impressions(&mut join, &[answer.clone(), served(1, 100, &[3])], 100);
    // One request has one time.
    impressions(&mut join, &[served(1, 101, &[4])], 101);
    impressions(&mut join, &[served(5, 101, &[7, 7])], 101);
    let counters = join.counters();
    assert_eq!((counters.impressions, counters.duplicate_impressions, counters.held), (4, 4, 4));
    let offers: Vec<i64> = matured(&mut join, 126).iter().map(|row| row.0).collect();
    // By position; offer 3 came with position 0 in an answer of its own, as offer 1 did.
    assert_eq!(offers, [1, 3, 2, 7]);
}

#[test]
fn full_memory_refuses_the_new_whole_and_keeps_the_old() {
    let mut join = join().rows_max(4).labels_max(2).build().unwrap();
    impressions(&mut join, &[served(1, 100, &[1, 2, 3]), served(2, 101, &[4, 5]), served(3, 101, &[6])], 101);
    let counters = join.counters();
    assert_eq!((counters.impressions, counters.overflow_impressions, counters.held), (4, 2, 4));
    label(&mut join, "click", &[(2, 4, 102, 0.0), (2, 5, 102, 0.0), (9, 9, 102, 0.0), (1, 1, 102, 0.0)], 102);
    let counters = join.counters();
    assert_eq!((counters.waiting, counters.overflow_labels, counters.credited), (2, 1, 1));
    let offers: Vec<i64> = matured(&mut join, 126).iter().map(|row| row.0).collect();
    assert_eq!(offers, [1, 2, 3, 6]);
    assert_eq!(join.counters().held, 0, "what has matured makes room");
}

#[test]
fn a_repeat_of_what_is_held_is_a_repeat_though_the_memory_is_full() {
    let mut join = join().rows_max(2).build().unwrap();
    let answer = served(1, 100, &[1, 2]);
    impressions(&mut join, std::slice::from_ref(&answer), 100);
    impressions(&mut join, &[answer], 100);
    let counters = join.counters();
    assert_eq!((counters.duplicate_impressions, counters.overflow_impressions), (2, 0));
}

#[test]
fn events_that_cannot_be_read_are_counted() {
    let mut join = join().build().unwrap();
    impressions(&mut join, &[served(1, 100, &[1])], 100);
    let nan = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(|value| (1, 1, 101, value));
    label(&mut join, "purchase", &nan, 101);
    let columns: [(&str, ArrayRef); 3] = [
        (REQUEST_ID, Arc::new(StringArray::from(vec![Some("not hex"), None, Some("1")]))),
        ("offer_id", Arc::new(Int64Array::from(vec![1, 1, 1]))),
        (EVENT_TIME, Arc::new(TimestampMicrosecondArray::from(vec![101_000_000; 3]).with_timezone("UTC"))),
    ];
    let odd = RecordBatch::try_from_iter_with_nullable(columns.map(|(n, a)| (n, a, true))).unwrap();
    join.labels("click", &odd, seconds(101)).unwrap();
    assert_eq!((join.counters().malformed, join.counters().credited), (6, 0));
}

#[test]
fn ids_and_keys_may_be_integers_or_texts_of_any_layout() {
    let mut join = join().build().unwrap();
    impressions(&mut join, &[served(1, 100, &[1, 2])], 100);
    let columns: [(&str, ArrayRef); 3] = [
        (REQUEST_ID, Arc::new(arrow::array::UInt64Array::from(vec![1]))),
        ("offer_id", Arc::new(arrow::array::Int16Array::from(vec![2]))),
        (EVENT_TIME, Arc::new(arrow::array::TimestampSecondArray::from(vec![101]))),
    ];
    join.labels("click", &RecordBatch::try_from_iter(columns).unwrap(), seconds(101)).unwrap();
    assert_eq!(join.counters().credited, 1);
}

#[test]
fn what_does_not_fit_is_an_error_that_names_it() {
    let mut join = join().build().unwrap();
    let ghost = join.labels("ghost", &events(&[]), seconds(0)).unwrap_err();
    assert!(ghost.to_string().contains("ghost"));
    let whole = events(&[(1, 1, 101, 0.0)]);
    for column in [REQUEST_ID, "offer_id", EVENT_TIME, "paid"] {
        let kept: Vec<usize> = (0..4).filter(|i| whole.schema().field(*i).name() != column).collect();
        let error = join.labels("purchase", &whole.project(&kept).unwrap(), seconds(101)).unwrap_err();
        assert!(matches!(&error, Error::NotFound { name, .. } if name == column), "{error}");
    }
    assert!(join.impressions(&whole, seconds(101)).is_err());
    assert_eq!(join.counters(), JoinCounters::default());
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let (schema, _) = rows(&[served(1, 0, &[1])]);
    let builder = || LabelJoin::builder(&schema, "offer_id");
    let rule = |label: &str| LabelRule::new(name(label), Duration::from_secs(1));
    assert!(matches!(builder().build(), Err(Error::Invalid { .. })), "no label");
    assert!(builder().label(LabelRule::new(name("click"), Duration::ZERO)).build().is_err());
    assert!(builder().label(rule("click")).rows_max(0).build().is_err());
    assert!(builder().label(rule("click")).labels_max(0).build().is_err());
    let twice = builder().label(rule("click")).label(rule("click")).build();
    assert!(matches!(twice, Err(Error::AlreadyExists { .. })));
    assert!(matches!(builder().label(rule("score")).build(), Err(Error::AlreadyExists { .. })), "a column's name");
    let many = (0..65).fold(builder(), |builder, i| builder.label(rule(&format!("l{i}"))));
    assert!(matches!(many.build(), Err(Error::Invalid { .. })));
    let lost = LabelJoin::builder(&schema, "ghost").label(rule("click")).build();
    assert!(matches!(lost, Err(Error::NotFound { .. })));
}

/// Something that arrives.
#[derive(Debug, Clone)]
enum Arrival {
    Answer(u128, i64, Vec<i64>),
    Label(&'static str, Event),
}

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let answer = (0_u128..6, prop::collection::btree_set(0_i64..4, 1..4)).prop_map(|(request, offers)| {
        // One request has one time, whatever part of it arrives.
        Arrival::Answer(request, 100 + request as i64, offers.into_iter().collect())
    });
    let event = (0_u128..7, 0_i64..5, 98_i64..125, 1_u8..4)
        .prop_map(|(request, offer, at, value)| (request, offer, at, f64::from(value)));
    let label = (prop_oneof![Just("click"), Just("purchase")], event).prop_map(|(kind, e)| Arrival::Label(kind, e));
    prop::collection::vec(prop_oneof![answer, label], 1..25)
}

fn arrive(join: &mut LabelJoin, arrival: &Arrival) {
    match arrival {
        Arrival::Answer(request, at, offers) => impressions(join, &[served(*request, *at, offers)], 125),
        Arrival::Label(kind, event) => label(join, kind, &[*event], 125),
    }
}

proptest! {
    /// As long as everything is in time, the labelled rows do not depend on the order of arrival, and nothing is lost
    /// without being counted.
    #[test]
    fn the_order_of_arrival_does_not_matter(
        (first, second) in arrivals().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        let run = |arrivals: &[Arrival]| {
            let mut join = join().build().unwrap();
            arrivals.iter().for_each(|arrival| arrive(&mut join, arrival));
            let before = join.counters();
            let batches = join.advance(seconds(1_000)).unwrap();
            let mut labels: Vec<String> = Vec::new();
            for batch in &batches {
                let ids = batch.column_by_name(REQUEST_ID).unwrap().as_string::<i32>();
                labels.extend(ids.iter().flatten().zip(found(std::slice::from_ref(batch))).map(|row| format!("{row:?}")));
            }
            labels.sort_unstable();
            (labels, before, join.counters())
        };
        let (labels, before, after) = run(&first);
        let (other_labels, other_before, other_after) = run(&second);
        prop_assert_eq!(&labels, &other_labels);
        prop_assert_eq!(before.impressions, other_before.impressions);
        prop_assert_eq!(after.orphans, other_after.orphans);
        // Whether the second of two that do not count is told as a repeat or as outside is up to which came first.
        let aside = |c: JoinCounters| c.outside_window + c.duplicate_labels;
        prop_assert_eq!(aside(after), aside(other_after));
        prop_assert_eq!(after.credited, other_after.credited);
        prop_assert_eq!(labels.len() as u64, after.matured);
        for c in [after, other_after] {
            let events = first.iter().filter(|a| matches!(a, Arrival::Label(..))).count() as u64;
            let known = c.credited + c.duplicate_labels + c.outside_window + c.orphans + c.late_labels;
            prop_assert_eq!(known, events, "every event is in one counter: {:?}", c);
            let offered: usize = first.iter().map(|a| if let Arrival::Answer(_, _, o) = a { o.len() } else { 0 }).sum();
            prop_assert_eq!(c.impressions + c.duplicate_impressions, offered as u64);
            prop_assert_eq!((c.held, c.waiting, c.matured), (0, 0, c.impressions));
        }
    }

    /// Whenever the host advances, a row is given out once, and never before its labels are final.
    #[test]
    fn a_row_is_given_out_once_and_late(times in prop::collection::vec(0_i64..60, 1..20), step in 1_i64..15) {
        let mut join = join().ahead(Duration::from_secs(0)).build().unwrap();
        let mut given: Vec<i64> = Vec::new();
        for (request, at) in times.iter().enumerate() {
            let now = request as i64 * step;
            impressions(&mut join, &[served(request as u128, *at, &[request as i64])], now);
            for batch in join.advance(seconds(now)).unwrap() {
                let at = super::times(&batch, EVENT_TIME).unwrap();
                prop_assert!(at.iter().flatten().all(|at| at.plus(Duration::from_secs(20)) <= join.watermark()));
                given.extend(found(&[batch]).iter().map(|row| row.0));
            }
        }
        given.extend(found(&join.advance(EventTime::from_secs(10_000)).unwrap()).iter().map(|row| row.0));
        let count = given.len() as u64;
        given.sort_unstable();
        given.dedup();
        let c = join.counters();
        prop_assert_eq!(given.len() as u64, count);
        prop_assert_eq!(count, c.matured);
        prop_assert_eq!(c.impressions + c.late_impressions + c.future, times.len() as u64);
    }
}
