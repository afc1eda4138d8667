use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Float64Type, Int64Type};
use mlops_core::EventTime;
use mlops_core::schema::Role;
use proptest::prelude::*;

use super::*;
use crate::window::events::{Events, Values};
use crate::window::op::Op;
use crate::window::oracle::{
    ALL, MINUTE, Row, batch, column, ensure_alike, expected, minutes, row, view, windows, within,
};
use crate::window::span::TimeWindow;
use crate::window::state::WindowState;
use crate::window::value::{Cell, Kind, Value};
use crate::{Entity, Error, KeyType, ValueType};

fn spine(rows: &[(Option<i64>, i64)]) -> Dataset {
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.1));
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("user_id", Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()) as ArrayRef, true),
        ("event_timestamp", Arc::new(times), true),
    ]);
    Dataset::from_batches([batch.unwrap()]).unwrap()
}

/// The value of a feature as the join gives it.
fn cell(array: &ArrayRef, row: usize) -> Cell {
    if array.is_null(row) {
        return Cell::Null;
    }
    let kind = |array: &ArrayRef| match array.data_type() {
        arrow::datatypes::DataType::Int64 => Kind::Int,
        arrow::datatypes::DataType::Float64 => Kind::Real,
        _ => Kind::Text,
    };
    if let Some(lists) = array.as_list_opt::<i32>() {
        let values = lists.value(row);
        let read = Values::read(&values, kind(&values), "list").unwrap();
        return Cell::Many((0..values.len()).filter_map(|at| read.get(at)).collect());
    }
    if let Some(reals) = array.as_primitive_opt::<Float64Type>() {
        // A sum may be infinite, which no value of an event is.
        return Cell::One(Value::Real(reals.value(row)));
    }
    Cell::One(Values::read(array, kind(array), "value").unwrap().get(row).unwrap())
}

fn join(view: &WindowView, asked: &[(Option<i64>, i64)], events: RecordBatch) -> (RecordBatch, JoinReport) {
    let events = Dataset::from_batches([events]).unwrap();
    let mut set = window_join(&spine(asked), &[(WindowJoin::new(view), events)], &AsOfOptions::new()).unwrap();
    let rows = set.dataset.to_batch().unwrap();
    let keys: Vec<_> = rows.column(0).as_primitive::<Int64Type>().iter().collect();
    assert_eq!(keys, asked.iter().map(|row| row.0).collect::<Vec<_>>(), "entity rows keep their order");
    (rows, set.reports.remove(0))
}

fn key() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![8 => (1_i64..4).prop_map(Some), 1 => Just(None)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_join_equals_filtering_and_folding(
        rows in prop::collection::vec((key(), row()), 0..120),
        asked in prop::collection::vec((key(), -3_100_i64..6_000), 1..30),
        kind in 0_usize..3,
    ) {
        let view = view(windows(), Duration::ZERO, &ALL[kind..=kind]);
        let asked: Vec<_> = asked.into_iter().map(|(key, at)| (key, at * MINUTE)).collect();
        let (keys, rows): (Vec<_>, Vec<Row>) = rows.into_iter().unzip();
        let (found, report) = join(&view, &asked, batch(&rows, &keys));
        let plan = view.plan();
        for slot in &plan.slots {
            for reading in &slot.readings {
                for (at, (key, t)) in asked.iter().enumerate() {
                    let own = keys.iter().zip(&rows).filter(|(of, _)| key.is_some() && *of == key);
                    let own: Vec<Row> = own.map(|(_, row)| row.clone()).collect();
                    let held = within(&column(&own, slot.column), &plan.windows[reading.window], *t);
                    for feature in &reading.features {
                        let wanted = if key.is_none() { Cell::Null } else { expected(&plan.ops[*feature], &held) };
                        let name = &view.feature_view().features()[*feature].name;
                        ensure_alike(&cell(found.column(2 + feature), at), &wanted, &format!("{name} of {key:?} at {t}"));
                    }
                }
            }
        }
        let sum = report.matched + report.expired + report.future_only + report.unknown_key + report.null_key;
        prop_assert_eq!(sum, asked.len() as u64);
        prop_assert_eq!(report.history_null_keys, keys.iter().filter(|key| key.is_none()).count() as u64);
    }

    #[test]
    fn a_state_reads_bit_for_bit_what_the_join_gives(
        rows in prop::collection::vec((any::<f64>(), -3_000_i64..3_000), 1..60),
        later in 0_i64..3_000,
    ) {
        let view = view(windows(), minutes(6_000), &[Kind::Real]);
        let rows: Vec<Row> = rows.into_iter().map(|(x, at)| (at * MINUTE, None, Some(x), None)).collect();
        let events = batch(&rows, &vec![Some(1); rows.len()]);
        let read = Events::read(&view, &events)?;
        let mut state = WindowState::new(&view);
        for at in (0..rows.len()).rev() {
            state.update(&read, at)?;
        }
        let now = rows.iter().map(|row| row.0).max().unwrap_or(0) + later * MINUTE;
        state.advance(EventTime::from_micros(now))?;
        let (found, _) = join(&view, &[(Some(1), now)], events);
        let online = view.rows(&[found.column(0).clone()], &[&state], EventTime::from_micros(now))?;
        for (feature, op) in view.feature_view().features().iter().zip(&view.plan().ops) {
            // Sums and squares of whatever doubles there are; quantiles interpolate between equal values in both.
            let name = feature.name.as_str();
            let (a, b) = (cell(&found.column_by_name(name).unwrap().clone(), 0), cell(&online.column_by_name(name).unwrap().clone(), 0));
            let bits = |cell: &Cell| match cell {
                Cell::One(Value::Real(value)) => value.to_bits(),
                _ => 0,
            };
            prop_assert_eq!(&a, &b, "{} {:?}", name, op);
            prop_assert_eq!(bits(&a), bits(&b), "{}", name);
        }
    }
}

