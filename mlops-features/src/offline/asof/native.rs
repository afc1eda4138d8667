//! The join by our own means.
//!
//! Entity rows are grouped by key once per set of key columns. Each view is then read twice: first its keys and times,
//! which are enough to choose a row per entity row, then its features a few columns at a time, of which only chosen
//! values are kept.
//!
//! What there is no room for takes one of three ways. History rows beyond the room are let go of once each entity row
//! has its best of them. Columns of the result go to a file. When the entity rows themselves are too many, their keys
//! and the views are cut into partitions by the hash of the key, which are joined one after the other; their results are
//! put in the order of the entity rows again when they are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt8Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use mlops_core::{Dataset, EventTime, Name};

use super::gather::{Values, fitting, row_bytes};
use super::group::SpineKeys;
use super::history::{Rules, choose};
use super::joined::{Part, dataset};
use super::options::Room;
use super::partition::{PARTITIONS_MAX, Partitioner, Scatter};
use super::report::Tally;
use super::spine::Spine;
use super::{AsOfOptions, JoinReport, TrainingSet, output_schema, scan, time_column};
use crate::columns;
use crate::define::KeyType;
use crate::entity::Entity;
use crate::error::{Core, Result};
use crate::feature::Feature;
use crate::key::{Keys, pick};
use crate::service::ViewJoin;
use mlops_core::spill::{Spool, Spooled};

/// Bytes per entity row while it is joined, besides those per set of key columns.
const ROW_BYTES: u64 = 64;

/// Bytes per entity row and set of key columns.
const KEYED_ROW_BYTES: u64 = 24;

/// Key columns of the entity rows, each with its type.
pub(crate) type KeySet = Vec<(Name, KeyType)>;

pub(super) fn join(spine: &Dataset, views: &[(ViewJoin, Dataset)], options: &AsOfOptions) -> Result<TrainingSet> {
    let schema = output_schema(spine.schema(), views.iter().map(|(join, _)| join), options)?;
    let time = time_column(spine.schema(), options)?;
    let room = options.room();
    let spine = Spine::read(spine, &time, &room)?;
    let mut joiner = Joiner::new(spine, views.iter().map(|(join, _)| join), room);
    let mut sides: BTreeMap<KeySet, Side> = BTreeMap::new();
    let (mut parts, mut reports) = (Vec::new(), Vec::new());
    for (join, history) in views {
        let by = key_set(join);
        if !sides.contains_key(&by) {
            sides.insert(by.clone(), joiner.side(join)?);
        }
        let (columns, report) = joiner.view(&sides[&by], join, history, options.is_as_known())?;
        parts.extend(columns);
        reports.push(report);
    }
    drop(sides);
    Ok(TrainingSet::new(dataset(schema, joiner.spine, parts)?, reports))
}

pub(crate) fn key_set(join: &ViewJoin) -> KeySet {
    let types = join.view().entity().keys().iter().map(|key| key.key_type);
    join.key_columns().iter().cloned().zip(types).collect()
}

/// Into how many partitions entity rows are cut.
fn partitions(spine: &Spine, joins: &[&ViewJoin], room: &Room) -> usize {
    let mut sets: Vec<_> = joins.iter().map(|join| key_set(join)).collect();
    sets.sort_unstable();
    sets.dedup();
    let row_bytes_all = ROW_BYTES + KEYED_ROW_BYTES * sets.len() as u64;
    if spine.rows().saturating_mul(row_bytes_all) <= room.bytes / 2 {
        return 1;
    }
    let widest = joins.iter().map(|join| row_bytes(join.features())).max().unwrap_or(0);
    partitions_of(spine.rows().saturating_mul(ROW_BYTES + KEYED_ROW_BYTES + widest as u64), room)
}

/// Into how many partitions `bytes` are cut.
pub(crate) fn partitions_of(bytes: u64, room: &Room) -> usize {
    let count = bytes.div_ceil((room.bytes / 4).max(1)).min(PARTITIONS_MAX as u64) as usize;
    count.next_power_of_two().clamp(2, PARTITIONS_MAX)
}

/// Entity rows under one set of key columns.
pub(crate) enum Side {
    /// In memory.
    Whole(SpineKeys),
    /// Keys and instants by partition, and the partition of each row.
    Parts { partitioner: Partitioner, narrow: Spooled, numbers: Spooled },
}

