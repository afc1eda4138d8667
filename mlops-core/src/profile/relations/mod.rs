//! What the columns of a table have to do with each other, and how many of its rows are copies.
//!
//! Correlations of numbers are exact. What needs whole rows (ranks, categories, copies) is told from a random sample of the
//! different rows, each with its count; every such number says its error.

mod reader;
mod sample;

use serde::{Deserialize, Serialize};

pub(crate) use reader::{BLOCK, Pending, RowReader};
use sample::{Row, RowSample};

use crate::stats::bytes::{Reader, Writer};
use crate::stats::{CoMoments, Contingency, Estimate, spearman};
use crate::{Error, Result};

/// Columns that can be related with each other.
pub(crate) const RELATED_MAX: usize = 512;
/// Groups of a binned column.
const GROUPS_MAX: usize = 16;
/// Bins of a column with more numbers than groups.
const BINS: usize = 8;
/// Parts of the sample that are left out in turn to learn the error.
const PARTS: u64 = 16;
/// 97.5 % point of Student's t with 15 degrees of freedom.
const T_15: f64 = 2.131;

/// A column that is related with others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Related {
    /// Name of the column.
    pub name: String,
    /// How it is read.
    pub kind: RelatedKind,
}

/// How the values of a column are related with those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelatedKind {
    /// By their size: numbers and times.
    Number,
    /// By being equal: texts and booleans.
    Category,
}

/// A value between the ends of an interval that holds the truth in about 95 of 100 cases.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The most likely value.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Relations between the columns of a table; they merge as profiles do.
///
/// Hidden columns, and columns that are neither numbers, times, booleans nor texts, take no part: rows that differ in these
/// alone are copies of each other here.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use mlops_core::arrow::array::{Float64Array, RecordBatch, StringArray};
/// use mlops_core::profile::{ProfileOptions, Profiler};
///
/// let batch = RecordBatch::try_from_iter([
///     ("size", Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0, 3.0])) as _),
///     ("price", Arc::new(Float64Array::from(vec![2.0, 4.0, 6.0, 6.0])) as _),
///     ("city", Arc::new(StringArray::from(vec!["Huế", "Huế", "Vinh", "Vinh"])) as _),
/// ])?;
/// let mut profiler = Profiler::new(&batch.schema(), &ProfileOptions::report())?;
/// profiler.update(&batch)?;
/// let relations = profiler.finish().relations().unwrap();
/// assert_eq!(relations.pearson("size", "price"), Some(1.0));
/// assert_eq!((relations.duplicates().value, relations.examined()), (1, 3));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Relations {
    columns: Vec<Related>,
    rows: u64,
    /// Of the columns that are numbers, in order.
    moments: CoMoments,
    sample: RowSample,
    pending: Pending,
}

impl Relations {
    pub(crate) fn new(columns: Vec<Related>) -> Result<Self> {
        let numbers = columns.iter().filter(|column| column.kind == RelatedKind::Number).count();
        let (moments, sample) = (CoMoments::new(numbers)?, RowSample::new(columns.len()));
        Ok(Self { columns, rows: 0, moments, sample, pending: Pending::default() })
    }

    /// Adds the rows of `batch`.
    pub(crate) fn update(&mut self, reader: &RowReader, batch: &arrow::array::RecordBatch) -> Result<()> {
        let (mut from, rows) = (0, batch.num_rows());
        while from < rows {
            let len = (rows - from).min(BLOCK - self.pending.hashes.len());
            reader.read(batch, from, len, &mut self.pending)?;
            from += len;
            if self.pending.hashes.len() == BLOCK {
                self.settle()?;
            }
        }
        self.rows += rows as u64;
        Ok(())
    }

