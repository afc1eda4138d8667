//! Searches, and what they are answered with.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float32Array, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use mlops_core::EventTime;

use super::index::{Among, Ask, Hit};
use super::keys;
use super::rows::{numbers, vectors};
use super::store::{VectorStore, ensure_entity};
use super::table::Table;
use crate::columns::cast_exactly;
use crate::error::{Core, Error, Result};
use crate::key::Keys;
use crate::serve::{FeatureServer, FeatureVectors, Reader, Request};

/// Most neighbours of one query.
pub const NEIGHBOURS_MAX: usize = 16_384;
/// Most neighbours of one search, over all of its queries.
const HITS_MAX: usize = 1 << 22;
/// Queries that look at the same state of the store; writes change keys over between them.
const QUERIES_AT_ONCE: usize = 16;
/// Neighbours at one distance that are put in the order of their keys; of more of them, some are as good as the others.
const TIES_MAX: usize = 4096;
/// Keys that are compared one by one where a search is among these only.
const COMPARED_MAX: usize = 4096;

/// What is asked of a [`VectorStore`].
#[derive(Clone, Debug)]
pub struct Search<'a> {
    k: usize,
    now: EventTime,
    effort: Option<usize>,
    only: Option<&'a Keys>,
    except: Option<&'a Keys>,
    reader: Option<&'a Reader>,
}

impl<'a> Search<'a> {
    /// For the `k` nearest keys whose rows are valid at `now`, as the [host](Reader::host).
    pub fn new(k: usize, now: EventTime) -> Self {
        Self { k, now, effort: None, only: None, except: None, reader: None }
    }

    /// Looks at this many candidates where the index is approximate. Default what the index was built with.
    pub fn effort(mut self, candidates: usize) -> Self {
        self.effort = Some(candidates);
        self
    }

    /// Among these keys only. Default among all.
    pub fn only(mut self, keys: &'a Keys) -> Self {
        self.only = Some(keys);
        self
    }

    /// Not these keys, such as the one that the query comes from, or what was seen already.
    pub fn except(mut self, keys: &'a Keys) -> Self {
        self.except = Some(keys);
        self
    }

    /// In the name of `reader`, who must be cleared for the vectors: what is near to what tells much of what they hold.
    pub fn reader(mut self, reader: &'a Reader) -> Self {
        self.reader = Some(reader);
        self
    }
}

/// The neighbours of one or several queries, column by column, the nearest of each query first.
#[derive(Clone, PartialEq, Debug)]
pub struct Neighbours {
    entities: RecordBatch,
    distances: Float32Array,
    event_times: TimestampMicrosecondArray,
    /// End of each query's neighbours.
    ends: Vec<usize>,
}

impl Neighbours {
    /// Number of queries.
    pub fn queries(&self) -> usize {
        self.ends.len()
    }

    /// Rows of the neighbours of `query`; none beyond the last.
    pub fn of(&self, query: usize) -> Range<usize> {
        let Some(end) = self.ends.get(query) else { return 0..0 };
        let start = query.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..*end
    }

    /// The key columns, as entity rows of a feature service.
    pub fn entities(&self) -> &RecordBatch {
        &self.entities
    }

    /// Distances by the metric of the index.
    pub fn distances(&self) -> &Float32Array {
        &self.distances
    }

    /// When each row became true.
    pub fn event_times(&self) -> &TimestampMicrosecondArray {
        &self.event_times
    }

    /// Everything as one batch: `query` (its position), the key columns, `distance` and `event_timestamp`.
    ///
    /// # Errors
    /// [`Error::Collision`] when a key column has one of these names.
    pub fn to_batch(&self) -> Result<RecordBatch> {
        let schema = self.entities.schema();
        let own = ["query", "distance", "event_timestamp"];
        if let Some(field) = schema.fields().iter().find(|field| own.contains(&field.name().as_str())) {
            let (first, second) = ("the key".to_owned(), "the search".to_owned());
            return Err(Error::Collision { column: field.name().clone(), first, second });
        }
        let query = (0..self.queries()).flat_map(|query| self.of(query).map(move |_| query as u32));
        let mut fields = vec![Arc::new(Field::new("query", DataType::UInt32, false))];
        fields.extend(schema.fields().iter().cloned());
        fields.push(Arc::new(Field::new("distance", DataType::Float32, false)));
        fields.push(Arc::new(Field::new("event_timestamp", EventTime::data_type(), false)));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from_iter_values(query))];
        columns.extend(self.entities.columns().iter().cloned());
        columns.push(Arc::new(self.distances.clone()));
        columns.push(Arc::new(self.event_times.clone()));
        let options = RecordBatchOptions::new().with_row_count(Some(self.distances.len()));
        Ok(RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), columns, &options)?)
    }
}

