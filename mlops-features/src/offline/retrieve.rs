//! Features without entity rows: of all keys as of an instant, and of a stretch of time.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};
use foldhash::fast::RandomState;
use mlops_core::schema::{Role, Sensitivity};
use mlops_core::source::{BatchStream, Comparison, DataSource, Predicate, ScanRequest, SourceInfo};
use mlops_core::{Dataset, EventTime, Schema, Window};

use super::asof::options::Room;
use super::asof::partition::{PARTITIONS_MAX, Partitioner, Scatter};
use super::{AsOfOptions, HistoryRequest, HistoryStream, OfflineStore, Watermark, as_of_join};
use crate::error::{Core, Error, Result};
use crate::key::Keys;
use crate::service::ViewJoin;
use crate::view::{FeatureView, annotate};
use mlops_core::spill::Spool;

/// Bytes of one key while keys are told apart.
const KEY_BYTES: u64 = 96;

/// History of `view` in `store` as a data set, as far as `request` asks for it.
///
/// All scans of it give the rows that the first whole one gave, also when more are appended meanwhile. Its columns are
/// those of the view's [schema](FeatureView::schema).
///
/// # Errors
/// `Core(Invalid)` when `request` names features: a scan of a data set says itself which columns it wants.
pub fn stored_history(store: &Arc<dyn OfflineStore>, view: &FeatureView, request: HistoryRequest) -> Result<Dataset> {
    if request.projection().is_some() {
        return Err(Core::invalid("features", "some", "left to the scans of the data set").into());
    }
    let stored = StoredHistory { store: store.clone(), view: view.clone(), request, end: Arc::default() };
    Ok(Dataset::from_source(Arc::new(stored))?)
}

/// History of one view, as far as asked for.
#[derive(Debug)]
struct StoredHistory {
    store: Arc<dyn OfflineStore>,
    view: FeatureView,
    request: HistoryRequest,
    /// Up to where the first whole scan came.
    end: Arc<OnceLock<Watermark>>,
}

impl DataSource for StoredHistory {
    fn info(&self) -> mlops_core::Result<SourceInfo> {
        Ok(SourceInfo::new("offline_store", self.view.name().to_string()))
    }

    fn schema(&self) -> mlops_core::Result<Schema> {
        Ok(self.view.schema().clone())
    }

    fn scan(&self, request: &ScanRequest) -> mlops_core::Result<BatchStream> {
        let schema = self.view.schema();
        let first = schema.len() - self.view.features().len();
        let wanted = request.columns_to_read(schema)?;
        let places = wanted.iter().map(|name| schema.index_of(name)).collect::<mlops_core::Result<Vec<_>>>()?;
        let features = places.iter().filter_map(|place| place.checked_sub(first));
        let mut history = self.request.clone().features(features).batch_rows(request.rows_per_batch());
        if let Some(end) = self.end.get() {
            history = history.until(self.request.end().map_or(*end, |asked| asked.min(*end)));
        }
        let stream = self.store.scan(&self.view, &history)?;
        let schema = stream.schema().clone();
        let noted = Noted { stream, at: Watermark::default(), end: self.end.clone() };
        request.finish(BatchStream::new(schema, noted))
    }
}

/// Notes up to where a stream came, once it is at its end.
struct Noted {
    stream: HistoryStream,
    at: Watermark,
    end: Arc<OnceLock<Watermark>>,
}

impl Iterator for Noted {
    type Item = mlops_core::Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(batch) = self.stream.next() else {
            self.end.get_or_init(|| self.at);
            return None;
        };
        Some(batch.map_err(Into::into).map(|batch| {
            self.at = batch.end;
            batch.rows
        }))
    }
}

/// The features of all keys that had any at `t`, as the as-of join gives them: one row per key.
///
/// * Columns: the key columns, the instant under the name that the first view has for it, then those of each view.
/// * Rows: one for each key with a row in at least one of the views that was valid at `t`. Their order says nothing, but is
///   the same each time.
/// * With [`as_known`](AsOfOptions::as_known), a row counts only when it was created by then.
///
/// Memory is bounded as that of the join is; the history is read four times.
///
/// # Errors
/// As [`as_of_join`]; `Core(Invalid)` when there is no view, or when views have different entities or key columns.
pub fn latest_as_of(
    store: &Arc<dyn OfflineStore>,
    joins: &[ViewJoin],
    t: EventTime,
    options: &AsOfOptions,
) -> Result<Dataset> {
    let Some(first) = joins.first() else { return Err(Core::invalid("views", "none", "at least one").into()) };
    let same = |join: &&ViewJoin| {
        join.key_columns() == first.key_columns() && join.view().entity().keys() == first.view().entity().keys()
    };
    if let Some(other) = joins.iter().find(|join| !same(join)) {
        return Err(Core::invalid("view", other.label(), "of the same entity and key columns as the first").into());
    }
    let history = |join: &ViewJoin| {
        let window = valid_at(join.view(), t);
        let request = window.map_or_else(HistoryRequest::all, |window| HistoryRequest::all().window(window));
        Ok((join.clone(), stored_history(store, join.view(), request)?))
    };
    let views = joins.iter().map(history).collect::<Result<Vec<_>>>()?;
    let keys = DistinctKeys { views: &views, t, as_known: options.is_as_known(), room: options.room() };
    let spine = keys.collect(&spine_schema(first)?)?;
    as_of_join(&spine, &views, &options.clone().event_time(first.view().event_time())).map(|set| set.dataset)
}

