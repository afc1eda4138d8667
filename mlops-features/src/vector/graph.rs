//! Approximate neighbours, by walks through a graph of vectors.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use diskann::ANNError;
use diskann::graph::config::{self, Builder};
use diskann::graph::ext::labeled::{Filtered, QueryLabelProvider};
use diskann::graph::glue::{InplaceDeleteStrategy, PruneStrategy};
use diskann::graph::search::{AdaptiveL, InlineFilterSearch, Knn};
use diskann::graph::{DiskANNIndex, InplaceDeleteMethod};
use diskann::neighbor::Neighbor;
use diskann::provider::DataProvider;
use diskann_inmem::num::{Capacity, MaxDegree};
use diskann_inmem::repr::Full;
use diskann_inmem::{Context, Provider, Strategy, store};
use diskann_utils::views::rowmajor::Owned;
use diskann_vector::distance::Metric as GraphMetric;

use super::index::{Among, Ask, Hit, NO_ID, VectorIndex, ensure_dimensions, prepare_all, prepare_queries};
use super::metric::Metric;
use super::top::Top;
use crate::error::{Core, Error, Result};
use crate::wait::block_on;

/// Readers at one time; one more waits for none and is refused.
const READERS_MAX: usize = 4096;
/// How much longer a list of neighbours may be than the degree, before it is cut.
const SLACK: f32 = 1.3;
/// Neighbours that take the place of one that was removed, and how many candidates they are chosen from.
const REPLACEMENTS: usize = 3;
const REPLACEMENT_CANDIDATES: usize = 50;
/// Candidates beyond those asked for that are measured anew, since the graph rounds differently.
const MEASURED_BEYOND: usize = 16;
/// How much wider each further attempt looks when filters leave too few hits, and how many there are before all vectors
/// are compared.
const WIDER: usize = 4;
const ATTEMPTS: usize = 2;
/// How much wider a walk becomes by itself where it meets few that are accepted.
const MORE_AMONG_FEW: f64 = 16.0;

/// Finds most of the nearest without comparing everything: a graph in which every vector knows some near ones (Vamana, the
/// in-memory part of `DiskANN`).
///
/// A query walks through some hundred to some thousand vectors, whatever the number of all. Vectors come and go while it is
/// searched; a graph that is full is built anew, twice as large, while the old one answers. Nothing is kept on disk and nothing
/// is loaded: it is made of vectors. It holds each vector once, and besides at most `1.3 · degree` numbers of four bytes.
///
/// Made from the same vectors in the same order it answers the same; after a removal its edges may differ from run to run.
///
/// # Source
/// Subramanya et al., *DiskANN: Fast Accurate Billion-point Nearest Neighbor Search on a Single Node*, NeurIPS 2019;
/// removal: Xu et al., *In-Place Updates of a Graph Index for Streaming Approximate Nearest Neighbor Search*,
/// arXiv:2502.13826.
///
/// # Examples
/// ```
/// use mlops_features::vector::{Ask, GraphIndex, Metric, VectorIndex};
///
/// let index = GraphIndex::builder(Metric::Cosine, 2).effort(64).build()?;
/// index.put(&[7, 8], &[1.0, 0.0, 0.0, 1.0])?;
/// let hits = index.nearest(&[3.0, 0.1], &Ask::new(1))?;
/// assert_eq!(hits[0][0].id, 7);
/// # Ok::<(), mlops_features::Error>(())
/// ```
pub struct GraphIndex {
    settings: Settings,
    graph: ArcSwapOption<Graph>,
    vectors: AtomicUsize,
    writer: Mutex<Writer>,
}

#[derive(Clone, Debug)]
struct Settings {
    metric: Metric,
    dimensions: u16,
    degree: usize,
    build_effort: usize,
    effort: usize,
    capacity: usize,
}

/// What writers know, one at a time.
#[derive(Default)]
struct Writer {
    ids: BTreeSet<u32>,
    /// Vectors that were removed since dangling edges were cleared away.
    removed: usize,
}

/// Collects the settings of a [`GraphIndex`].
#[derive(Clone, Debug)]
pub struct GraphIndexBuilder(Settings);

impl GraphIndexBuilder {
    /// Neighbours that a vector knows. More find more, take longer and need more memory. Default 32.
    pub fn degree(mut self, degree: usize) -> Self {
        self.0.degree = degree;
        self
    }

    /// Candidates among which the neighbours of a new vector are chosen. More make a better graph, later. Default 128.
    pub fn build_effort(mut self, candidates: usize) -> Self {
        self.0.build_effort = candidates;
        self
    }

    /// Candidates that a query looks at where it does not say itself. More find more and take longer. Default 128.
    pub fn effort(mut self, candidates: usize) -> Self {
        self.0.effort = candidates;
        self
    }

