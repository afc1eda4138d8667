//! What follows when a stage fails.

use arrow::array::RecordBatch;

use super::StageKind;
use crate::{Error, Name, Result};

/// What follows when a stage fails or is late. Whatever is not [`Fail`](Self::Fail) is reported in
/// [`Served::degraded`](super::Served::degraded) and counted.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum OnError {
    /// The request fails with the stage's error. Default of scorers.
    Fail,
    /// The request goes on as if the stage were not there. A source gives no candidates (its default; a request whose
    /// every source is missing fails), a hydrator gives nulls (its default), a filter takes nothing out (it fails open), a
    /// scorer adds nothing to the blend, and [`TopK`](super::TopK) stands in for a selector (its default).
    Skip,
    /// A filter takes everything out (it fails closed). Default of filters.
    Close,
    /// A scorer gives this score to every candidate.
    Prior(f64),
    /// A hydrator gives every candidate the one row of this batch, which has the hydrator's columns.
    Values(RecordBatch),
}

impl OnError {
    pub(super) fn default_of(kind: StageKind) -> Self {
        match kind {
            StageKind::Filter => Self::Close,
            StageKind::Scorer | StageKind::Request => Self::Fail,
            _ => Self::Skip,
        }
    }

    /// Whether a stage of `kind` can follow this.
    pub(super) fn check(&self, stage: &Name, kind: StageKind) -> Result<()> {
        let fits = match self {
            Self::Fail | Self::Skip => kind != StageKind::Observer,
            Self::Close => kind == StageKind::Filter,
            Self::Prior(score) => kind == StageKind::Scorer && score.is_finite(),
            Self::Values(row) => kind == StageKind::Hydrator && row.num_rows() == 1,
        };
        if fits {
            return Ok(());
        }
        let name = match self {
            Self::Values(_) => "Values".to_owned(),
            other => format!("{other:?}"),
        };
        let domain = "Fail, Skip, Close for a filter, a finite Prior for a scorer, Values of one row for a hydrator";
        Err(Error::stage(stage.as_str(), Error::invalid("on_error", name, domain)))
    }
}
