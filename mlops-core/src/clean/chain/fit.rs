//! Fitting the stages of a chain in as few readings as they allow.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::ext::treated;
use super::super::study::{Effects, Study};
use super::super::{Changes, FittedTransform, Watch};
use super::rest::rested;
use super::{Chain, of_stage};
use crate::source::ScanRequest;
use crate::{Dataset, Result};

/// A stage of a chain.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Its place in the chain, from 1.
    pub place: usize,
    /// What it is, such as `impute`: the name that its settings go by.
    pub kind: String,
}

/// Stages that learned from one reading of the same rows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitPass {
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// The columns that were read, in the order of the rows' schema; none where the stages learn nothing. `None` for a stage
    /// that reads what it wants, as often as it wants.
    pub reads: Option<Vec<String>>,
}

/// How a chain learns from a table, and what it changes in it: [`Chain::explain`].
///
/// Its text form is one line per reading, then one per finding, for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// The readings of a fit, in order.
    pub passes: Vec<FitPass>,
    /// What each stage changes, with rows before and after it.
    pub changes: Changes,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for pass in &self.passes {
            let stages: Vec<_> = pass.stages.iter().map(|stage| format!("{} {}", stage.place, stage.kind)).collect();
            match &pass.reads {
                None => writeln!(f, "fit: {} by itself", stages.join(", "))?,
                Some(reads) if reads.is_empty() => writeln!(f, "fit: {} without a reading", stages.join(", "))?,
                Some(reads) => writeln!(f, "fit: {} in one reading of {reads:?}", stages.join(", "))?,
            }
        }
        self.changes.fmt(f)
    }
}

/// A fit on its way through the stages.
pub(super) struct Fit<'c> {
    chain: &'c Chain,
    watch: &'c Watch,
    /// What the stages fitted so far put out.
    current: Dataset,
    /// Stages that will learn from the next reading of `current`, and what they change.
    waiting: Vec<(usize, Study)>,
    effects: Effects,
    fitted: Vec<Arc<dyn FittedTransform>>,
    passes: Vec<FitPass>,
}

/// What a fit came to.
pub(super) struct Done {
    pub(super) stages: Vec<Arc<dyn FittedTransform>>,
    pub(super) rows: Dataset,
    pub(super) passes: Vec<FitPass>,
}

impl<'c> Fit<'c> {
    pub(super) fn begin(chain: &'c Chain, data: &Dataset, watch: &'c Watch) -> Self {
        let (fitted, passes) = (Vec::with_capacity(chain.stages.len()), Vec::new());
        Self { chain, watch, current: data.clone(), waiting: Vec::new(), effects: Effects::default(), fitted, passes }
    }

    pub(super) fn run(mut self) -> Result<Done> {
        for place in 0..self.chain.stages.len() {
            self.take(place)?;
        }
        self.learn(true)?;
        Ok(Done { stages: self.fitted, rows: self.current, passes: self.passes })
    }

    /// Lets the stage at `place` wait with those before it where it can learn with them, else after them.
    fn take(&mut self, place: usize) -> Result<()> {
        let stage = &self.chain.stages[place];
        if !self.waiting.is_empty() {
            // An error may be of columns that those that wait have yet to make: it counts when they have.
            if let Ok(Some(study)) = stage.study(self.current.schema())
                && self.effects.spare(&study)
            {
                self.wait(place, study);
                return Ok(());
            }
            self.learn(false)?;
        }
        match stage.study(self.current.schema()).map_err(|error| of_stage(place, error))? {
            Some(study) => self.wait(place, study),
            None => self.alone(place)?,
        }
        Ok(())
    }

    fn wait(&mut self, place: usize, study: Study) {
        self.effects.add(&study);
        self.waiting.push((place, study));
    }

    /// All that wait learn from one reading. Rows that nobody reads need no rest, but for those before the end, which the caller
    /// may read several times.
    fn learn(&mut self, is_last: bool) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.effects = Effects::default();
        if waiting.is_empty() {
            return Ok(());
        }
        let read: BTreeSet<&str> = waiting.iter().flat_map(|(_, study)| study.read()).map(String::as_str).collect();
        let of_source = self.current.schema().names().filter(|name| read.contains(name));
        let reads: Vec<String> = of_source.map(str::to_owned).collect();
        let before = if reads.is_empty() && !is_last { self.current.clone() } else { self.at_rest()? };
        if !reads.is_empty() {
            let stream = before.scan(&ScanRequest::all().columns(&reads))?;
            let names = stream.schema().clone();
            for batch in stream {
                let batch = batch?;
                self.watch.check()?;
                for (place, study) in &mut waiting {
                    study.update(&names, &batch).map_err(|error| of_stage(*place, error))?;
                }
            }
        }
        self.current = before;
        self.note(waiting.iter().map(|(place, _)| *place), Some(reads))?;
        for (place, study) in waiting {
            self.watch.check()?;
            let fitted = study.finish(self.chain.stages[place].as_ref());
            self.advance(place, fitted.map_err(|error| of_stage(place, error))?)?;
        }
        Ok(())
    }

    /// A stage that does not learn from one reading.
    fn alone(&mut self, place: usize) -> Result<()> {
        self.current = self.at_rest()?;
        let stage = &self.chain.stages[place];
        let fitted = stage.fit_watched(&self.current, self.watch).map_err(|error| of_stage(place, error))?;
        self.note([place], None)?;
        self.advance(place, fitted)
    }

    /// The current rows, read from what is before them once at the most. Held batches are at rest already.
    fn at_rest(&self) -> Result<Dataset> {
        if self.current.is_held() {
            return Ok(self.current.clone());
        }
        rested(&self.current, self.chain.held_bytes_max, self.watch)
    }

    fn advance(&mut self, place: usize, fitted: Box<dyn FittedTransform>) -> Result<()> {
        let fitted: Arc<dyn FittedTransform> = fitted.into();
        self.current = treated(&self.current, fitted.clone()).map_err(|error| of_stage(place, error))?;
        self.fitted.push(fitted);
        Ok(())
    }

    fn note(&mut self, places: impl IntoIterator<Item = usize>, reads: Option<Vec<String>>) -> Result<()> {
        let stage = |place: usize| {
            let settings = self.chain.stages[place].settings()?;
            let named = settings.as_object().and_then(|settings| settings.keys().next());
            Ok(Stage { place: place + 1, kind: named.map_or("custom", String::as_str).to_owned() })
        };
        let stages = places.into_iter().map(stage).collect::<Result<_>>()?;
        self.passes.push(FitPass { stages, reads });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