    /// Vectors that there is room for from the beginning; once they are more, the graph is built anew. Default 4096.
    pub fn capacity(mut self, vectors: usize) -> Self {
        self.0.capacity = vectors;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// `Core(Invalid)` when there are no or too many dimensions, the degree is not in 4..=512, an effort not in 1..=65536, or
    /// the capacity not in 1..=2^30.
    pub fn build(self) -> Result<GraphIndex> {
        let Self(settings) = self;
        ensure_dimensions(settings.dimensions)?;
        let within = |setting, value: usize, range: std::ops::RangeInclusive<usize>, domain| {
            if range.contains(&value) { Ok(()) } else { Err(Core::invalid(setting, value, domain)) }
        };
        within("degree", settings.degree, 4..=512, "4 to 512")?;
        within("build effort", settings.build_effort, 1..=65_536, "1 to 65536")?;
        within("effort", settings.effort, 1..=65_536, "1 to 65536")?;
        within("capacity", settings.capacity, 1..=1 << 30, "1 to 1073741824")?;
        let (graph, vectors, writer) = (ArcSwapOption::empty(), AtomicUsize::new(0), Mutex::default());
        Ok(GraphIndex { settings, graph, vectors, writer })
    }
}

impl GraphIndex {
    /// Starts an index for vectors of `dimensions` numbers.
    pub fn builder(metric: Metric, dimensions: u16) -> GraphIndexBuilder {
        let (degree, build_effort, effort, capacity) = (32, 128, 128, 4096);
        GraphIndexBuilder(Settings { metric, dimensions, degree, build_effort, effort, capacity })
    }

    fn width(&self) -> usize {
        usize::from(self.settings.dimensions)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A graph with room for `vectors` more than are in, the present one where it has.
    fn with_room(&self, writer: &Writer, first: &[f32], vectors: usize) -> Result<Arc<Graph>> {
        let needed = writer.ids.len() + vectors;
        if let Some(graph) = self.graph.load_full().filter(|graph| graph.room >= needed) {
            return Ok(graph);
        }
        let present = self.graph.load_full();
        let before = present.as_ref().map_or(0, |graph| graph.room);
        let next = Graph::new(&self.settings, first, needed.max(before * 2).max(self.settings.capacity))?;
        if let Some(present) = present {
            next.take_over(&present, writer)?;
        }
        Ok(Arc::new(next))
    }

    fn publish(&self, writer: &Writer, graph: Arc<Graph>) {
        self.graph.store(Some(graph));
        self.vectors.store(writer.ids.len(), Ordering::Release);
    }

    /// Puts one vector into `graph`, or into a new one in its place.
    fn put_one(&self, writer: &mut Writer, graph: &mut Arc<Graph>, id: u32, vector: &[f32]) -> Result<()> {
        if writer.ids.contains(&id) {
            self.take_out(writer, graph, id)?;
        }
        if graph.insert(id, vector).is_err() {
            // A slot that a slow reader still looks at is not free yet: a new graph has slots enough.
            graph.forget(id);
            let next = Arc::new(Graph::new(&self.settings, vector, graph.room.saturating_mul(2))?);
            next.take_over(graph, writer)?;
            next.insert(id, vector)?;
            *graph = next;
        }
        writer.ids.insert(id);
        Ok(())
    }

    /// Takes `id` out of `graph`, and clears dangling edges away once there are many.
    fn take_out(&self, writer: &mut Writer, graph: &Graph, id: u32) -> Result<()> {
        writer.ids.remove(&id);
        writer.removed += 1;
        graph.remove(id, self.settings.build_effort)?;
        if writer.removed > 256.max(writer.ids.len() / 2) {
            writer.removed = 0;
            graph.clear_away()?;
        }
        Ok(())
    }
}

impl VectorIndex for GraphIndex {
    fn metric(&self) -> Metric {
        self.settings.metric
    }

    fn dimensions(&self) -> u16 {
        self.settings.dimensions
    }

    fn vectors(&self) -> usize {
        self.vectors.load(Ordering::Acquire)
    }

    fn put(&self, ids: &[u32], vectors: &[f32]) -> Result<()> {
        let mut prepared = Vec::new();
        prepare_all(self.settings.metric, self.settings.dimensions, ids, vectors, &mut prepared)?;
        let Some(first) = prepared.get(..self.width()) else { return Ok(()) };
        let mut writer = self.writer();
        let mut graph = self.with_room(&writer, first, ids.len())?;
        let mut outcome = Ok(());
        for (id, vector) in ids.iter().zip(prepared.chunks_exact(self.width())) {
            outcome = self.put_one(&mut writer, &mut graph, *id, vector);
            if outcome.is_err() {
                break;
            }
        }
        // What is in is in, also where something after it failed.
        self.publish(&writer, graph);
        outcome
    }