/// The stretch of time whose rows are valid at `t`; `None` for all of time.
fn valid_at(view: &FeatureView, t: EventTime) -> Option<Window> {
    let end = EventTime::from_micros(t.as_micros().checked_add(1)?);
    Some(Window { start: view.ttl().map_or(EventTime::MIN, |ttl| t.minus(ttl)), end })
}

fn spine_schema(join: &ViewJoin) -> Result<Schema> {
    let keys = join.view().entity().keys().iter().zip(join.key_columns());
    let mut fields = Vec::new();
    for (key, column) in keys {
        fields.push(annotate(
            Field::new(column.as_str(), key.key_type.data_type(), true),
            Role::Key,
            Sensitivity::default(),
        )?);
    }
    let time = Field::new(join.view().event_time(), EventTime::data_type(), false);
    fields.push(annotate(time, Role::EventTime, Sensitivity::default())?);
    Ok(Schema::new(ArrowSchema::new(fields))?)
}

/// All keys of some histories, each once.
struct DistinctKeys<'a> {
    views: &'a [(ViewJoin, Dataset)],
    t: EventTime,
    as_known: bool,
    room: Room,
}

type Seen = HashSet<Box<[u8]>, RandomState>;

impl DistinctKeys<'_> {
    /// As entity rows of the instant.
    fn collect(&self, schema: &Schema) -> Result<Dataset> {
        let keys_max = Room::count(self.room.bytes / 4, KEY_BYTES);
        let (mut seen, mut batches) = (Seen::default(), Vec::new());
        for (join, history) in self.views {
            for batch in self.keys(join, history)? {
                let batch = batch?;
                batches.push(self.rows(schema, &fresh(&batch, join, &mut seen)?)?);
                if seen.len() > keys_max {
                    return self.collect_by_partition(schema);
                }
            }
        }
        Ok(Dataset::held(schema.clone(), batches)?)
    }

    fn collect_by_partition(&self, schema: &Schema) -> Result<Dataset> {
        let partitioner = Partitioner::new(PARTITIONS_MAX);
        let entity = self.views[0].0.view().entity();
        let fields = entity.keys().iter().map(|key| Field::new(key.name.as_str(), key.key_type.data_type(), true));
        let narrow: SchemaRef = Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()));
        let spool = Spool::create(self.room.folder(), narrow, PARTITIONS_MAX)?;
        let mut scatter = Scatter::new(spool, PARTITIONS_MAX, &self.room);
        for (join, history) in self.views {
            for batch in self.keys(join, history)? {
                let batch = batch?;
                scatter.push(&batch, &partitioner.number(&Keys::of(join.view().entity(), &batch)?))?;
            }
        }
        let scattered = scatter.close()?;
        let mut found = Spool::create(self.room.folder(), schema.arrow().clone(), 1)?;
        for partition in 0..PARTITIONS_MAX {
            let mut seen = Seen::default();
            for batch in scattered.read(partition) {
                let rows = fresh(&batch?, &self.views[0].0, &mut seen)?;
                found.write(0, &self.rows(schema, &rows)?)?;
            }
        }
        Ok(found.close().dataset(0)?.with_schema(schema.clone())?)
    }

    /// Key columns of the rows that count.
    fn keys(&self, join: &ViewJoin, history: &Dataset) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
        let names: Vec<String> = join.view().entity().keys().iter().map(|key| key.name.to_string()).collect();
        let mut request = ScanRequest::all().columns(names).batch_rows(self.room.block_rows());
        if let Some(created) = join.view().created().filter(|_| self.as_known) {
            request = request.filter(Predicate::new(created, Comparison::LtEq, self.t));
        }
        Ok(history.scan(&request)?.map(|batch| Ok(batch?)))
    }

    fn rows(&self, schema: &Schema, keys: &RecordBatch) -> Result<RecordBatch> {
        let instants = vec![self.t.as_micros(); keys.num_rows()];
        let mut columns = keys.columns().to_vec();
        columns.push(Arc::new(TimestampMicrosecondArray::from(instants).with_timezone("UTC")) as ArrayRef);
        Ok(RecordBatch::try_new(schema.arrow().clone(), columns)?)
    }
}

/// The rows whose key was not seen before.
fn fresh(batch: &RecordBatch, join: &ViewJoin, seen: &mut Seen) -> Result<RecordBatch> {
    let keys = Keys::of(join.view().entity(), batch)?;
    let mut rows = Vec::new();
    let mut bytes = Vec::new();
    for row in 0..keys.len() {
        bytes.clear();
        if keys.encode(row, &mut bytes) && !seen.contains(bytes.as_slice()) {
            seen.insert(bytes.as_slice().into());
            rows.push(row as u32);
        }
    }
    Ok(take_record_batch(batch, &UInt32Array::from(rows))?)
}

/// All rows of `view` whose event time lies in `window`, in the order in which they came in; only those of `keys` where
/// these are given, which stores use to read less.
///
/// Corrections are not applied: a row and a later one of the same event time both come. Memory is bounded by a few batches.
///
/// # Errors
/// What [`OfflineStore::scan`] says; `Core(Invalid)` when `keys` are of another entity.
pub fn range(
    store: &dyn OfflineStore,
    view: &FeatureView,
    window: Window,
    keys: Option<&Keys>,
) -> Result<HistoryStream> {
    let request = HistoryRequest::all().window(window);
    let Some(keys) = keys else { return store.scan(view, &request) };
    if keys.entity().keys() != view.entity().keys() {
        return Err(Error::from(Core::invalid("keys", keys.entity().name(), "of the entity of the view")));
    }
    store.scan(view, &request.keys(keys))
}
