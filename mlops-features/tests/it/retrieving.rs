//! Features without entity rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mlops_core::arrow::array::AsArray;
use mlops_core::arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use mlops_core::{Dataset, Error as Core, EventTime, Window};
use mlops_features::offline::{
    AsOfOptions, HistoryRequest, OfflineStore, ParquetStore, latest_as_of, range, stored_history,
};
use mlops_features::{Error, FeatureView, Keys, ViewJoin, ViewUse};

use crate::{builder, data, ints};

type Content<'a> = &'a [(i64, i64, Option<f64>)];

fn store(views: &[(&FeatureView, Content)]) -> (tempfile::TempDir, Arc<dyn OfflineStore>) {
    let folder = tempfile::tempdir().unwrap();
    let store = ParquetStore::open(folder.path()).unwrap();
    for (view, content) in views {
        store.append(view, &data(view, content)).unwrap();
    }
    (folder, Arc::new(store))
}

/// By key, the values of `columns`.
fn by_key(rows: &Dataset, columns: &[&str]) -> BTreeMap<i64, Vec<Option<f64>>> {
    let mut all = BTreeMap::new();
    for batch in rows.batches().unwrap() {
        let batch = batch.unwrap();
        let keys = batch.column(0).as_primitive::<Int64Type>();
        for (row, key) in keys.values().iter().enumerate() {
            let value = |column: &&str| batch[*column].as_primitive::<Float64Type>().iter().nth(row).flatten();
            let before = all.insert(*key, columns.iter().map(value).collect());
            assert!(before.is_none(), "a key comes once");
        }
    }
    all
}

#[test]
fn all_keys_that_had_something_valid_come_with_it() {
    let ctr = builder("ctr", "user_id").ttl(Duration::from_micros(10)).build().unwrap();
    let age = builder("age", "user_id").build().unwrap();
    let rows: Content = &[(1, 5, Some(0.1)), (1, 9, Some(0.2)), (2, 5, Some(0.3)), (3, 11, Some(0.4)), (4, 5, None)];
    let others: Content = &[(1, 1, Some(30.0)), (5, 10, Some(50.0)), (6, 11, Some(60.0))];
    let (_folder, store) = store(&[(&ctr, rows), (&age, others)]);
    let latest = |joins: &[ViewJoin], t: i64, bytes: u64| {
        let options = AsOfOptions::new().memory_bytes(bytes);
        latest_as_of(&store, joins, EventTime::from_micros(t), &options).unwrap()
    };
    for bytes in [0, 1 << 30] {
        let one = latest(&[ViewJoin::new(&ctr)], 10, bytes);
        assert_eq!(one.schema().names().collect::<Vec<_>>(), ["user_id", "event_timestamp", "ctr"]);
        let expected = BTreeMap::from([(1, vec![Some(0.2)]), (2, vec![Some(0.3)]), (4, vec![None])]);
        assert_eq!(by_key(&one, &["ctr"]), expected, "3 comes later");
        let expired = by_key(&latest(&[ViewJoin::new(&ctr)], 16, bytes), &["ctr"]);
        assert_eq!(expired, BTreeMap::from([(1, vec![Some(0.2)]), (3, vec![Some(0.4)])]), "2 and 4 are too old");
        let both = by_key(&latest(&[ViewJoin::new(&ctr), ViewJoin::new(&age)], 10, bytes), &["ctr", "age"]);
        assert_eq!(both.keys().copied().collect::<Vec<_>>(), [1, 2, 4, 5]);
        assert_eq!((&both[&1], &both[&5]), (&vec![Some(0.2), Some(30.0)], &vec![None, Some(50.0)]));
        let end = by_key(&latest(&[ViewJoin::new(&age)], i64::MAX, bytes), &["age"]);
        assert_eq!(end.len(), 3, "the last instant has no end");
    }
    let renamed = ViewUse::all("age").and_then(|used| used.key("user_id", "customer")).unwrap();
    let renamed = ViewJoin::of(&age, &renamed).unwrap();
    assert_eq!(latest(&[renamed.clone()], 10, 1 << 30).schema().names().next(), Some("customer"));
    for joins in [vec![], vec![ViewJoin::new(&age), renamed]] {
        let refused = latest_as_of(&store, &joins, EventTime::EPOCH, &AsOfOptions::new());
        assert!(matches!(refused, Err(Error::Core(Core::Invalid { .. }))));
    }
}

#[test]
fn many_keys_in_little_memory_are_those_of_plenty() {
    let view = builder("v", "user_id").build().unwrap();
    let content: Vec<_> = (0..3_000).map(|i| (i * 7 % 1_000, i, Some(i as f64))).collect();
    let (_folder, store) = store(&[(&view, &content)]);
    let run = |bytes| {
        let options = AsOfOptions::new().memory_bytes(bytes);
        latest_as_of(&store, &[ViewJoin::new(&view)], EventTime::from_micros(2_500), &options).unwrap()
    };
    let (small, large) = (run(40_000), run(1 << 30));
    assert!(!small.is_held());
    assert_eq!(by_key(&small, &["v"]), by_key(&large, &["v"]));
    assert_eq!(by_key(&large, &["v"]).len(), 1_000);
}

#[test]
fn a_range_gives_all_rows_of_its_window_and_keys() {
    let view = builder("v", "user_id").build().unwrap();
    let content: Vec<_> = (0..100).map(|i| (i % 10, i, Some(i as f64))).collect();
    let (_folder, store) = store(&[(&view, &content)]);
    let window = Window::new(EventTime::from_micros(20), EventTime::from_micros(60)).unwrap();
    let read = |keys: Option<&[i64]>| {
        let keys = keys.map(|keys| Keys::new(view.entity(), &[ints(keys)]).unwrap());
        let stream = range(&*store, &view, window, keys.as_ref()).unwrap();
        let times = stream.flat_map(|batch| {
            batch.unwrap().rows["event_timestamp"].as_primitive::<TimestampMicrosecondType>().values().to_vec()
        });
        times.collect::<Vec<i64>>()
    };
    assert_eq!(read(None), (20..60).collect::<Vec<_>>());
    assert_eq!(read(Some(&[3, 77, 3])), [23, 33, 43, 53]);
    assert!(read(Some(&[])).is_empty());
    let other = builder("w", "offer_id").build().unwrap();
    let keys = Keys::new(other.entity(), &[ints(&[1])]).unwrap();
    assert!(matches!(range(&*store, &view, window, Some(&keys)), Err(Error::Core(Core::Invalid { .. }))));
}

#[test]
fn history_as_a_data_set_stays_what_it_was_at_first_reading() {
    let view = builder("v", "user_id").build().unwrap();
    let (_folder, store) = store(&[(&view, &[(1, 5, Some(0.1)), (2, 6, Some(0.2))])]);
    let history = stored_history(&store, &view, HistoryRequest::all()).unwrap();
    let before = history.to_batch().unwrap();
    store.append(&view, &data(&view, &[(3, 7, Some(0.3))])).unwrap();
    assert_eq!(history.to_batch().unwrap(), before);
    assert_eq!(stored_history(&store, &view, HistoryRequest::all()).unwrap().num_rows().unwrap(), 3);
    let expected = Dataset::held(history.schema().clone(), [before]).unwrap();
    mlops_core::testkit::data_source(&history, &expected);
    assert!(stored_history(&store, &view, HistoryRequest::all().features([0])).is_err());
}
