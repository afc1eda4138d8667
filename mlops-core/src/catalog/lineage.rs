//! What was made from what: the graph over the provenance of everything that a catalog remembers.

mod cycles;
mod draw;
mod trace;

pub use draw::{DRAWN_EDGES_MAX, DRAWN_NODES_MAX, mermaid_text};
pub use trace::{Reached, Trace};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Catalog, Entry, KIND};
use crate::time::EventTime;
use crate::{Digest, Error, Name, Result};

/// Contents and edges of one graph at the most, where nothing was said.
pub const LINEAGE_SIZE_MAX: usize = 1_000_000;

/// One content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineageNode {
    /// Its digest.
    pub digest: Digest,
    /// The data sets that it is or was, sorted; empty when it was read by something but never registered.
    pub names: Vec<Name>,
    /// Its rows, where it was registered.
    pub rows: Option<u64>,
}

impl LineageNode {
    /// Whether something was made from it that is known, but it is not.
    pub fn is_missing(&self) -> bool {
        self.names.is_empty()
    }

    fn add(&mut self, name: &Name) {
        if let Err(place) = self.names.binary_search(name) {
            self.names.insert(place, name.clone());
        }
    }
}

/// `child` was made from `parent`, and perhaps from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineageEdge {
    /// What was read.
    pub parent: Digest,
    /// What was made.
    pub child: Digest,
    /// The step or transform.
    pub operation: Name,
    /// Version of the code that ran it.
    pub code_version: String,
    /// When it ran.
    pub at: EventTime,
}

/// The graph of everything that a catalog remembers, past entries included.
///
/// Contents are nodes, so a data set that changed is several of them. An operation that gave back what it was given is
/// an edge from a content to itself.
///
/// # Examples
/// ```
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use mlops_core::catalog::{CatalogExt, Entry, Lineage, MemoryCatalog};
/// use mlops_core::dataset::Provenance;
/// use mlops_core::{Dataset, EventTime, Name};
///
/// let rows = |n: i64| {
///     let ids = std::sync::Arc::new(Int64Array::from_iter_values(0..n)) as ArrayRef;
///     Dataset::from_batches([RecordBatch::try_from_iter([("id", ids)])?])
/// };
/// let raw = rows(10)?;
/// let clean = rows(8)?.with_provenance(Provenance {
///     parents: vec![raw.digest()?],
///     operation: Name::new("dedup")?,
///     parameters: serde_json::json!({"keys": ["id"]}),
///     code_version: "1.4.0".to_owned(),
///     at: EventTime::EPOCH,
/// });
/// let catalog = MemoryCatalog::new();
/// catalog.register(&Entry::of(Name::new("raw")?, "crm", &raw, EventTime::EPOCH)?)?;
/// catalog.register(&Entry::of(Name::new("clean")?, "crm", &clean, EventTime::EPOCH)?)?;
///
/// let lineage = Lineage::of(&catalog)?;
/// let made = lineage.descendants(&raw.digest()?)?;
/// assert_eq!(made.nodes[1].node.names[0].as_str(), "clean");
/// assert_eq!(lineage.ancestors(&clean.digest()?)?.ends, [raw.digest()?]);
/// assert!(made.to_mermaid().contains("-->|\"dedup 1.4.0\"|"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    nodes: BTreeMap<Digest, LineageNode>,
    edges: Vec<LineageEdge>,
    /// Edges by parent, and by child.
    from: BTreeMap<Digest, Vec<usize>>,
    into: BTreeMap<Digest, Vec<usize>>,
}

/// Which way edges are followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Direction {
    /// From what was made to what it was made from.
    Ancestors,
    /// From what was read to what was made from it.
    Descendants,
}

impl Lineage {
    /// Reads everything that `catalog` remembers.
    ///
    /// # Errors
    /// [`Error::Invalid`] when that is more than [`LINEAGE_SIZE_MAX`] contents and edges, and what the catalog fails with.
    pub fn of(catalog: &dyn Catalog) -> Result<Self> {
        Self::bounded(catalog, LINEAGE_SIZE_MAX)
    }