    /// Takes in the rows that wait.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let Pending { hashes, cells } = &mut self.pending;
        if hashes.is_empty() {
            return Ok(());
        }
        let numbers = self.columns.iter().zip(&*cells).filter(|(column, _)| column.kind == RelatedKind::Number);
        let numbers: Vec<&[f64]> = numbers.map(|(_, cells)| cells.as_slice()).collect();
        self.moments.update(&numbers)?;
        for (row, &hash) in hashes.iter().enumerate() {
            self.sample.offer(hash, || cells.iter().map(|cells| cells[row]).collect());
        }
        hashes.clear();
        cells.iter_mut().for_each(Vec::clear);
        Ok(())
    }

    /// A copy that no row waits for.
    pub(crate) fn settled(&self) -> Result<Self> {
        let mut settled = self.clone();
        settled.settle()?;
        settled.pending = Pending::default();
        Ok(settled)
    }

    pub(crate) fn is_mergeable(&self, other: &Self) -> bool {
        self.columns == other.columns
    }

    /// Adds what `other`, of the same columns, has seen.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        let other = other.settled()?;
        self.settle()?;
        self.moments.merge(&other.moments)?;
        self.sample.merge(&other.sample);
        self.rows += other.rows;
        Ok(())
    }

    /// Forgets what was held of the columns that are not `kept`.
    pub(crate) fn retain(&mut self, kept: impl Fn(&str) -> bool) -> Result<()> {
        self.settle()?;
        let kept: Vec<bool> = self.columns.iter().map(|column| kept(&column.name)).collect();
        if kept.iter().all(|&kept| kept) {
            return Ok(());
        }
        let numbers = self.columns.iter().zip(&kept).filter(|(column, _)| column.kind == RelatedKind::Number);
        self.moments = self.moments.keep(&numbers.map(|(_, &kept)| kept).collect::<Vec<_>>())?;
        self.sample.keep(&kept);
        let mut places = kept.iter();
        self.columns.retain(|_| places.next().is_some_and(|&kept| kept));
        Ok(())
    }

    /// The columns that take part.
    pub fn columns(&self) -> &[Related] {
        &self.columns
    }

    /// Different rows that the estimates are told from; all there are, where they are few.
    pub fn examined(&self) -> u64 {
        self.sample.rows().len() as u64
    }

    /// Whether the sample holds every row, so that nothing is an estimate.
    pub fn is_exact(&self) -> bool {
        self.sample.is_whole()
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    fn places(&self, a: &str, b: &str) -> Option<(usize, usize)> {
        self.place(a).zip(self.place(b))
    }

    fn number_place(&self, place: usize) -> Option<usize> {
        let is_number = |column: &Related| column.kind == RelatedKind::Number;
        is_number(&self.columns[place]).then(|| self.columns[..place].iter().filter(|c| is_number(c)).count())
    }

    /// Pearson's correlation of two columns of numbers or times, exactly, over the rows where both are finite.
    ///
    /// `None` for other columns, and where it is not defined: see [`CoMoments::pearson`].
    pub fn pearson(&self, a: &str, b: &str) -> Option<f64> {
        let (a, b) = self.places(a, b)?;
        self.moments.pearson(self.number_place(a)?, self.number_place(b)?)
    }

    /// Spearman's rank correlation of two columns of numbers or times, from the sample.
    pub fn spearman(&self, a: &str, b: &str) -> Option<Interval> {
        let (a, b) = self.places(a, b)?;
        let _both = (self.number_place(a)?, self.number_place(b)?);
        self.interval((-1.0, 1.0), |rows| {
            let column = |place: usize| rows.iter().map(|row| row.cells[place]).collect::<Vec<f64>>();
            let weights: Vec<u64> = rows.iter().map(|row| row.count).collect();
            spearman(&column(a), &column(b), &weights).ok().flatten()
        })
    }

    /// Cramér's V of two columns, corrected for bias, from the sample: of texts and booleans by their 15 most frequent
    /// values and one group for the rest, of numbers by eight quantile bins where there are more than 16.
    pub fn cramers_v(&self, a: &str, b: &str) -> Option<Interval> {
        let (a, b) = self.places(a, b)?;
        let groups = (self.groups(a), self.groups(b));
        self.interval((0.0, 1.0), |rows| table(rows, &groups.0, &groups.1).and_then(|table| table.cramers_v()))
    }

    /// Mutual information in nats over the groups of [`Relations::cramers_v`], less what chance gives; from the sample.
    pub fn mutual_information(&self, a: &str, b: &str) -> Option<Interval> {
        let (a, b) = self.places(a, b)?;
        let groups = (self.groups(a), self.groups(b));
        self.interval((0.0, f64::INFINITY), |rows| {
            let table = table(rows, &groups.0, &groups.1)?;
            Some((table.mutual_information() - table.information_bias()).max(0.0))
        })
    }

    /// How strongly each column depends on each other one, for a heat map: Pearson's correlation of two numbers,
    /// Cramér's V of other pairs, 1 of a column with itself; rows in the order of [`Relations::columns`].
    pub fn strengths(&self) -> Vec<Vec<Option<f64>>> {
        let rows: Vec<&Row> = self.sample.rows().map(|(_, row)| row).collect();
        let groups: Vec<Groups> = (0..self.columns.len()).map(|place| self.groups(place)).collect();
        let mut matrix = vec![vec![Some(1.0); groups.len()]; groups.len()];
        for a in 0..groups.len() {
            for b in a + 1..groups.len() {
                let strength = match self.number_place(a).zip(self.number_place(b)) {
                    Some((a, b)) => self.moments.pearson(a, b),
                    None => table(&rows, &groups[a], &groups[b]).and_then(|table| table.cramers_v()),
                };
                (matrix[a][b], matrix[b][a]) = (strength, strength);
            }
        }
        matrix
    }

    /// Rows that are copies of an earlier one: `rows − different rows`. Exact while there are at most 1024 different rows.
    pub fn duplicates(&self) -> Estimate {
        let held: u64 = self.sample.rows().map(|(_, row)| row.count).sum();
        let different = self.examined();
        if self.is_exact() {
            return Estimate::exact(held - different);
        }
        let rows = |share: f64| (self.rows as f64 * share).round() as u64;
        // None among n sampled rows: with 95 % certainty there are fewer than 3/n (Hanley and Lippman-Hand, 1983).
        if held == different {
            return Estimate { value: 0, low: 0, high: rows(3.0 / different as f64) };
        }
        let share = self.interval((0.0, 1.0), |rows| {
            let copies: u64 = rows.iter().map(|row| row.count).sum();
            Some(1.0 - rows.len() as f64 / copies.max(1) as f64)
        });
        share.map_or(Estimate::exact(0), |s| Estimate { value: rows(s.value), low: rows(s.low), high: rows(s.high) })
    }

    /// `statistic` of the sample, and its error by leaving each sixteenth of the rows out in turn.
    ///
    /// Source: Kott, *The delete-a-group jackknife*, Journal of Official Statistics 17, 2001.
    fn interval(&self, (least, most): (f64, f64), statistic: impl Fn(&[&Row]) -> Option<f64>) -> Option<Interval> {
        let rows: Vec<(u64, &Row)> = self.sample.rows().collect();
        let value = statistic(&rows.iter().map(|row| row.1).collect::<Vec<_>>())?;
        if self.is_exact() {
            return Some(Interval { value, low: value, high: value });
        }
        let mut squares = 0.0;
        for part in 0..PARTS {
            let rest: Vec<&Row> = rows.iter().filter(|(hash, _)| hash % PARTS != part).map(|row| row.1).collect();
            squares += (statistic(&rest).unwrap_or(value) - value).powi(2);
        }
        let error = T_15 * (squares * (PARTS - 1) as f64 / PARTS as f64).sqrt();
        Some(Interval { value, low: (value - error).max(least), high: (value + error).min(most) })
    }

    fn groups(&self, place: usize) -> Groups {
        let cells = self.sample.rows().map(|(_, row)| (row.cells[place], row.count)).filter(|cell| !cell.0.is_nan());
        let mut cells: Vec<(f64, u64)> = cells.collect();
        cells.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        cells.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            kept.1 += if is_same { next.1 } else { 0 };
            is_same
        });
        let is_category = self.columns[place].kind == RelatedKind::Category;
        if is_category {
            cells.sort_by_key(|cell| std::cmp::Reverse(cell.1));
            cells.truncate(GROUPS_MAX - 1);
        }
        let points = if is_category || cells.len() <= GROUPS_MAX {
            cells.into_iter().map(|cell| cell.0).collect()
        } else {
            quantile_ends(&cells)
        };
        Groups { place, is_category, points }
    }

    /// Writes a copy that no row waits for.
    pub(crate) fn write(&self, out: &mut Writer) {
        debug_assert!(self.pending.hashes.is_empty());
        out.u64(self.columns.len() as u64);
        for column in &self.columns {
            out.bytes(column.name.as_bytes());
            out.u8(u8::from(column.kind == RelatedKind::Category));
        }
        out.u64(self.rows);
        out.bytes(&self.moments.to_bytes());
        out.bytes(&self.sample.to_bytes());
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self> {
        let count = from.count(9)?;
        let columns = (0..count).map(|_| {
            let name = from.text()?.to_owned();
            let kind = if from.u8()? == 1 { RelatedKind::Category } else { RelatedKind::Number };
            Ok(Related { name, kind })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let rows = from.u64()?;
        let moments = CoMoments::from_bytes(from.bytes()?)?;
        let sample = RowSample::from_bytes(from.bytes()?)?;
        Wire { columns, rows, moments, sample }.try_into()
    }

    /// What every state has that came from `rows` rows.
    pub(crate) fn check(&self, rows: u64) -> Result<()> {
        let sane = self.rows == rows;
        if sane { Ok(()) } else { Err(Error::corrupt("relations", format_args!("{} of {rows} rows", self.rows))) }
    }
}

/// How the cells of one column fall into groups.
struct Groups {
    place: usize,
    is_category: bool,
    /// Codes of the most frequent categories, or the upper ends of bins in order; what is none of them is in a last group.
    points: Vec<f64>,
}

impl Groups {
    fn of(&self, cell: f64) -> usize {
        if self.is_category {
            self.points.iter().position(|&code| code == cell).unwrap_or(self.points.len())
        } else {
            self.points.partition_point(|&end| end < cell)
        }
    }
}

/// Upper ends of bins that hold about the same number of rows; `cells` are values in order with their counts.
fn quantile_ends(cells: &[(f64, u64)]) -> Vec<f64> {
    let total: u64 = cells.iter().map(|cell| cell.1).sum();
    let (mut ends, mut below) = (Vec::new(), 0);
    for &(value, count) in cells {
        below += count;
        if below as f64 >= total as f64 * (ends.len() + 1) as f64 / BINS as f64 {
            ends.push(value);
        }
    }
    ends
}

/// Counts of pairs of groups, over the rows where neither is missing.
fn table(rows: &[&Row], a: &Groups, b: &Groups) -> Option<Contingency> {
    let (height, width) = (a.points.len() + 1, b.points.len() + 1);
    let mut counts = vec![0_u64; height * width];
    for row in rows {
        let (x, y) = (row.cells[a.place], row.cells[b.place]);
        if !x.is_nan() && !y.is_nan() {
            counts[a.of(x) * width + b.of(y)] += row.count;
        }
    }
    Contingency::new(&counts, width).ok()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    columns: Vec<Related>,
    rows: u64,
    moments: CoMoments,
    sample: RowSample,
}

impl From<Relations> for Wire {
    fn from(mut relations: Relations) -> Self {
        // A block of rows that were read already fits: its shape is that of the moments.
        let settled = relations.settle();
        debug_assert!(settled.is_ok());
        let Relations { columns, rows, moments, sample, .. } = relations;
        Self { columns, rows, moments, sample }
    }
}

impl TryFrom<Wire> for Relations {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        let Wire { columns, rows, moments, sample } = wire;
        let numbers = columns.iter().filter(|column| column.kind == RelatedKind::Number).count();
        let held = sample.rows().fold(0_u64, |sum, (_, row)| sum.saturating_add(row.count));
        let is_counted = if sample.is_whole() { held == rows } else { held <= rows };
        if moments.columns() != numbers || sample.width() != columns.len() || !is_counted {
            return Err(Error::corrupt("relations", "columns or counts contradict each other"));
        }
        Ok(Self { columns, rows, moments, sample, pending: Pending::default() })
    }
}

#[cfg(test)]
mod tests;
