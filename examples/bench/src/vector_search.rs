//! Ten nearest neighbours of many queries, by comparing everything and by a graph.

use std::path::Path;

use mlops_features::vector::{Ask, ExactIndex, GraphIndex, Hit, Metric, VectorIndex};
use serde::Deserialize;
use serde_json::{Map, json};

use crate::Outcome;
use crate::usage::Usage;

type Failure = Box<dyn std::error::Error>;

/// Neighbours of one query.
const K: usize = 10;
/// Candidates that the graph looks at.
const EFFORTS: [usize; 4] = [32, 64, 128, 256];

/// `shape.json`: rows and columns of `vectors.f32` and rows of `queries.f32`, both little endian, row by row.
#[derive(Deserialize)]
struct Shape {
    vectors: usize,
    dimensions: u16,
    queries: usize,
}

fn floats(path: &Path, count: usize) -> Result<Vec<f32>, Failure> {
    let bytes = std::fs::read(path)?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    if numbers.len() != count || !rest.is_empty() {
        return Err(format!("{} has {} bytes, not {count} numbers", path.display(), bytes.len()).into());
    }
    Ok(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
}

/// Answers of all queries, asked one by one, and processor microseconds of one.
fn ask(index: &dyn VectorIndex, queries: &[f32], ask: &Ask<'_>) -> Result<(Vec<Vec<Hit>>, f64), Failure> {
    let start = Usage::now()?;
    let queries = queries.chunks_exact(usize::from(index.dimensions()));
    let answers =
        queries.map(|query| Ok(index.nearest(query, ask)?.swap_remove(0))).collect::<Result<Vec<_>, Failure>>()?;
    let used = Usage::now()?.since(&start);
    let each = used.cpu_s * 1e6 / answers.len() as f64;
    Ok((answers, each))
}

fn recall(truth: &[Vec<Hit>], told: &[Vec<Hit>]) -> f64 {
    let found = |(truth, told): (&Vec<Hit>, &Vec<Hit>)| told.iter().filter(|hit| truth.contains(hit)).count();
    let found: usize = truth.iter().zip(told).map(found).sum();
    found as f64 / truth.iter().map(Vec::len).sum::<usize>() as f64
}

/// The checksum is the sum of the numbers of all neighbours.
pub(crate) fn run(folder: &Path) -> Result<Outcome, Failure> {
    let shape: Shape = serde_json::from_slice(&std::fs::read(folder.join("shape.json"))?)?;
    let width = usize::from(shape.dimensions);
    let vectors = floats(&folder.join("vectors.f32"), shape.vectors * width)?;
    let queries = floats(&folder.join("queries.f32"), shape.queries * width)?;
    let ids: Vec<u32> = (0..u32::try_from(shape.vectors)?).collect();
    let mut figures = Map::new();

    let start = Usage::now()?;
    let exact = ExactIndex::new(Metric::L2, shape.dimensions)?;
    exact.put(&ids, &vectors)?;
    figures.insert("exact_build_cpu_s".into(), json!(Usage::now()?.since(&start).cpu_s));
    let (truth, each) = ask(&exact, &queries, &Ask::new(K))?;
    figures.insert("exact_us".into(), json!(each));
    let start = Usage::now()?;
    let together = exact.nearest(&queries, &Ask::new(K))?;
    figures.insert("exact_together_us".into(), json!(Usage::now()?.since(&start).cpu_s * 1e6 / shape.queries as f64));
    if together != truth {
        return Err("queries that are asked together are answered otherwise".into());
    }
    let sum: u64 = truth.iter().flatten().map(|hit| u64::from(hit.id)).sum();
    figures.insert("checksum".into(), json!(sum));

    let start = Usage::now()?;
    let graph = GraphIndex::builder(Metric::L2, shape.dimensions).capacity(shape.vectors).build()?;
    graph.put(&ids, &vectors)?;
    figures.insert("graph_build_cpu_s".into(), json!(Usage::now()?.since(&start).cpu_s));
    for effort in EFFORTS {
        let (told, each) = ask(&graph, &queries, &Ask::new(K).effort(Some(effort)))?;
        figures.insert(format!("graph_{effort}_us"), json!(each));
        figures.insert(format!("graph_{effort}_recall"), json!(recall(&truth, &told)));
    }
    Ok(Outcome { rows: shape.vectors as u64, figures })
}
