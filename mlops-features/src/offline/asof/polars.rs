//! The join by polars.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::UInt32Type;
use mlops_core::Dataset;
use mlops_core::interop::polars::polars::prelude as pl;
use mlops_core::interop::polars::polars::prelude::{IntoLazy, LazyFrame, col};

use super::gather::Values;
use super::group::NONE;
use super::history::{Moment, Rules};
use super::report::Tally;
use super::{AsOfEngine, AsOfOptions, JoinReport, TrainingSet, ensure_countable, output_schema, scan, time_column};
use crate::columns;
use crate::error::{Core, Result};
use crate::feature::Feature;
use crate::key::{KeyColumn, Keys, pick};
use crate::service::ViewJoin;

/// Runs joins by polars: an independent check of [`NativeEngine`](super::NativeEngine), and for those who want their
/// joins on polars' threads.
///
/// polars sorts, finds the winner per key and instant, and joins (`join_asof`); values are put in place and reports counted
/// as everywhere. Everything is in memory, whatever [`AsOfOptions::memory_bytes`] says, and takes several times as much of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct PolarsEngine;

impl AsOfEngine for PolarsEngine {
    fn join(&self, spine: &Dataset, views: &[(ViewJoin, Dataset)], options: &AsOfOptions) -> Result<TrainingSet> {
        let schema = output_schema(spine.schema(), views.iter().map(|(join, _)| join), options)?;
        let time = time_column(spine.schema(), options)?;
        let rows = spine.to_batch()?;
        columns::ensure_no_nulls(&rows[time.as_str()], &time)?;
        ensure_countable("entity rows", rows.num_rows())?;
        let instants = columns::micros(&rows[time.as_str()], &time)?;
        let mut columns = rows.columns().to_vec();
        let mut reports = Vec::new();
        for (join, history) in views {
            let (placed, report) = view(join, history, &rows, &instants, options)?;
            columns.extend(placed);
            reports.push(report);
        }
        let batch = RecordBatch::try_new(schema.arrow().clone(), columns)?;
        Ok(TrainingSet::new(Dataset::held(schema, [batch])?, reports).made_of(spine, views, options))
    }
}

fn view(
    join: &ViewJoin,
    history: &Dataset,
    spine: &RecordBatch,
    instants: &TimestampMicrosecondArray,
    options: &AsOfOptions,
) -> Result<(Vec<ArrayRef>, JoinReport)> {
    let room = options.room();
    let mut tally = Tally::new(&room);
    let known = Known::read(join, history, room.block_rows())?;
    let rules = Rules::new(join, options.is_as_known(), u64::MAX, room.block_rows());
    let keys = Keys::new(join.view().entity(), &pick(spine, join.key_columns())?)?;
    let chosen = known.choose(&keys, instants, &rules, &mut tally)?;
    tally.history_rows = known.rows as u64;
    tally.history_null_keys = known.null_keys;
    let features: Vec<&Feature> = join.features().collect();
    let (history_rows, block_rows) = (known.rows, room.block_rows());
    let values = Values { join, history, history_rows, features: &features, block_rows };
    let too_many = || Core::invalid("bytes of the features", "too many", "what fits into memory");
    let picked = values.pick(&chosen, usize::MAX)?.ok_or_else(too_many)?;
    Ok((picked.place()?, tally.finish(join.label())?))
}

/// Keys and times of a history, as a frame.
struct Known {
    frame: pl::DataFrame,
    /// Names of the key columns in frames.
    by: Vec<String>,
    rows: usize,
    null_keys: u64,
}