/// Key 2 of a random sample: seconds and values.
const SAMPLE: [(i64, f64); 40] = [
    (439172, -1.34),
    (606620, 3.41),
    (474818, -4.53),
    (189707, 1.24),
    (206067, -3.81),
    (258040, 4.3),
    (484657, -1.56),
    (372027, 3.93),
    (263081, 2.76),
    (113301, 0.9),
    (818924, 2.97),
    (310235, -4.63),
    (95609, -2.92),
    (537793, 1.11),
    (155394, -1.6),
    (736736, 0.45),
    (327627, 1.86),
    (321043, -3.23),
    (81994, 1.27),
    (756164, 1.89),
    (507294, -3.38),
    (50910, -4.19),
    (629826, 0.34),
    (425604, -4.68),
    (776531, 0.94),
    (262363, -0.44),
    (442244, -3.54),
    (669331, -4.67),
    (517539, -1.66),
    (217118, -3.69),
    (767205, 0.64),
    (139226, 1.3),
    (826287, -0.86),
    (177021, -0.65),
    (156495, -4.41),
    (441079, -2.05),
    (475167, 4.22),
    (650538, 3.52),
    (547560, -0.46),
    (511871, 1.89),
];

/// polars 2.1.0, `DataFrame.rolling(index_column, period, closed="left", group_by)`: sum, count, mean, min, max, var and the
/// last value that is not null; its sums of nothing are 0, ours null.
#[test]
fn a_sample_is_what_polars_says() {
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    let ops = [Op::Sum, Op::Count, Op::Mean, Op::Min, Op::Max, Op::Variance { ddof: 1 }, Op::Last];
    let days = [1, 3].map(|days| TimeWindow::exact(Duration::from_secs(days * 86_400)));
    let view = WindowView::builder("events", user).column("b", ValueType::Float64).aggregates("b", ops, days);
    let view = view.build().unwrap();
    let rows: Vec<Row> = SAMPLE.iter().map(|(time, x)| (time * 1_000_000, None, Some(*x), None)).collect();
    let asked = [675_112, 460_147, 665_715].map(|time| time * 1_000_000);
    let asked = [(Some(2), asked[0]), (Some(2), asked[1]), (Some(3), asked[2])];
    let (found, report) = join(&view, &asked, batch(&rows, &[Some(2); 40]));
    let expected = [
        [2.6, 4.0, 0.65, -4.67, 3.52, 14.751, -4.67, -13.38, 16.0, -0.83625, -4.68, 4.22, 9.009651666666665, -4.67],
        [
            -11.61,
            4.0,
            -2.9025,
            -4.68,
            -1.34,
            2.244691666666666,
            -3.54,
            -14.56,
            13.0,
            -1.12,
            -4.68,
            4.3,
            10.777716666666668,
            -3.54,
        ],
    ];
    for (row, expected) in expected.iter().enumerate() {
        for (at, expected) in expected.iter().enumerate() {
            let found = match cell(found.column(2 + at), row) {
                Cell::One(Value::Int(count)) => Value::Real(count as f64),
                Cell::One(value) => value,
                other => panic!("{other:?}"),
            };
            ensure_alike(&Cell::One(found), &Cell::One(Value::Real(*expected)), &format!("{row} {at}"));
        }
    }
    assert_eq!(found.column(3).as_primitive::<Int64Type>().value(2), 0);
    assert!(found.column(2).is_null(2));
    assert_eq!((report.matched, report.unknown_key), (2, 1));
}