/// What all views have in common.
pub(crate) struct Joiner {
    pub(crate) spine: Spine,
    pub(crate) room: Room,
    partitions: usize,
    /// Bytes that will be held to the end.
    pub(crate) held: u64,
}

impl Joiner {
    pub(crate) fn new<'a>(spine: Spine, joins: impl Iterator<Item = &'a ViewJoin>, room: Room) -> Self {
        let partitions = partitions(&spine, &joins.collect::<Vec<_>>(), &room);
        // Rows that are cut into partitions are not held by key.
        let keyed = if partitions == 1 { spine.rows() * KEYED_ROW_BYTES } else { 0 };
        Self { held: spine.own_bytes() + keyed, partitions, spine, room }
    }

    /// The entity rows by the key columns of `join`.
    pub(crate) fn side(&self, join: &ViewJoin) -> Result<Side> {
        if self.partitions > 1 {
            return self.scattered(join, self.partitions);
        }
        if let Some(batches) = self.spine.held() {
            let entity = join.view().entity();
            let keys = |batch| Keys::new(entity, &pick(batch, join.key_columns())?);
            let keys = batches.iter().map(keys).collect::<Result<Vec<_>>>()?;
            let times = batches.iter().map(|batch| self.spine.times(batch)).collect::<Result<Vec<_>>>()?;
            return Ok(Side::Whole(SpineKeys::group(&keys, &times)?));
        }
        // Keys that were decoded beside other columns would keep those in memory, too.
        let mut spool = Spool::create(self.room.folder(), self.narrow_schema(join)?, 1)?;
        for block in self.spine.blocks() {
            spool.write(0, &self.narrow(join, &block?)?)?;
        }
        Ok(Side::Whole(grouped(join, spool.close().read(0).collect::<mlops_core::Result<Vec<_>>>()?.as_slice())?))
    }

    /// The same by partition.
    pub(crate) fn scattered(&self, join: &ViewJoin, partitions: usize) -> Result<Side> {
        let partitioner = Partitioner::new(partitions);
        let spool = Spool::create(self.room.folder(), self.narrow_schema(join)?, partitions)?;
        let mut scatter = Scatter::new(spool, partitions, &self.room);
        let schema = Arc::new(ArrowSchema::new(vec![Field::new("partition", DataType::UInt8, false)]));
        let mut all_numbers = Spool::create(self.room.folder(), schema.clone(), 1)?;
        for block in self.spine.blocks() {
            let block = block?;
            let keys = Keys::new(join.view().entity(), &pick(&block, join.key_columns())?)?;
            let numbers = partitioner.number(&keys);
            scatter.push(&self.narrow(join, &block)?, &numbers)?;
            let column = Arc::new(UInt8Array::from(numbers)) as ArrayRef;
            all_numbers.write(0, &RecordBatch::try_new(schema.clone(), vec![column])?)?;
        }
        Ok(Side::Parts { partitioner, narrow: scatter.close()?, numbers: all_numbers.close() })
    }

    fn narrow_schema(&self, join: &ViewJoin) -> Result<SchemaRef> {
        let mut fields = Vec::new();
        for (at, column) in join.key_columns().iter().enumerate() {
            let missing = |_| Core::schema(column.as_str(), "a key column", "no such column");
            let field = self.spine.schema().field(column.as_str()).map_err(missing)?;
            fields.push(Field::new(format!("key {at}"), plain(field.data_type()).clone(), true));
        }
        fields.push(Field::new("time", EventTime::data_type(), false));
        Ok(Arc::new(ArrowSchema::new(fields)))
    }

    /// Keys, under the names of their places, and instants.
    fn narrow(&self, join: &ViewJoin, block: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(join.key_columns().len() + 1);
        for column in pick(block, join.key_columns())? {
            columns.push(arrow::compute::cast(&column, plain(column.data_type()))?);
        }
        columns.push(Arc::new(self.spine.times(block)?) as ArrayRef);
        Ok(RecordBatch::try_new(self.narrow_schema(join)?, columns)?)
    }

    fn view(
        &mut self,
        side: &Side,
        join: &ViewJoin,
        history: &Dataset,
        as_known: bool,
    ) -> Result<(Vec<Part>, JoinReport)> {
        let mut tally = Tally::new(&self.room);
        let bytes = self.room.bytes.saturating_sub(self.held) / 2;
        let rules = Rules::new(join, as_known, bytes, self.room.block_rows());
        let parts = match side {
            Side::Whole(keys) => self.whole(keys, join, history, &rules, &mut tally)?,
            Side::Parts { partitioner, narrow, numbers } => {
                let times: Vec<&str> = std::iter::once(join.view().event_time()).chain(join.view().created()).collect();
                let others: Vec<&str> = join.features().map(|feature| feature.name.as_str()).collect();
                let entity = join.view().entity();
                let scattered = self.scatter_history(entity, (&times, &others), history, partitioner, &mut tally)?;
                let features: Vec<&Feature> = join.features().collect();
                let rows = self.by_partition(narrow, &scattered, join, &mut |keys, history, emit| {
                    let chosen = choose(join, history, &keys, &rules, &mut tally)?;
                    drop(keys);
                    let history_rows = chosen.history_rows;
                    let block_rows = self.room.block_rows();
                    let values = Values { join, history, history_rows, features: &features, block_rows };
                    values.place_all(&chosen.rows, (self.room.bytes / 4) as usize, emit)
                })?;
                vec![Part::Scattered { rows, numbers: numbers.clone() }]
            }
        };
        Ok((parts, tally.finish(join.label())?))
    }

    /// Joins one view to entity rows that are all in memory.
    fn whole(
        &mut self,
        keys: &SpineKeys,
        join: &ViewJoin,
        history: &Dataset,
        rules: &Rules,
        tally: &mut Tally,
    ) -> Result<Vec<Part>> {
        let chosen = choose(join, history, keys, rules, tally)?;
        tally.history_rows = chosen.history_rows as u64;
        tally.history_null_keys = chosen.null_keys;
        let features: Vec<&Feature> = join.features().collect();
        let mut parts = Vec::new();
        let mut rest = features.as_slice();
        while !rest.is_empty() {
            let (group, later) = rest.split_at(fitting(rest, chosen.rows.len(), (self.room.bytes / 32) as usize));
            let values = Values {
                join,
                history,
                history_rows: chosen.history_rows,
                features: group,
                block_rows: self.room.block_rows(),
            };
            parts.push(self.place(&values, &chosen.rows)?);
            rest = later;
        }
        Ok(parts)
    }

    /// Values in place: in memory while there is room, else in a file.
    fn place(&mut self, values: &Values, chosen: &[u32]) -> Result<Part> {
        let spool = || Spool::create(self.room.folder(), feature_schema(values.features), 1);
        let bytes = (self.room.bytes / 4) as usize;
        let Some(picked) = values.pick(chosen, bytes)? else {
            let mut spool = spool()?;
            let schema = feature_schema(values.features);
            values.place_all(chosen, bytes, &mut |columns| {
                Ok(spool.write(0, &RecordBatch::try_new(schema.clone(), columns)?)?)
            })?;
            return Ok(Part::Filed(spool.close()));
        };
        let placed = picked.placed_bytes()?.map(|placed| placed as u64);
        if let Some(placed) = placed.filter(|placed| self.held + placed <= self.room.bytes / 4 * 3) {
            self.held += placed;
            return Ok(Part::Held(picked.place()?));
        }
        let mut spool = spool()?;
        let schema = feature_schema(values.features);
        picked.place_blocks(values.block_rows, &mut |columns| {
            Ok(spool.write(0, &RecordBatch::try_new(schema.clone(), columns)?)?)
        })?;
        Ok(Part::Filed(spool.close()))
    }

    /// Keys, `times` (that of the event first) and `others` of a history by partition, without rows that never match.
    pub(crate) fn scatter_history(
        &self,
        entity: &Entity,
        (times, others): (&[&str], &[&str]),
        history: &Dataset,
        partitioner: &Partitioner,
        tally: &mut Tally,
    ) -> Result<Spooled> {
        let names: Vec<_> = entity.keys().iter().map(|key| key.name.clone()).collect();
        let keys = names.iter().map(AsRef::as_ref);
        let wanted: Vec<&str> = keys.chain(times.iter().copied()).chain(others.iter().copied()).collect();
        let batches = scan(history, &wanted, self.room.block_rows())?;
        let field = |name: &&str| {
            let found = history.schema().field(name)?;
            Ok(Field::new(*name, plain(found.data_type()).clone(), true))
        };
        let schema = Arc::new(ArrowSchema::new(wanted.iter().map(field).collect::<Result<Vec<_>>>()?));
        let spool = Spool::create(self.room.folder(), schema.clone(), partitioner.partitions())?;
        let mut scatter = Scatter::new(spool, partitioner.partitions(), &self.room);
        for batch in batches {
            let batch = plain_rows(&batch?, &schema)?;
            columns::ensure_no_nulls(batch.column(names.len()), times[0])?;
            for (at, column) in times.iter().enumerate() {
                columns::micros(batch.column(names.len() + at), column)?;
            }
            let keys = Keys::new(entity, &pick(&batch, &names)?)?;
            tally.history_rows += batch.num_rows() as u64;
            let nulls = (0..keys.len()).filter(|row| keys.is_null(*row)).count();
            if nulls == 0 {
                scatter.push(&batch, &partitioner.number(&keys))?;
                continue;
            }
            tally.history_null_keys += nulls as u64;
            let whole: BooleanArray = (0..keys.len()).map(|row| Some(!keys.is_null(row))).collect();
            let batch = filter_record_batch(&batch, &whole)?;
            let keys = Keys::new(entity, &pick(&batch, &names)?)?;
            scatter.push(&batch, &partitioner.number(&keys))?;
        }
        scatter.close()
    }

    /// Calls `compute` for partition by partition, each in as many pieces as there is need of, with entity rows, history, and
    /// where the columns of the features go.
    pub(crate) fn by_partition(
        &self,
        narrow: &Spooled,
        history: &Spooled,
        join: &ViewJoin,
        compute: &mut dyn FnMut(SpineKeys, &Dataset, &mut Emit<'_>) -> Result<()>,
    ) -> Result<Spooled> {
        let features: Vec<&Feature> = join.features().collect();
        let schema = feature_schema(&features);
        let mut spool = Spool::create(self.room.folder(), schema.clone(), narrow.partitions())?;
        let rows_max = Room::count(self.room.bytes / 4, ROW_BYTES + KEYED_ROW_BYTES);
        for partition in 0..narrow.partitions() {
            let rows = history.dataset(partition)?;
            let mut batches = narrow.read(partition).peekable();
            while batches.peek().is_some() {
                let mut piece = Vec::new();
                let mut count = 0;
                while let Some(batch) = batches.next_if(|_| count < rows_max) {
                    let batch = batch?;
                    count += batch.num_rows();
                    piece.push(batch);
                }
                let keys = grouped(join, &piece)?;
                drop(piece);
                compute(keys, &rows, &mut |columns| {
                    Ok(spool.write(partition, &RecordBatch::try_new(schema.clone(), columns)?)?)
                })?;
            }
        }
        Ok(spool.close())
    }
}

