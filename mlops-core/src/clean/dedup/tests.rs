use std::collections::{BTreeMap, HashMap};

use arrow::array::{
    AsArray, BooleanArray as Booleans, DictionaryArray, Float64Array, Int64Array, StringArray, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema as ArrowSchema};
use proptest::prelude::*;

use super::super::fixture::{batch, clean, column, data, recut};
use super::super::{FittedTransformExt, TransformExt};
use super::*;

const NAN: f64 = f64::NAN;

/// Row numbers that are left.
#[track_caller]
fn check(dedup: &DedupBuilder, table: &Dataset, expected: &[i64]) {
    let dedup = dedup.clone().build().unwrap();
    for rows in [1, 2, 100] {
        let (treated, changes) = clean(&dedup, &recut(table, rows));
        assert_eq!(treated["row"].as_primitive::<Int64Type>().values(), expected);
        let dropped = table.num_rows().unwrap() - expected.len() as u64;
        assert_eq!((changes.rows_dropped(), changes.rows_out()), (dropped, expected.len() as u64));
    }
}

fn table() -> Dataset {
    data([
        ("id", column(Int64Array::from(vec![Some(1), Some(2), Some(1), None, None, Some(2), Some(1)]))),
        ("version", column(Float64Array::from(vec![Some(5.0), None, Some(7.0), None, None, Some(NAN), Some(7.0)]))),
        ("row", column(Int64Array::from_iter_values(0..7))),
    ])
}

#[test]
fn the_first_the_last_or_the_greatest_is_kept_in_order() {
    let by_id = || Dedup::builder().keys("id");
    check(&by_id(), &table(), &[0, 1, 3, 4]);
    check(&by_id().keep(Keep::Last), &table(), &[3, 4, 5, 6]);
    check(&by_id().keep(Keep::Greatest("version".to_owned())), &table(), &[1, 2, 3, 4]);
    check(&by_id().nulls_are_equal(true), &table(), &[0, 1, 3]);
    check(&by_id().nulls_are_equal(true).keep(Keep::Last), &table(), &[4, 5, 6]);
    check(&by_id().keep(Keep::Last).held_bytes_max(0), &table(), &[3, 4, 5, 6]);
}

#[test]
fn the_greatest_is_found_in_numbers_times_and_booleans() {
    let id = || column(Int64Array::from(vec![1; 4]));
    let rows = || column(Int64Array::from_iter_values(0..4));
    for (values, expected) in [
        (column(Float64Array::from(vec![-0.0, 0.0, -1.0, NAN])), 0),
        (column(Float64Array::from(vec![-2.0, -3.0, f64::NEG_INFINITY, -1.0])), 3),
        (column(Int64Array::from(vec![i64::MIN, -1, 0, i64::MAX])), 3),
        (column(TimestampMicrosecondArray::from(vec![Some(-5), Some(3), None, Some(2)])), 1),
        (column(Booleans::from(vec![Some(false), None, Some(true), Some(true)])), 2),
    ] {
        let table = data([("id", id()), ("by", values), ("row", rows())]);
        check(&Dedup::builder().keys("id").keep(Keep::Greatest("by".to_owned())), &table, &[expected]);
    }
    let text = data([("id", column(Int64Array::from(vec![1]))), ("by", column(StringArray::from(vec!["a"])))]);
    let by_text = Dedup::builder().keys("id").keep(Keep::Greatest("by".to_owned())).build().unwrap();
    assert!(matches!(by_text.fit(&text), Err(Error::Schema { .. })));
}

#[test]
fn whole_rows_are_equal_where_all_their_values_are() {
    let plans: DictionaryArray<Int32Type> = ["p", "p", "q", "p"].into_iter().collect();
    let table = data([
        ("x", column(Float64Array::from(vec![Some(0.0), Some(-0.0), None, None]))),
        ("nan", column(Float64Array::from(vec![NAN, -NAN, 1.0, 1.0]))),
        ("text", column(StringViewArray::from(vec!["a", "a", "b", "b"]))),
        ("plan", column(plans)),
    ]);
    let (treated, _) = clean(&Dedup::builder().build().unwrap(), &table);
    assert_eq!(treated.num_rows(), 3);
    let twice = data([("x", column(Int64Array::from(vec![None, None, Some(1)])))]);
    assert_eq!(clean(&Dedup::builder().build().unwrap(), &twice).0.num_rows(), 2);
}

#[test]
fn texts_of_several_columns_do_not_run_together() {
    let table = data([
        ("a", column(StringArray::from(vec!["x", "xy", "x"]))),
        ("b", column(StringArray::from(vec!["yz", "z", "yz"]))),
        ("row", column(Int64Array::from_iter_values(0..3))),
    ]);
    check(&Dedup::builder().keys(["a", "b"]), &table, &[0, 1]);
}

