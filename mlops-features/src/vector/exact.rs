//! Every vector compared with every query.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use foldhash::fast::RandomState;

use super::index::{Among, Ask, Hit, NO_ID, VectorIndex, ensure_dimensions, prepare_all, prepare_queries};
use super::metric::{self, Metric};
use super::top::Top;
use crate::error::Result;

/// Numbers in one chunk: what fits into a processor's own cache, so that many queries pass over it at the price of one.
const CHUNK_NUMBERS: usize = 1 << 16;

/// Compares every vector with every query: always right, and fast enough up to some hundred thousand vectors.
///
/// A query costs one pass over all vectors, several of one call share a pass. Memory is that of the vectors; room of
/// vectors that were removed is used again. Readers wait only while vectors are copied into the chunk that they look at.
///
/// # Examples
/// ```
/// use mlops_features::vector::{Ask, ExactIndex, Metric, VectorIndex};
///
/// let index = ExactIndex::new(Metric::L2, 2)?;
/// index.put(&[7, 8], &[0.0, 0.0, 3.0, 4.0])?;
/// let hits = index.nearest(&[3.0, 3.0], &Ask::new(1))?;
/// assert_eq!((hits[0][0].id, hits[0][0].distance), (8, 1.0));
/// # Ok::<(), mlops_features::Error>(())
/// ```
pub struct ExactIndex {
    metric: Metric,
    dimensions: u16,
    chunk_rows: usize,
    chunks: RwLock<Vec<Arc<RwLock<Chunk>>>>,
    places: Mutex<Places>,
}

/// Some of the vectors.
struct Chunk {
    /// One per row, [`NO_ID`] where there is none.
    ids: Vec<u32>,
    /// Prepared.
    vectors: Vec<f32>,
}

/// Which row, counted over all chunks, holds what.
#[derive(Default)]
struct Places {
    of: HashMap<u32, usize, RandomState>,
    free: Vec<usize>,
    end: usize,
}

impl ExactIndex {
    /// An index for vectors of `dimensions` numbers.
    ///
    /// # Errors
    /// `Core(Invalid)` when there are no or more than [`DIMENSIONS_MAX`](crate::DIMENSIONS_MAX) dimensions.
    pub fn new(metric: Metric, dimensions: u16) -> Result<Self> {
        ensure_dimensions(dimensions)?;
        let chunk_rows = (CHUNK_NUMBERS / usize::from(dimensions)).clamp(16, 4096);
        Ok(Self { metric, dimensions, chunk_rows, chunks: RwLock::default(), places: Mutex::default() })
    }

