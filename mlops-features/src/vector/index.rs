//! Vectors under numbers, and which of them are nearest.

use std::fmt::{self, Debug};

use super::Metric;
use crate::define::ValueType;
use crate::error::{Core, Result};

/// Vectors under numbers, and which of them are nearest to others.
///
/// It knows nothing of keys and times: a [`VectorStore`](super::VectorStore) keeps those, and gives a number to every vector.
///
/// # Contract
/// * Vectors come and are asked for row by row in one slice: `dimensions` numbers each.
/// * `put` takes all vectors or, where one of them is refused, none; a number that is known gets the new vector.
/// * `remove` forgets; numbers that are not known are no error.
/// * `nearest` answers each query by at most `k` hits of different numbers, by ascending distance, then number, all of them
///   put, not removed, and among those asked for. Distances are those of [`Metric::distance`].
/// * As long as at least `k` vectors are asked for, there are `k` hits. An exact index answers by the nearest; an
///   approximate one may miss some of them, but not one that is the only one asked for.
/// * Calls may run at the same time. A query beside a write sees a vector before it, after it or, when it is exchanged, not at
///   all; never half of one.
///
/// `testkit::vector_index` checks these; run it on your own index.
pub trait VectorIndex: Debug + Send + Sync + 'static {
    /// What nearness means.
    fn metric(&self) -> Metric;

    /// Numbers in one vector.
    fn dimensions(&self) -> u16;

    /// How many vectors it holds.
    fn vectors(&self) -> usize;

    /// Puts the vector `vectors[i · dimensions..]` under the number `ids[i]`; of several under one number the last stays.
    ///
    /// # Errors
    /// `Core(Schema)` when `vectors` are not as many as `ids`, `Core(InvalidData)` for a vector that cannot be
    /// [compared](Metric::refusal), `Core(Invalid)` for the number [`u32::MAX`], which means none.
    fn put(&self, ids: &[u32], vectors: &[f32]) -> Result<()>;

    /// Forgets `ids`; says how many it knew.
    ///
    /// # Errors
    /// Whatever keeps the index from forgetting.
    fn remove(&self, ids: &[u32]) -> Result<usize>;

    /// The hits of each query.
    ///
    /// # Errors
    /// `Core(Invalid)` when `k` is 0, `Core(Schema)` when `queries` are not whole vectors, `Core(InvalidData)` for a query that
    /// cannot be [compared](Metric::refusal).
    fn nearest(&self, queries: &[f32], ask: &Ask<'_>) -> Result<Vec<Vec<Hit>>>;
}

/// One vector that is near.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Hit {
    /// Its number.
    pub id: u32,
    /// How far it is.
    pub distance: f32,
}

/// What is asked of a [`VectorIndex`].
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// How many hits.
    pub k: usize,
    /// How many candidates an approximate index looks at; `None` for what it was built with. More find more and take longer.
    pub effort: Option<usize>,
    /// Which vectors count.
    pub among: Among<'a>,
}

impl<'a> Ask<'a> {
    /// For the `k` nearest of all.
    pub fn new(k: usize) -> Self {
        Self { k, effort: None, among: Among::All }
    }

    /// Looks at `effort` candidates where the index is approximate.
    pub fn effort(mut self, effort: Option<usize>) -> Self {
        self.effort = effort;
        self
    }

    /// Counts these only.
    pub fn among(mut self, among: Among<'a>) -> Self {
        self.among = among;
        self
    }
}

/// Which vectors count.
#[derive(Clone, Copy)]
pub enum Among<'a> {
    /// All.
    All,
    /// Those of these numbers; every index answers for them exactly, at a cost that grows with their number.
    These(&'a [u32]),
    /// Those whose number fits.
    Where(&'a (dyn Fn(u32) -> bool + Sync)),
}

impl Debug for Among<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("All"),
            Self::These(ids) => f.debug_tuple("These").field(&ids.len()).finish(),
            Self::Where(_) => f.write_str("Where"),
        }
    }
}

/// The number that means none.
pub(super) const NO_ID: u32 = u32::MAX;

/// Checks what an index is made with.
pub(super) fn ensure_dimensions(dimensions: u16) -> Result<()> {
    ValueType::Vector(dimensions).ensure_bounded()
}

/// Checks what is put and appends what is stored of it to `out`.
pub(super) fn prepare_all(
    metric: Metric,
    dimensions: u16,
    ids: &[u32],
    vectors: &[f32],
    out: &mut Vec<f32>,
) -> Result<()> {
    let width = usize::from(dimensions);
    if ids.len().checked_mul(width) != Some(vectors.len()) {
        let expected = format!("{} vectors of {width} numbers", ids.len());
        return Err(Core::schema("vectors", expected, format!("{} numbers", vectors.len())).into());
    }
    if ids.contains(&NO_ID) {
        return Err(Core::invalid("number of a vector", NO_ID, "below 4294967295").into());
    }
    prepare_each(metric, width, vectors, "vector", out)
}

/// Checks what is asked and appends what is compared of it to `out`.
pub(super) fn prepare_queries(
    metric: Metric,
    dimensions: u16,
    queries: &[f32],
    ask: &Ask<'_>,
    out: &mut Vec<f32>,
) -> Result<()> {
    let width = usize::from(dimensions);
    if ask.k == 0 {
        return Err(Core::invalid("k", 0, "at least 1").into());
    }
    if !queries.len().is_multiple_of(width) {
        let expected = format!("vectors of {width} numbers");
        return Err(Core::schema("queries", expected, format!("{} numbers", queries.len())).into());
    }
    prepare_each(metric, width, queries, "query", out)
}

fn prepare_each(metric: Metric, width: usize, vectors: &[f32], what: &str, out: &mut Vec<f32>) -> Result<()> {
    out.reserve(vectors.len());
    for (row, vector) in vectors.chunks_exact(width).enumerate() {
        if let Some(reason) = metric.refusal(vector) {
            return Err(Core::invalid_data(format!("{what} {row} for {metric}"), reason).into());
        }
        metric.prepare(vector, out);
    }
    Ok(())
}