#[test]
fn bounds_are_kept() {
    let table = data([("id", column(Int64Array::from_iter_values(0..100)))]);
    for keep in [Keep::First, Keep::Last] {
        let dedup = Dedup::builder().keep(keep).keys_max(99).build().unwrap();
        let error = dedup.fit(&table).unwrap().changes_of(&table).unwrap_err();
        assert!(matches!(error, Error::Invalid { setting: "keys_max", .. }), "{error}");
    }
    assert!(Dedup::builder().keys_max(0).build().is_err());
    assert!(Dedup::builder().keys(Pick::Texts).build().unwrap().fit(&table).is_err());
    assert!(Dedup::builder().keys("nope").build().unwrap().fit(&table).is_err());
}

#[test]
fn single_rows_are_refused_and_a_table_without_columns_is_none() {
    let dedup = Dedup::builder().build().unwrap();
    let table = table();
    let fitted = dedup.fit_shared(&table).unwrap();
    let refused = fitted.apply_batch(&batch([("id", column(Int64Array::from(vec![1])))])).unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
    let bare = Schema::new(ArrowSchema::new(Vec::<Field>::new())).unwrap();
    let bare = Dataset::empty(bare);
    assert_eq!(fitted.changes_of(&bare).unwrap().rows_out(), 0);
    assert_eq!(table.schema().field("id").unwrap().data_type(), &DataType::Int64);
}

proptest! {
    #[test]
    fn what_is_left_is_what_a_map_holds(
        rows in prop::collection::vec((prop::option::of(0_i64..20), prop::option::of(-5_i64..5)), 0..300),
        cut in 1_usize..40,
        spill in any::<bool>(),
    ) {
        let table = data([
            ("id", column(rows.iter().map(|row| row.0).collect::<Int64Array>())),
            ("by", column(rows.iter().map(|row| row.1).collect::<Int64Array>())),
            ("row", column(Int64Array::from_iter_values(0..rows.len() as i64))),
        ]);
        let mut best: BTreeMap<Which, Vec<i64>> = BTreeMap::new();
        for keep in [Which::First, Which::Last, Which::Greatest] {
            let mut winners: HashMap<i64, usize> = HashMap::new();
            let mut left: Vec<i64> = Vec::new();
            for (place, (id, by)) in rows.iter().enumerate() {
                let Some(id) = id else { left.push(place as i64); continue };
                let winner = winners.entry(*id).or_insert(place);
                let wins = match keep {
                    Which::First => false,
                    Which::Last => true,
                    Which::Greatest => *by > rows[*winner].1,
                };
                if wins { *winner = place; }
            }
            left.extend(winners.values().map(|place| *place as i64));
            left.sort_unstable();
            best.insert(keep, left);
        }
        for (keep, expected) in best {
            let keep = match keep {
                Which::First => Keep::First,
                Which::Last => Keep::Last,
                Which::Greatest => Keep::Greatest("by".to_owned()),
            };
            let bytes = if spill { 0 } else { HELD_BYTES_DEFAULT };
            let dedup = Dedup::builder().keys("id").keep(keep).held_bytes_max(bytes).build().unwrap();
            let table = if rows.is_empty() { table.clone() } else { recut(&table, cut) };
            let (treated, _) = clean(&dedup, &table);
            prop_assert_eq!(treated["row"].as_primitive::<Int64Type>().values(), &expected[..]);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Which {
    First,
    Last,
    Greatest,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn first_rows_are_the_same_when_their_keys_wait(
        ids in proptest::collection::vec(proptest::option::weighted(0.95, 0_i64..2_000), 1_500..4_000),
        rows in 100_usize..3_000, nulls_are_equal in any::<bool>(),
    ) {
        let table = data([
            ("id", column(ids.iter().copied().collect::<Int64Array>())),
            ("row", column(Int64Array::from_iter_values(0..ids.len() as i64))),
        ]);
        let mut seen = std::collections::HashSet::new();
        let is_first = |id: &Option<i64>| (id.is_none() && !nulls_are_equal) || seen.insert(*id);
        let expected: Vec<i64> =
            ids.iter().map(is_first).enumerate().filter(|(_, first)| *first).map(|(row, _)| row as i64).collect();
        for bytes in [0, u64::MAX] {
            let dedup = Dedup::builder().keys("id").nulls_are_equal(nulls_are_equal).held_bytes_max(bytes).build().unwrap();
            let (treated, changes) = clean(&dedup, &recut(&table, rows));
            prop_assert_eq!(&treated["row"].as_primitive::<Int64Type>().values()[..], expected.as_slice());
            prop_assert_eq!((changes.rows_in(), changes.rows_out()), (ids.len() as u64, expected.len() as u64));
        }
    }
}