    fn remove(&self, ids: &[u32]) -> Result<usize> {
        let mut writer = self.writer();
        let Some(graph) = self.graph.load_full() else { return Ok(0) };
        let before = writer.ids.len();
        for id in ids {
            if writer.ids.contains(id) {
                self.take_out(&mut writer, &graph, *id)?;
            }
        }
        let removed = before - writer.ids.len();
        self.publish(&writer, graph);
        Ok(removed)
    }

    fn nearest(&self, queries: &[f32], ask: &Ask<'_>) -> Result<Vec<Vec<Hit>>> {
        let mut prepared = Vec::new();
        prepare_queries(self.settings.metric, self.settings.dimensions, queries, ask, &mut prepared)?;
        let queries = prepared.chunks_exact(self.width());
        let Some(graph) = self.graph.load_full() else { return Ok(queries.map(|_| Vec::new()).collect()) };
        let effort = ask.effort.unwrap_or(self.settings.effort).max(1);
        queries.map(|query| graph.nearest(query, ask, effort)).collect()
    }
}

impl fmt::Debug for GraphIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("GraphIndex");
        shown.field("settings", &self.settings).field("vectors", &self.vectors()).finish_non_exhaustive()
    }
}

/// A graph of one size.
struct Graph {
    metric: Metric,
    index: DiskANNIndex<Provider<Full<f32>, u32>>,
    /// The id of every slot, [`NO_ID`] where there is none.
    ids: Box<[AtomicU32]>,
    room: usize,
}

impl Graph {
    /// Walks begin at `first`, which must lie among the others: from their middle, which is nearer to each of them than they
    /// are to each other, no vector would need another neighbour.
    fn new(settings: &Settings, first: &[f32], room: usize) -> Result<Self> {
        // Slots of what was removed are free only once nobody can look at them.
        let slots = room + room / 8 + 64;
        let longest = (settings.degree as f32 * SLACK) as usize;
        let metric = match settings.metric {
            // Of directions, the square of the distance is twice that of the angle: the order is the same.
            Metric::Cosine | Metric::L2 => GraphMetric::L2,
            Metric::Dot => GraphMetric::InnerProduct,
        };
        let start = Owned::row_vector(Box::<[f32]>::from(first));
        let mut readers = store::Config::new();
        readers.epoch_guard_slots(std::num::NonZeroUsize::new(READERS_MAX).unwrap_or(std::num::NonZeroUsize::MIN));
        let layout = Full::<f32>::config(Capacity::new(slots), MaxDegree::new(longest), metric, start);
        let provider = Provider::new(layout.map_err(failed)?.store(readers)).map_err(failed)?;
        let degree = config::MaxDegree::new(longest);
        let config = Builder::new(settings.degree, degree, settings.build_effort, metric.into()).build();
        let index = DiskANNIndex::new(config.map_err(failed)?, provider, None);
        let ids = std::iter::repeat_with(|| AtomicU32::new(NO_ID)).take(slots).collect();
        Ok(Self { metric: settings.metric, index, ids, room })
    }

    fn insert(&self, id: u32, vector: &[f32]) -> Result<()> {
        block_on(self.index.insert(&Strategy, &Context, &id, vector)).map_err(failed)?;
        let slot = self.index.provider().to_internal_id(&Context, &id).map_err(failed)?;
        if let Some(known) = self.ids.get(slot as usize) {
            known.store(id, Ordering::Release);
        }
        Ok(())
    }

    /// Puts in what `other` holds.
    fn take_over(&self, other: &Self, writer: &Writer) -> Result<()> {
        let mut vectors = writer.ids.iter().filter_map(|id| Some((*id, other.vector_of(*id)?)));
        vectors.try_for_each(|(id, vector)| self.insert(id, &vector))
    }

    fn slot_of(&self, id: u32) -> Option<u32> {
        self.index.provider().to_internal_id(&Context, &id).ok()
    }

    /// Hides `id` from readers.
    fn forget(&self, id: u32) {
        if let Some(known) = self.slot_of(id).and_then(|slot| self.ids.get(slot as usize)) {
            known.store(NO_ID, Ordering::Release);
        }
    }

    fn remove(&self, id: u32, effort: usize) -> Result<()> {
        self.forget(id);
        let l_value = effort.max(REPLACEMENT_CANDIDATES);
        let method = InplaceDeleteMethod::VisitedAndTopK { k_value: REPLACEMENT_CANDIDATES, l_value };
        block_on(self.index.inplace_delete(Strategy, &Context, &id, REPLACEMENTS, method)).map_err(failed)
    }

