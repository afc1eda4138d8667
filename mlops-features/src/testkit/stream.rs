//! Checks the contract of [`StreamSource`].

use std::collections::BTreeSet;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use super::{batch, row};
use crate::stream::{Events, Polled, StreamSource};

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Checks the contract of [`StreamSource`] on fresh streams made by `make`: a source, and what sends events to it. Events have a
/// column `customer_id` of 64-bit integers.
///
/// # Panics
/// With the sentence that does not hold.
pub fn stream_source<S: StreamSource>(make: impl Fn() -> (S, Box<dyn FnMut(&RecordBatch)>)) {
    nothing_comes_from_an_empty_stream(make());
    every_event_comes_and_no_more_at_once_than_asked(make());
    what_was_not_acknowledged_comes_again(make());
}

type Made<S> = (S, Box<dyn FnMut(&RecordBatch)>);

fn events(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    batch(&ids.into_iter().map(|id| row(id, id, None, 0.5)).collect::<Vec<_>>())
}

fn ids(events: &Events) -> Vec<i64> {
    let column = events.rows.column_by_name("customer_id").expect("the column that was sent");
    column.as_primitive::<Int64Type>().values().to_vec()
}

fn next(source: &mut impl StreamSource, most: usize) -> Events {
    match source.poll(most, PATIENCE).expect("a source that delivers") {
        Polled::Events(events) => events,
        other => panic!("an event that was sent does not come: {other:?}"),
    }
}

fn nothing_comes_from_an_empty_stream<S: StreamSource>((mut source, _send): Made<S>) {
    let polled = source.poll(10, Duration::from_millis(50)).expect("a source that delivers");
    assert!(matches!(polled, Polled::Idle), "nothing was sent, and this came: {polled:?}");
}

fn every_event_comes_and_no_more_at_once_than_asked<S: StreamSource>((mut source, mut send): Made<S>) {
    send(&events(0..10));
    send(&events(10..25));
    let (mut seen, mut last) = (BTreeSet::new(), None);
    while seen.len() < 25 {
        let events = next(&mut source, 4);
        assert!(events.rows.num_rows() <= 4, "more events came at once than were asked for");
        assert!(last < Some(events.position), "positions do not ascend");
        last = Some(events.position);
        seen.extend(ids(&events));
        source.acknowledge(events.position).expect("a source that takes acknowledgements");
    }
    assert_eq!(seen, (0..25).collect(), "other events came than were sent");
    let polled = source.poll(10, Duration::from_millis(50)).expect("a source that delivers");
    assert!(!matches!(polled, Polled::Events(_)), "an acknowledged event came again");
}

fn what_was_not_acknowledged_comes_again<S: StreamSource>((mut source, mut send): Made<S>) {
    send(&events(0..6));
    let first = next(&mut source, 2);
    let mut unacknowledged: BTreeSet<i64> = (0..6).collect();
    unacknowledged.retain(|id| !ids(&first).contains(id));
    next(&mut source, 2);
    source.acknowledge(first.position).expect("a source that takes acknowledgements");
    source.resume().expect("a source that starts over");
    let mut seen = BTreeSet::new();
    while seen.len() < unacknowledged.len() {
        let events = next(&mut source, 3);
        seen.extend(ids(&events));
        source.acknowledge(events.position).expect("a source that takes acknowledgements");
    }
    assert_eq!(seen, unacknowledged, "after a resume other events came than those without acknowledgement");
}