impl Known {
    /// Columns: keys, `event`, `has` (whether there is a created time), `created`, `from` (when it was both true and
    /// known), `row`.
    fn read(join: &ViewJoin, history: &Dataset, block_rows: usize) -> Result<Self> {
        let view = join.view();
        let names: Vec<_> = view.entity().keys().iter().map(|key| key.name.clone()).collect();
        let by: Vec<String> = (0..names.len()).map(|at| format!("k{at}")).collect();
        let mut wanted: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        wanted.push(view.event_time());
        wanted.extend(view.created());
        let (mut rows, mut null_keys, mut batches) = (0_usize, 0, Vec::new());
        for batch in scan(history, &wanted, block_rows)? {
            let batch = batch?;
            ensure_countable("history rows", rows + batch.num_rows())?;
            let keys = Keys::new(view.entity(), &pick(&batch, &names)?)?;
            null_keys += (0..keys.len()).filter(|row| keys.is_null(*row)).count() as u64;
            let time = batch.column(names.len());
            columns::ensure_no_nulls(time, view.event_time())?;
            let event = columns::micros(time, view.event_time())?;
            let created = match view.created() {
                Some(column) => columns::micros(batch.column(names.len() + 1), column)?,
                None => TimestampMicrosecondArray::new_null(batch.num_rows()),
            };
            let from =
                event.values().iter().zip(&created).map(|(event, created)| created.map_or(*event, |c| c.max(*event)));
            let mut columns = key_columns(&keys)?;
            columns.push((
                "event".to_owned(),
                Arc::new(event.values().iter().copied().collect::<Int64Array>()) as ArrayRef,
            ));
            columns.push((
                "has".to_owned(),
                Arc::new((0..created.len()).map(|at| Some(created.is_valid(at))).collect::<BooleanArray>()),
            ));
            columns.push((
                "created".to_owned(),
                Arc::new(created.iter().map(|c| Some(c.unwrap_or(0))).collect::<Int64Array>()),
            ));
            columns.push(("from".to_owned(), Arc::new(Int64Array::from_iter_values(from))));
            columns.push((
                "row".to_owned(),
                Arc::new((0..batch.num_rows()).map(|at| Some((rows + at) as u32)).collect::<UInt32Array>()),
            ));
            rows += batch.num_rows();
            batches.push(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))?);
        }
        if batches.is_empty() {
            return Ok(Self { frame: pl::DataFrame::empty(), by, rows, null_keys });
        }
        let frame = Dataset::from_batches(batches)?.to_polars()?.lazy().filter(whole(&by));
        // In winning order: the place of a row is its rank.
        let frame = frame.sort(["event", "has", "created", "row"], pl::SortMultipleOptions::default());
        Ok(Self { frame: frame.collect().map_err(failed)?, by, rows, null_keys })
    }

    /// Per entity row the history row, or [`NONE`].
    fn choose(
        &self,
        keys: &Keys,
        instants: &TimestampMicrosecondArray,
        rules: &Rules,
        tally: &mut Tally,
    ) -> Result<Vec<u32>> {
        tally.null_key = (0..keys.len()).filter(|row| keys.is_null(*row)).count() as u64;
        let whole_keys = keys.len() as u64 - tally.null_key;
        if self.frame.height() == 0 || whole_keys == 0 {
            tally.unknown_key = whole_keys;
            return Ok(vec![NONE; keys.len()]);
        }
        let found = self.search(keys, instants, rules.known())?;
        let moments = self.moments()?;
        let at = |column: &str, row: usize| {
            let ranks = found[column].as_primitive::<UInt32Type>();
            ranks.is_valid(row).then(|| moments[ranks.value(row) as usize])
        };
        let positions = found["at"].as_primitive::<UInt32Type>();
        let mut chosen = vec![NONE; keys.len()];
        for row in 0..found.num_rows() {
            if found["met"].is_null(row) {
                tally.unknown_key += 1;
                continue;
            }
            let position = positions.value(row) as usize;
            let latest = at("latest", row);
            let winner = if rules.known() { at("known", row) } else { latest };
            chosen[position] = rules.judge(latest, winner, instants.value(position), tally)?;
        }
        Ok(chosen)
    }

    /// For each entity row with a key: its position `at`, whether its key was `met`, and the ranks of the `latest` row and
    /// of the latest `known` one.
    fn search(&self, keys: &Keys, instants: &TimestampMicrosecondArray, known: bool) -> Result<RecordBatch> {
        let mut columns = key_columns(keys)?;
        columns.push(("t".to_owned(), Arc::new(instants.values().iter().copied().collect::<Int64Array>()) as ArrayRef));
        columns.push(("at".to_owned(), Arc::new((0..keys.len() as u32).map(Some).collect::<UInt32Array>())));
        let asked = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))?;
        let asked = Dataset::from_batches([asked])?.to_polars()?.lazy().filter(whole(&self.by));
        let ranked = self.frame.clone().lazy().with_row_index("latest", None);
        let met = ranked
            .clone()
            .select(self.keys_and([]))
            .unique_generic(Some(self.keys_and([])), pl::UniqueKeepStrategy::Any);
        let met = met.with_columns([pl::lit(true).alias("met")]);
        let mut found = asked.join(met, self.keys_and([]), self.keys_and([]), pl::JoinArgs::new(pl::JoinType::Left));
        found = self.as_of(found, ranked.clone(), "event", "latest");
        if known {
            let best = ranked.filter(col("has")).sort(["from", "latest"], pl::SortMultipleOptions::default());
            let best = best.with_columns([col("latest")
                .cum_max(false)
                .over(self.keys_and([]))
                .map_err(failed)?
                .alias("known")]);
            found = self.as_of(found, best, "from", "known");
        }
        let mut wanted = vec![col("at"), col("met"), col("latest").cast(pl::DataType::UInt32)];
        wanted.extend(known.then(|| col("known").cast(pl::DataType::UInt32)));
        Ok(Dataset::from_polars(found.select(wanted).collect().map_err(failed)?)?.to_batch()?)
    }

    /// Joins to each row of `asked` the column `wanted` of the row of `ranked` that is the last by `on`, then by order.
    fn as_of(&self, asked: LazyFrame, ranked: LazyFrame, on: &str, wanted: &str) -> LazyFrame {
        let last = ranked.unique_stable_generic(Some(self.keys_and([on])), pl::UniqueKeepStrategy::Last);
        let last = last.select(self.keys_and([on, wanted])).sort([on], pl::SortMultipleOptions::default());
        let by: Vec<pl::PlSmallStr> = self.by.iter().map(Into::into).collect();
        let options = pl::AsOfOptions {
            strategy: pl::AsofStrategy::Backward,
            tolerance: None,
            tolerance_str: None,
            left_by: Some(by.clone()),
            right_by: Some(by),
            allow_eq: true,
            check_sortedness: false,
        };
        let sorted = asked.sort(["t"], pl::SortMultipleOptions::default());
        let join = sorted.join_builder().with(last).left_on([col("t")]).right_on([col(on)]);
        join.how(pl::JoinType::AsOf(Box::new(options))).finish()
    }

    fn keys_and<const N: usize>(&self, more: [&str; N]) -> Vec<pl::Expr> {
        self.by.iter().map(String::as_str).chain(more).map(col).collect()
    }

    /// The times of each row, by rank.
    fn moments(&self) -> Result<Vec<Moment>> {
        use arrow::datatypes::Int64Type;
        let wanted = ["event", "has", "created", "row"].map(col);
        let frame = self.frame.clone().lazy().select(wanted).collect().map_err(failed)?;
        let batch = Dataset::from_polars(frame)?.to_batch()?;
        let (event, has) = (batch["event"].as_primitive::<Int64Type>(), batch["has"].as_boolean());
        let (created, rows) = (batch["created"].as_primitive::<Int64Type>(), batch["row"].as_primitive::<UInt32Type>());
        let moment = |at| {
            let created = has.value(at).then(|| created.value(at));
            Moment::new(event.value(at), created, rows.value(at))
        };
        Ok((0..batch.num_rows()).map(moment).collect())
    }
}

/// Whether no column of a key is null.
fn whole(by: &[String]) -> pl::Expr {
    by.iter().fold(pl::lit(true), |all, key| all.and(col(key.as_str()).is_not_null()))
}

fn key_columns(keys: &Keys) -> Result<Vec<(String, ArrayRef)>> {
    let column = |(at, column): (usize, &KeyColumn)| {
        let array: ArrayRef = match column {
            KeyColumn::Integer(values) => Arc::new(values.clone()),
            KeyColumn::Text(values) => arrow::compute::cast(values, &arrow::datatypes::DataType::Utf8)?,
        };
        Ok((format!("k{at}"), array))
    };
    keys.columns().iter().enumerate().map(column).collect()
}

fn failed(error: pl::PolarsError) -> Core {
    Core::external("polars", error)
}