/// A neighbour on the way into columns.
struct Near {
    key: Arc<[u8]>,
    distance: f32,
    event_time: i64,
}

impl VectorStore {
    /// The neighbours of each of `queries`, which are lists of as many numbers as the vectors have; a null query has none.
    ///
    /// Distances are those of [`Metric::distance`](super::Metric::distance); of equal ones the smaller key comes first. With
    /// an exact index these are the nearest; with an approximate one most of them, and as many as there are.
    ///
    /// # Errors
    /// `Core(Invalid)` when `k` is not in 1..=[`NEIGHBOURS_MAX`], or queries times `k` exceed 2^22, or keys are of another
    /// entity; `Core(Schema)` when queries have other lengths; `Core(InvalidData)` for a query that cannot be
    /// [compared](super::Metric::refusal); `Core(Forbidden)` when the reader is not cleared for the vectors; `Core(Corrupt)`
    /// when a write could not follow the online store, until it is filled again.
    pub fn nearest(&self, queries: &ArrayRef, search: &Search<'_>) -> Result<Neighbours> {
        self.ensure_allowed(search, queries.len())?;
        let feature = self.feature();
        let queries = vectors(&cast_exactly(queries, &feature.value_type.data_type(), feature.name.as_str())?);
        let rows: Vec<usize> = (0..queries.len()).filter(|row| queries.is_valid(*row)).collect();
        let mut found: Vec<Vec<Near>> = (0..queries.len()).map(|_| Vec::new()).collect();
        for rows in rows.chunks(QUERIES_AT_ONCE) {
            let asked: Vec<f32> = rows.iter().flat_map(|row| numbers(&queries, *row)).copied().collect();
            for (row, near) in rows.iter().zip(self.search(&asked, search)?) {
                found[*row] = near;
            }
        }
        self.columns(found)
    }

    /// The neighbours, and what `service` of `server` (its first where none is named) knows of them, in one round trip to the
    /// online store. The service's key columns must have the names that the view's entity gives them.
    ///
    /// # Errors
    /// As [`nearest`](Self::nearest) and [`FeatureServer::answer`].
    pub async fn nearest_with_features(
        &self,
        queries: &ArrayRef,
        search: &Search<'_>,
        server: &FeatureServer,
        service: Option<&str>,
    ) -> Result<(Neighbours, FeatureVectors)> {
        let near = self.nearest(queries, search)?;
        let mut request = Request::new(near.entities(), search.now);
        request = search.reader.into_iter().fold(request, Request::reader);
        request = service.into_iter().fold(request, Request::service);
        let mut answers = server.answer(&[request]).await?;
        let features = answers.pop().ok_or_else(|| Core::schema("feature server", "one answer", "none"))?;
        Ok((near, features))
    }

    fn ensure_allowed(&self, search: &Search<'_>, queries: usize) -> Result<()> {
        if search.k == 0 || search.k > NEIGHBOURS_MAX {
            return Err(Core::invalid("k", search.k, "1 to 16384").into());
        }
        if search.k.saturating_mul(queries) > HITS_MAX {
            return Err(Core::invalid("queries times k", search.k.saturating_mul(queries), "at most 4194304").into());
        }
        for keys in search.only.iter().chain(&search.except) {
            ensure_entity(&self.view, keys)?;
        }
        let host = Reader::host();
        let reader = search.reader.unwrap_or(&host);
        let feature = self.feature();
        if feature.sensitivity > reader.clearance() {
            let what = format!("`{}:{}`", self.view.name(), feature.name);
            return Err(Core::Forbidden { who: format!("`{}`", reader.name()), action: "search", what }.into());
        }
        self.ensure_not_behind()
    }