/// Takes columns of features of the next entity rows.
pub(crate) type Emit<'a> = dyn FnMut(Vec<ArrayRef>) -> Result<()> + 'a;

/// Groups narrow rows: keys, then instants.
fn grouped(join: &ViewJoin, batches: &[RecordBatch]) -> Result<SpineKeys> {
    let entity = join.view().entity();
    let width = entity.keys().len();
    let keys = |batch: &RecordBatch| Keys::new(entity, &batch.columns()[..width]);
    let keys = batches.iter().map(keys).collect::<Result<Vec<_>>>()?;
    let times = batches.iter().map(|batch| columns::micros(batch.column(width), "time"));
    SpineKeys::group(&keys, &times.collect::<Result<Vec<TimestampMicrosecondArray>>>()?)
}

pub(crate) fn feature_schema(features: &[&Feature]) -> SchemaRef {
    let field = |(at, feature): (usize, &&Feature)| Field::new(at.to_string(), feature.value_type.data_type(), true);
    Arc::new(ArrowSchema::new(features.iter().enumerate().map(field).collect::<Vec<_>>()))
}

/// The type without a dictionary: each block on disk would hold all of it.
fn plain(data_type: &DataType) -> &DataType {
    if let DataType::Dictionary(_, values) = data_type { values } else { data_type }
}

fn plain_rows(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let cast = batch.columns().iter().zip(schema.fields());
    let cast = cast.map(|(column, field)| arrow::compute::cast(column, field.data_type()));
    let cast = cast.collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(schema.clone(), cast)?)
}