    fn width(&self) -> usize {
        usize::from(self.dimensions)
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chunks that there are now; what is put into new ones meanwhile is not seen.
    fn chunks(&self) -> Vec<Arc<RwLock<Chunk>>> {
        self.chunks.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The chunk of a row, made if need be.
    fn chunk_of(&self, place: usize) -> Arc<RwLock<Chunk>> {
        let number = place / self.chunk_rows;
        let known = self.chunks.read().unwrap_or_else(PoisonError::into_inner).get(number).cloned();
        known.unwrap_or_else(|| {
            let mut chunks = self.chunks.write().unwrap_or_else(PoisonError::into_inner);
            while chunks.len() <= number {
                let (ids, vectors) = (vec![NO_ID; self.chunk_rows], vec![0.0; self.chunk_rows * self.width()]);
                chunks.push(Arc::new(RwLock::new(Chunk { ids, vectors })));
            }
            chunks[number].clone()
        })
    }

    fn set(&self, place: usize, id: u32, vector: Option<&[f32]>) {
        let chunk = self.chunk_of(place);
        let mut chunk = chunk.write().unwrap_or_else(PoisonError::into_inner);
        let row = place % self.chunk_rows;
        chunk.ids[row] = id;
        if let Some(vector) = vector {
            let start = row * self.width();
            chunk.vectors[start..start + vector.len()].copy_from_slice(vector);
        }
    }

    fn scan(&self, queries: &[f32], ask: &Ask<'_>, tops: &mut [Top]) {
        let accepts = |id: u32| match ask.among {
            Among::Where(fits) => fits(id),
            _ => true,
        };
        let mut rows = Vec::with_capacity(self.chunk_rows);
        for chunk in self.chunks() {
            let chunk = chunk.read().unwrap_or_else(PoisonError::into_inner);
            rows.clear();
            rows.extend((0..chunk.ids.len()).filter(|row| chunk.ids[*row] != NO_ID && accepts(chunk.ids[*row])));
            self.compare(&chunk, &rows, queries, tops);
        }
    }

    fn scan_these(&self, ids: &[u32], queries: &[f32], tops: &mut [Top]) {
        let mut known: Vec<(usize, u32)> = {
            let places = self.places();
            ids.iter().filter_map(|id| Some((*places.of.get(id)?, *id))).collect()
        };
        known.sort_unstable();
        known.dedup();
        let chunks = self.chunks();
        let mut rows = Vec::new();
        for of_chunk in known.chunk_by(|(a, _), (b, _)| a / self.chunk_rows == b / self.chunk_rows) {
            let Some(chunk) = chunks.get(of_chunk[0].0 / self.chunk_rows) else { continue };
            let chunk = chunk.read().unwrap_or_else(PoisonError::into_inner);
            let row = |(place, id): &(usize, u32)| (place % self.chunk_rows, *id);
            // The row may have gone to another vector since it was looked up.
            let same = |(row, id): &(usize, u32)| chunk.ids[*row] == *id;
            rows.clear();
            rows.extend(of_chunk.iter().map(row).filter(same).map(|(row, _)| row));
            self.compare(&chunk, &rows, queries, tops);
        }
    }

    fn compare(&self, chunk: &Chunk, rows: &[usize], queries: &[f32], tops: &mut [Top]) {
        match self.metric {
            Metric::Cosine => compare_with(chunk, self.width(), rows, queries, tops, metric::cosine),
            Metric::Dot => compare_with(chunk, self.width(), rows, queries, tops, |a, b| -metric::dot(a, b)),
            Metric::L2 => compare_with(chunk, self.width(), rows, queries, tops, metric::squares),
        }
    }
}

fn compare_with(
    chunk: &Chunk,
    width: usize,
    rows: &[usize],
    queries: &[f32],
    tops: &mut [Top],
    score: impl Fn(&[f32], &[f32]) -> f32,
) {
    for (query, top) in queries.chunks_exact(width).zip(tops) {
        for row in rows {
            top.push(score(query, &chunk.vectors[row * width..(row + 1) * width]), chunk.ids[*row]);
        }
    }
}

impl VectorIndex for ExactIndex {
    fn metric(&self) -> Metric {
        self.metric
    }

    fn dimensions(&self) -> u16 {
        self.dimensions
    }

    fn vectors(&self) -> usize {
        self.places().of.len()
    }

    fn put(&self, ids: &[u32], vectors: &[f32]) -> Result<()> {
        let mut prepared = Vec::new();
        prepare_all(self.metric, self.dimensions, ids, vectors, &mut prepared)?;
        let mut places = self.places();
        for (id, vector) in ids.iter().zip(prepared.chunks_exact(self.width())) {
            let Places { of, free, end } = &mut *places;
            let place = *of.entry(*id).or_insert_with(|| {
                free.pop().unwrap_or_else(|| {
                    *end += 1;
                    *end - 1
                })
            });
            self.set(place, *id, Some(vector));
        }
        Ok(())
    }

    fn remove(&self, ids: &[u32]) -> Result<usize> {
        let mut places = self.places();
        let before = places.of.len();
        for id in ids {
            if let Some(place) = places.of.remove(id) {
                self.set(place, NO_ID, None);
                places.free.push(place);
            }
        }
        Ok(before - places.of.len())
    }

    fn nearest(&self, queries: &[f32], ask: &Ask<'_>) -> Result<Vec<Vec<Hit>>> {
        let mut prepared = Vec::new();
        prepare_queries(self.metric, self.dimensions, queries, ask, &mut prepared)?;
        let mut tops: Vec<Top> = prepared.chunks_exact(self.width()).map(|_| Top::new(ask.k)).collect();
        match ask.among {
            Among::These(ids) => self.scan_these(ids, &prepared, &mut tops),
            _ => self.scan(&prepared, ask, &mut tops),
        }
        Ok(tops.into_iter().map(|top| top.into_hits(self.metric)).collect())
    }
}

impl fmt::Debug for ExactIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ExactIndex");
        shown.field("metric", &self.metric).field("dimensions", &self.dimensions);
        shown.field("vectors", &self.vectors()).finish_non_exhaustive()
    }
}