    /// Searches for some queries in one state of the store.
    fn search(&self, queries: &[f32], search: &Search<'_>) -> Result<Vec<Vec<Near>>> {
        let table = self.table();
        let oldest = self.view.ttl().map_or(i64::MIN, |ttl| search.now.minus(ttl).as_micros());
        let valid = |id: u32| table.vector(id).is_some_and(|vector| vector.event_time >= oldest);
        let except = search.except.map(|keys| Bits::of(&table, keys));
        let wanted = |id: u32| valid(id) && except.as_ref().is_none_or(|except| !except.contains(id));
        let Some(only) = search.only else {
            return self.ask(&table, queries, search, Among::Where(&wanted));
        };
        let only = ids(&table, only);
        if only.len() <= COMPARED_MAX {
            let these: Vec<u32> = only.into_iter().filter(|id| wanted(*id)).collect();
            return self.ask(&table, queries, search, Among::These(&these));
        }
        let only = Bits::new(&table, &only);
        self.ask(&table, queries, search, Among::Where(&|id| only.contains(id) && wanted(id)))
    }

    fn ask(&self, table: &Table, queries: &[f32], search: &Search<'_>, among: Among<'_>) -> Result<Vec<Vec<Near>>> {
        let ask = |k| Ask::new(k).effort(search.effort).among(among);
        let width = usize::from(self.index.dimensions());
        // One more than asked for shows whether the last has its like.
        let answers = self.index.nearest(queries, &ask(search.k + 1))?;
        let mut found = Vec::with_capacity(answers.len());
        for (mut hits, query) in answers.into_iter().zip(queries.chunks_exact(width)) {
            let mut asked = search.k + 1;
            while is_cut_in_a_tie(&hits, search.k, asked) && asked < search.k + TIES_MAX {
                asked = (asked * 4).min(search.k + TIES_MAX);
                hits = self.index.nearest(query, &ask(asked))?.pop().unwrap_or_default();
            }
            found.push(self.in_order(table, &hits, search.k));
        }
        Ok(found)
    }

    /// The `k` first by distance, then key.
    fn in_order(&self, table: &Table, hits: &[Hit], k: usize) -> Vec<Near> {
        let near = |hit: &Hit| {
            let vector = table.vector(hit.id)?;
            Some(Near { key: vector.key.clone(), distance: hit.distance, event_time: vector.event_time })
        };
        let mut near: Vec<Near> = hits.iter().filter_map(near).collect();
        near.sort_by(|a, b| {
            a.distance.total_cmp(&b.distance).then_with(|| keys::compare(self.view.entity(), &a.key, &b.key))
        });
        near.truncate(k);
        near
    }

    fn columns(&self, found: Vec<Vec<Near>>) -> Result<Neighbours> {
        let ends = found.iter().scan(0, |end, near| {
            *end += near.len();
            Some(*end)
        });
        let ends = ends.collect();
        let near: Vec<Near> = found.into_iter().flatten().collect();
        let distances = near.iter().map(|near| near.distance).collect::<Vec<_>>().into();
        let event_times = near.iter().map(|near| near.event_time).collect::<Vec<_>>();
        let event_times = TimestampMicrosecondArray::from(event_times).with_timezone("UTC");
        let keys: Vec<Arc<[u8]>> = near.into_iter().map(|near| near.key).collect();
        Ok(Neighbours { entities: keys::columns(self.view.entity(), &keys)?, distances, event_times, ends })
    }
}

/// Whether the last of `k` has its like behind it, and there may be more of them than the `asked` that were told.
fn is_cut_in_a_tie(hits: &[Hit], k: usize, asked: usize) -> bool {
    let Some((last, told)) = hits.get(k - 1).zip(hits.last()) else { return false };
    hits.len() >= asked && last.distance == told.distance
}

/// Numbers of those of `keys` that have a vector.
fn ids(table: &Table, keys: &Keys) -> Vec<u32> {
    let mut key = Vec::new();
    let id = |row| {
        key.clear();
        keys.encode(row, &mut key).then(|| table.id_of(&key)).flatten()
    };
    (0..keys.len()).filter_map(id).collect()
}

/// A set of numbers, one bit for each that was ever given.
struct Bits(Vec<u64>);

impl Bits {
    fn new(table: &Table, ids: &[u32]) -> Self {
        let mut bits = vec![0; table.end().div_ceil(64)];
        for id in ids {
            bits[*id as usize / 64] |= 1 << (id % 64);
        }
        Self(bits)
    }

    fn of(table: &Table, keys: &Keys) -> Self {
        Self::new(table, &ids(table, keys))
    }

    fn contains(&self, id: u32) -> bool {
        self.0.get(id as usize / 64).is_some_and(|bits| bits >> (id % 64) & 1 == 1)
    }
}