    /// As [`of`](Self::of), for at most `size_max` contents and edges together.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there are more, and what the catalog fails with.
    pub fn bounded(catalog: &dyn Catalog, size_max: usize) -> Result<Self> {
        Self::gather(catalog, size_max, |_| true)
    }

    /// Reads what `catalog` remembers of the data sets whose present entry `may_know` lets through, then the names of the
    /// others.
    fn gather(catalog: &dyn Catalog, size_max: usize, may_know: impl Fn(&Entry) -> bool) -> Result<Self> {
        let mut graph = Self::default();
        let (mut edges, mut sealed) = (BTreeSet::new(), Vec::new());
        for name in catalog.list()? {
            let history = catalog.history(&name)?;
            if !history.last().is_some_and(&may_know) {
                let digests: BTreeSet<Digest> = history.iter().map(|entry| entry.digest).collect();
                sealed.push((name, digests));
                continue;
            }
            for entry in history {
                let node = graph.node(entry.digest);
                node.rows = Some(entry.rows);
                node.add(&name);
                let Some(made) = entry.provenance else { continue };
                for parent in made.parents {
                    graph.node(parent);
                    edges.insert(LineageEdge {
                        parent,
                        child: entry.digest,
                        operation: made.operation.clone(),
                        code_version: made.code_version.clone(),
                        at: made.at,
                    });
                }
                if graph.nodes.len() + edges.len() > size_max {
                    return Err(Error::invalid("size_max", size_max, "room for all contents and edges of the catalog"));
                }
            }
        }
        for (name, digests) in sealed {
            for digest in digests {
                if let Some(node) = graph.nodes.get_mut(&digest) {
                    node.add(&name);
                }
            }
        }
        graph.edges = edges.into_iter().collect();
        for (index, edge) in graph.edges.iter().enumerate() {
            graph.from.entry(edge.parent).or_default().push(index);
            graph.into.entry(edge.child).or_default().push(index);
        }
        Ok(graph)
    }

    /// As [`of`](Self::of), as far as `reader` may know it: of a data set that it may not read, the graph has the name alone,
    /// and that only where something that it may read was made from it.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn seen_by(catalog: &dyn Catalog, reader: &str) -> Result<Self> {
        Self::gather(catalog, LINEAGE_SIZE_MAX, |entry| entry.readers.allow(reader))
    }

    fn node(&mut self, digest: Digest) -> &mut LineageNode {
        self.nodes.entry(digest).or_insert_with(|| LineageNode { digest, names: Vec::new(), rows: None })
    }

    /// All contents, by digest.
    pub fn nodes(&self) -> impl Iterator<Item = &LineageNode> {
        self.nodes.values()
    }

    /// All edges, by parent and child.
    pub fn edges(&self) -> &[LineageEdge] {
        &self.edges
    }

    /// What went into the content of `digest`, back to the raw sources.
    ///
    /// # Errors
    /// [`Error::NotFound`] when nothing is known of such content.
    pub fn ancestors(&self, digest: &Digest) -> Result<Trace> {
        self.trace(digest, Direction::Ancestors)
    }

    /// What was made from the content of `digest`, down to what nothing was made from yet.
    ///
    /// # Errors
    /// [`Error::NotFound`] when nothing is known of such content.
    pub fn descendants(&self, digest: &Digest) -> Result<Trace> {
        self.trace(digest, Direction::Descendants)
    }

    fn trace(&self, digest: &Digest, direction: Direction) -> Result<Trace> {
        if !self.nodes.contains_key(digest) {
            return Err(Error::not_found(KIND, digest.to_string()));
        }
        Ok(Trace::walk(self, *digest, direction))
    }

    /// The edges that lead on from `digest`.
    fn onward(&self, digest: &Digest, direction: Direction) -> impl Iterator<Item = &LineageEdge> {
        let edges = match direction {
            Direction::Ancestors => &self.into,
            Direction::Descendants => &self.from,
        };
        edges.get(digest).into_iter().flatten().map(|index| &self.edges[*index])
    }
}

impl Direction {
    /// The far end of `edge`.
    fn end(self, edge: &LineageEdge) -> Digest {
        match self {
            Self::Ancestors => edge.parent,
            Self::Descendants => edge.child,
        }
    }
}

#[cfg(test)]
mod tests;