fn sums(builder: impl FnOnce(crate::window::WindowViewBuilder) -> crate::window::WindowViewBuilder) -> WindowView {
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    builder(WindowView::builder("events", user).column("b", ValueType::Float64)).build().unwrap()
}

fn reals(rows: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    rows.column_by_name(name).unwrap().as_primitive::<Float64Type>().iter().collect()
}

fn at(rows: &[(i64, f64)]) -> Vec<Row> {
    rows.iter().map(|(time, x)| (*time, None, Some(*x), None)).collect()
}

#[test]
fn an_event_that_is_delivered_twice_counts_once_and_the_first_time() {
    let view = sums(|view| view.event_id("id").aggregate("b", Op::Sum, TimeWindow::lifetime()));
    let rows = at(&[(5, 1.0), (5, 2.0), (5, 4.0), (6, 8.0)]);
    let events = batch(&rows, &[Some(1); 4]);
    let ids: ArrayRef = Arc::new(StringArray::from(vec!["x", "y", "x", "x"]));
    let mut columns = events.columns().to_vec();
    let schema = events.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().clone()).collect();
    columns[2] = ids;
    let events = RecordBatch::try_from_iter(names.into_iter().zip(columns)).unwrap();
    let (found, _) = join(&view, &[(Some(1), 10)], events);
    assert_eq!(reals(&found, "b_sum"), [Some(1.0 + 2.0 + 8.0)]);
}

#[test]
fn sums_that_cancel_leave_nothing_behind() {
    let second = TimeWindow::exact(Duration::from_micros(1));
    let view = sums(|view| view.aggregates("b", [Op::Sum, Op::Mean], [second]));
    let rows = at(&[(0, 1e300), (1, 0.1), (2, -1e300), (3, 1e-300), (4, f64::NAN), (5, f64::MAX), (6, f64::INFINITY)]);
    let asked: Vec<_> = (0..8).map(|t| (Some(1), t)).collect();
    let (found, _) = join(&view, &asked, batch(&rows, &[Some(1); 7]));
    let expected = [None, Some(1e300), Some(0.1), Some(-1e300), Some(1e-300), None, Some(f64::MAX), None];
    assert_eq!(reals(&found, "b_sum_1us"), expected);
    assert_eq!(reals(&found, "b_mean_1us"), expected);
}

#[test]
fn selected_features_come_under_their_alias_and_key() {
    let day = TimeWindow::exact(Duration::from_hours(24));
    let view = sums(|view| view.aggregates("b", [Op::Sum, Op::Count, Op::Max], [day]).count(day));
    let used = ViewUse::of("events", ["b_max_1d", "b_sum_1d"]).unwrap().alias("mine").unwrap();
    let used = used.key("user_id", "buyer").unwrap();
    let asked = RecordBatch::try_from_iter([
        ("buyer", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![7]))),
    ]);
    let asked = Dataset::from_batches([asked.unwrap()]).unwrap();
    let events = Dataset::from_batches([batch(&at(&[(0, 1.0), (6, 3.0), (7, 9.0)]), &[Some(1); 3])]).unwrap();
    let joins = [(WindowJoin::of(&view, &used).unwrap(), events)];
    let set = window_join(&asked, &joins, &AsOfOptions::new().full_names(true)).unwrap();
    let rows = set.dataset.to_batch().unwrap();
    let names: Vec<_> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["buyer", "at", "mine__b_max_1d", "mine__b_sum_1d"]);
    assert_eq!((reals(&rows, "mine__b_max_1d"), reals(&rows, "mine__b_sum_1d")), (vec![Some(3.0)], vec![Some(4.0)]));
    assert_eq!(set.dataset.schema().with(Role::Feature).len(), 2);
}

