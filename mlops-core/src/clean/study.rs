//! Learning while rows go by, so that transforms that do not hang on each other learn from one reading.

use std::collections::BTreeSet;
use std::fmt;

use arrow::array::RecordBatch;

use super::told::told;
use super::{FittedTransform, Pick, Transform};
use crate::source::ScanRequest;
use crate::{Dataset, Result, Schema};

/// Learns from rows, batch after batch in order.
pub trait Learner: Send {
    /// Takes the next rows; `batch` has the columns that [`Study::reads`] named, in that order.
    ///
    /// # Errors
    /// As [`Transform::fit`].
    fn update(&mut self, batch: &RecordBatch) -> Result<()>;

    /// After the last row: what was learned. A study that reads nothing is only asked for this.
    ///
    /// # Errors
    /// As [`Transform::fit`].
    fn finish(self: Box<Self>) -> Result<Box<dyn FittedTransform>>;
}

/// A fit that needs one reading, before its first row: who learns, what it reads, and what the transform will change.
///
/// A [`Chain`](super::Chain) fits adjacent stages in one reading where the later one would learn the same after the earlier
/// ones as before them. So what is said here must hold, or a chain learns something else than its stages one after another:
/// `testkit::transform` checks it.
pub struct Study {
    learner: Box<dyn Learner>,
    reads: Vec<String>,
    concerns: BTreeSet<String>,
    changes: BTreeSet<String>,
    picks: bool,
    reshapes: bool,
    drops_rows: bool,
}

impl Study {
    /// `learner`, which reads and changes nothing as yet.
    pub fn new(learner: impl Learner + 'static) -> Self {
        Self {
            learner: Box::new(learner),
            reads: Vec::new(),
            concerns: BTreeSet::new(),
            changes: BTreeSet::new(),
            picks: false,
            reshapes: false,
            drops_rows: false,
        }
    }

    /// Columns whose values are learned from, in the order in which the learner gets them; each of them once.
    pub fn reads(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        for column in columns {
            let column = column.into();
            if !self.reads.contains(&column) {
                self.reads.push(column);
            }
        }
        self
    }

    /// Columns besides those read whose being there or whose types decide what is learned.
    pub fn concerns(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.concerns.extend(columns.into_iter().map(Into::into));
        self
    }

    /// Columns that are there before the step and that it changes: values, type or name, or that it leaves out.
    pub fn changes(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.changes.extend(columns.into_iter().map(Into::into));
        self
    }

    /// Whether columns are found by what they are, and not by their names alone. Default no.
    pub fn picks(mut self, picks: bool) -> Self {
        self.picks = picks;
        self
    }

    /// Whether columns are added, left out or renamed, or get a type of another kind: so that a later stage that
    /// [picks](Self::picks) columns may find others. Columns that stay must keep their order. Default no.
    pub fn reshapes(mut self, reshapes: bool) -> Self {
        self.reshapes = reshapes;
        self
    }

    /// Whether there may be fewer rows after the step. Default no.
    pub fn drops_rows(mut self, drops: bool) -> Self {
        self.drops_rows = drops;
        self
    }

    /// Whether `column` has a say in what is learned.
    #[cfg(any(test, feature = "testkit"))]
    pub(crate) fn looks_at(&self, column: &str) -> bool {
        self.picks || self.reads.iter().any(|read| read == column) || self.concerns.contains(column)
    }

    /// The columns that are read.
    pub(super) fn read(&self) -> &[String] {
        &self.reads
    }

    /// Takes rows of the columns `names`, among which are those that are read.
    pub(crate) fn update(&mut self, names: &Schema, batch: &RecordBatch) -> Result<()> {
        if self.reads.is_empty() {
            return Ok(());
        }
        let places = self.reads.iter().map(|name| names.index_of(name)).collect::<Result<Vec<_>>>()?;
        self.learner.update(&batch.project(&places)?)
    }

    /// What was learned, which tells the settings of `transform`.
    pub(crate) fn finish(self, transform: &dyn Transform) -> Result<Box<dyn FittedTransform>> {
        Ok(told(transform.settings()?, self.learner.finish()?))
    }

    /// The whole fit of `transform`: one reading of the columns that are read, none where there are none.
    pub(super) fn fit(mut self, transform: &dyn Transform, data: &Dataset) -> Result<Box<dyn FittedTransform>> {
        if !self.reads.is_empty() {
            let stream = data.scan(&ScanRequest::all().columns(&self.reads))?;
            let names = stream.schema().clone();
            for batch in stream {
                self.update(&names, &batch?)?;
            }
        }
        self.finish(transform)
    }
}

impl fmt::Debug for Study {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Study");
        shown.field("reads", &self.reads).field("changes", &self.changes);
        shown.field("reshapes", &self.reshapes).field("drops_rows", &self.drops_rows).finish_non_exhaustive()
    }
}

/// What some studies together change.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    changes: BTreeSet<String>,
    reshapes: bool,
    drops_rows: bool,
}

impl Effects {
    /// Whether `study` would learn the same after all of them as before.
    pub(super) fn spare(&self, study: &Study) -> bool {
        let touched = |column: &String| self.changes.contains(column);
        let moved = self.drops_rows || (self.reshapes && study.picks);
        !moved && !study.reads.iter().any(touched) && !study.concerns.iter().any(touched)
    }

    pub(super) fn add(&mut self, study: &Study) {
        self.changes.extend(study.changes.iter().cloned());
        self.reshapes |= study.reshapes;
        self.drops_rows |= study.drops_rows;
    }

    /// Those of one study alone.
    #[cfg(any(test, feature = "testkit"))]
    pub(crate) fn of(study: &Study) -> Self {
        let mut effects = Self::default();
        effects.add(study);
        effects
    }

    #[cfg(any(test, feature = "testkit"))]
    pub(crate) fn keeps(&self, column: &str) -> bool {
        !self.changes.contains(column)
    }

    #[cfg(any(test, feature = "testkit"))]
    pub(crate) fn keeps_shape(&self) -> bool {
        !self.reshapes
    }

    #[cfg(any(test, feature = "testkit"))]
    pub(crate) fn keeps_rows(&self) -> bool {
        !self.drops_rows
    }
}

/// A learner made of what it holds and what it does with it.
pub(super) fn learner<T, U, F>(state: T, update: U, finish: F) -> impl Learner
where
    T: Send,
    U: FnMut(&mut T, &RecordBatch) -> Result<()> + Send,
    F: FnOnce(T) -> Result<Box<dyn FittedTransform>> + Send,
{
    Made { state, update, finish }
}

struct Made<T, U, F> {
    state: T,
    update: U,
    finish: F,
}

impl<T, U, F> Learner for Made<T, U, F>
where
    T: Send,
    U: FnMut(&mut T, &RecordBatch) -> Result<()> + Send,
    F: FnOnce(T) -> Result<Box<dyn FittedTransform>> + Send,
{
    fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        (self.update)(&mut self.state, batch)
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn FittedTransform>> {
        (self.finish)(self.state)
    }
}

/// A learner that learns nothing: `fitted` is known already.
pub(super) fn known(fitted: impl FittedTransform) -> impl Learner {
    learner((), |(), _| Ok(()), |()| Ok(Box::new(fitted)))
}

/// Whether one of `picks` finds columns by what they are.
pub(super) fn any_picks<'p>(picks: impl IntoIterator<Item = &'p Pick>) -> bool {
    picks.into_iter().any(|pick| !matches!(pick, Pick::Columns(_)))
}