    /// Drops edges to what was removed.
    fn clear_away(&self) -> Result<()> {
        let mut edges = PruneStrategy::prune_accessor(&Strategy, self.index.provider(), &Context, 0).map_err(failed)?;
        for slot in 0..self.ids.len() as u32 {
            block_on(self.index.drop_deleted_neighbors(&Context, &mut edges, slot, false)).map_err(failed)?;
        }
        Ok(())
    }

    /// The vector in a slot, as it is stored.
    fn vector(&self, slot: u32) -> Option<Box<[f32]>> {
        block_on(InplaceDeleteStrategy::get_delete_element(&Strategy, self.index.provider(), &Context, slot)).ok()
    }

    fn vector_of(&self, id: u32) -> Option<Box<[f32]>> {
        self.slot_of(id).and_then(|slot| self.vector(slot))
    }

    fn nearest(&self, query: &[f32], ask: &Ask<'_>, effort: usize) -> Result<Vec<Hit>> {
        let accepts: &(dyn Fn(u32) -> bool + Sync) = match ask.among {
            Among::All => &|_| true,
            Among::Where(fits) => fits,
            Among::These(ids) => return Ok(self.measure(query, ask.k, ids.iter().copied())),
        };
        // Nobody need look at more than there is.
        let mut width = effort.max(ask.k.saturating_add(MEASURED_BEYOND)).min(self.ids.len());
        let mut found = self.walk(query, width)?;
        found.retain(|id| accepts(*id));
        for attempt in 0.. {
            // Fewer than `k` is what a filter leaves, or a part of the graph that no walk comes to.
            if found.len() >= ask.k {
                found.truncate(ask.k.saturating_add(MEASURED_BEYOND));
                let hits = self.measure(query, ask.k, found.into_iter());
                if hits.len() == ask.k {
                    return Ok(hits);
                }
            }
            width = width.saturating_mul(WIDER);
            if attempt == ATTEMPTS || width > self.ids.len() {
                break;
            }
            found = self.walk_among(query, width, accepts)?;
        }
        let all = self.ids.iter().map(|id| id.load(Ordering::Acquire));
        Ok(self.measure(query, ask.k, all.filter(|id| *id != NO_ID && accepts(*id))))
    }

    /// Ids near `query`, the nearest first.
    fn walk(&self, query: &[f32], width: usize) -> Result<Vec<u32>> {
        let mut found: Vec<Neighbor<u32>> = Vec::with_capacity(width);
        let walk = Knn::new_default(width).map_err(failed)?;
        block_on(self.index.search(walk, &Strategy, &Context, query, &mut found)).map_err(failed)?;
        Ok(found.iter().map(|neighbor| *neighbor.id()).collect())
    }

    /// Ids near `query` that are accepted, the nearest first: a walk that goes on while few are.
    fn walk_among(&self, query: &[f32], width: usize, accepts: &(dyn Fn(u32) -> bool + Sync)) -> Result<Vec<u32>> {
        let labels = Accepted { ids: &self.ids, accepts };
        let strategy = Filtered::new(Strategy, &labels);
        let mut found: Vec<Neighbor<u32>> = Vec::new();
        let adaptive = AdaptiveL::new(width.max(10), MORE_AMONG_FEW).map_err(failed)?;
        let walk = InlineFilterSearch::new(Knn::new_default(width).map_err(failed)?, Some(adaptive));
        block_on(self.index.search(walk, &strategy, &Context, query, &mut found)).map_err(failed)?;
        Ok(found.iter().map(|neighbor| *neighbor.id()).collect())
    }

    /// The `k` nearest of `ids`, compared one by one.
    fn measure(&self, query: &[f32], k: usize, ids: impl Iterator<Item = u32>) -> Vec<Hit> {
        let mut seen: Vec<u32> = ids.collect();
        seen.sort_unstable();
        seen.dedup();
        let mut top = Top::new(k);
        for id in seen {
            if let Some(vector) = self.vector_of(id) {
                top.push(self.metric.score(query, &vector), id);
            }
        }
        top.into_hits(self.metric)
    }
}

/// Which slots count.
struct Accepted<'a> {
    ids: &'a [AtomicU32],
    accepts: &'a (dyn Fn(u32) -> bool + Sync),
}

impl QueryLabelProvider<u32> for Accepted<'_> {
    fn is_match(&self, slot: u32) -> bool {
        let id = self.ids.get(slot as usize).map_or(NO_ID, |id| id.load(Ordering::Acquire));
        id != NO_ID && (self.accepts)(id)
    }
}

impl fmt::Debug for Accepted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").finish_non_exhaustive()
    }
}

fn failed(error: impl Into<ANNError>) -> Error {
    Error::Core(Core::external("vector index", error.into().to_string()))
}