#[test]
fn however_little_memory_there_is_the_values_are_the_same() {
    let view = view(windows(), Duration::ZERO, &ALL);
    let rows: Vec<Row> = (0..600_i64)
        .map(|i| {
            (i * 7 % 500 * MINUTE, (i % 5 > 0).then_some(i), Some((i % 11) as f64 / 8.0), Some(format!("t{}", i % 13)))
        })
        .collect();
    let keys: Vec<_> = (0..600).map(|i| (i % 29 > 0).then_some(i % 17)).collect();
    let asked: Vec<_> = (0..200_i64).map(|i| ((i % 31 > 0).then_some(i % 19), i * 77 % 601 * MINUTE)).collect();
    let asked = spine(&asked);
    let events = Dataset::from_batches([batch(&rows, &keys)]).unwrap();
    let joins = [(WindowJoin::new(&view), events.clone()), (WindowJoin::new(&view), events)];
    let set = |bytes: u64| {
        let used = ViewUse::of("events", ["b_sum_1h", "c_last3_75h", "a_distinct"]).unwrap().alias("again").unwrap();
        let again = WindowJoin::of(&view, &used).unwrap();
        let joins = [joins[0].clone(), (again, joins[1].1.clone())];
        window_join(&asked, &joins, &AsOfOptions::new().full_names(true).memory_bytes(bytes)).unwrap()
    };
    let whole = set(1 << 30);
    assert!(whole.dataset.is_held());
    for bytes in [0, 30_000, 200_000, 4 << 20] {
        let little = set(bytes);
        assert_eq!(little.dataset.digest().unwrap(), whole.dataset.digest().unwrap(), "{bytes}");
        assert_eq!(little.reports, whole.reports, "{bytes}");
    }
    assert!(!set(0).dataset.is_held());
}

#[test]
fn the_lineage_tells_the_definition_of_the_windows() {
    let day = TimeWindow::exact(Duration::from_hours(24));
    let views = [day, day.earlier(day.length().unwrap())];
    let views = views.map(|window| sums(|view| view.named("x", "b", Op::Sum, window)));
    let told = views.clone().map(|view| {
        let events = Dataset::from_batches([batch(&at(&[(0, 1.0)]), &[Some(1)])]).unwrap();
        let joins = [(WindowJoin::new(&view), events)];
        let set = window_join(&spine(&[(Some(1), 7)]), &joins, &AsOfOptions::new()).unwrap();
        set.lineage().unwrap().views[0].fingerprint
    });
    assert_eq!(told, views.map(|view| view.fingerprint()));
    assert_ne!(told[0], told[1]);
}

#[test]
fn what_cannot_be_joined_is_named() {
    let day = TimeWindow::exact(Duration::from_hours(24));
    let view = sums(|view| view.aggregate("b", Op::Sum, day));
    let fails = |events: RecordBatch, options: AsOfOptions| {
        let events = Dataset::from_batches([events]).unwrap();
        window_join(&spine(&[(Some(1), 7)]), &[(WindowJoin::new(&view), events)], &options).unwrap_err()
    };
    let good = batch(&at(&[(0, 1.0)]), &[Some(1)]);
    assert!(fails(good.clone(), AsOfOptions::new().as_known(true)).to_string().contains("as_known"));
    let without = good.project(&[0, 1, 3, 5]).unwrap();
    assert!(fails(without, AsOfOptions::new()).to_string().contains("`b`"));
    let other = RecordBatch::try_from_iter(
        good.schema().fields().iter().map(|field| field.name().clone()).zip(
            good.columns()
                .iter()
                .enumerate()
                .map(|(at, column)| if at == 4 { good.column(5).clone() } else { column.clone() }),
        ),
    );
    let error = fails(other.unwrap(), AsOfOptions::new());
    assert!(matches!(error, Error::Core(mlops_core::Error::Schema { .. })), "{error}");
}

#[test]
fn one_key_with_very_many_events_is_no_special_case() {
    let hour = Duration::from_hours(1);
    let view = sums(|view| {
        let ops = [Op::Sum, Op::Min, Op::Distinct, Op::LastNDistinct { n: 3 }, Op::TopK { k: 3 }];
        view.aggregates("b", ops, [TimeWindow::exact(hour), TimeWindow::lifetime()])
    });
    let rows: Vec<Row> = (0..20_000).map(|i| (i * 1_000_000, None, Some((i % 50) as f64), None)).collect();
    let asked: Vec<_> = (0..20_000).map(|i| (Some(1), i * 1_000_000)).collect();
    let (found, _) = join(&view, &asked, batch(&rows, &vec![Some(1); rows.len()]));
    // Of 3600 seconds there are 72 of each of the values 0 to 49.
    assert_eq!(reals(&found, "b_sum_1h")[19_999], Some(72.0 * 1_225.0));
    assert_eq!(reals(&found, "b_sum")[10_000], Some(200.0 * 1_225.0));
    assert_eq!(cell(found.column_by_name("b_distinct_1h").unwrap(), 30), Cell::count(30));
    let three = |a, b, c| Cell::Many([a, b, c].map(Value::Real).to_vec());
    assert_eq!(cell(found.column_by_name("b_last3_distinct_1h").unwrap(), 19_999), three(48.0, 47.0, 46.0));
    assert_eq!(cell(found.column_by_name("b_top3_1h").unwrap(), 10_000), three(0.0, 1.0, 2.0));
}
