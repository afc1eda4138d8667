//! Steps of a pipeline with side effects that are counted: a finished step is not run again, one that was cut off is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use mlops_core::pipeline::{Artifact, FnStep, Pipeline, Run, RunEvent, RunOptions};
use serde_json::json;

use super::{Asked, Store, Surface};
use crate::Result;
use crate::rows;
use crate::token::Token;

const STEPS: [&str; 3] = ["draw", "sum", "pack"];
const BEGUN: &str = "begun";
const FINISHED: &str = "finished";
/// Largest output of the last step.
const BYTES_MAX: usize = 100_000;

/// `mlops_core::pipeline`.
#[derive(Debug)]
pub struct Jobs;

impl Surface for Jobs {
    fn name(&self) -> &'static str {
        "pipeline"
    }

    /// One: a run directory has one run at a time.
    fn writers(&self) -> u32 {
        1
    }

    /// Also ends the runs that were cut off, as a host does after a crash.
    fn open(&self, dir: &Path) -> Result<Box<dyn Store>> {
        let open = Open { dir: dir.join("outputs"), effects: dir.join("effects") };
        fs::create_dir_all(&open.effects)?;
        let effects = open.effects()?;
        let tokens: BTreeSet<Token> = effects.keys().map(|(token, _)| *token).collect();
        for token in tokens {
            let finished =
                |step: &str| effects.get(&(token, step.to_owned())).is_some_and(|l| l.contains(&FINISHED.into()));
            if !STEPS.iter().all(|step| finished(step)) {
                let _ = open.run(token)?;
            }
        }
        Ok(Box::new(open))
    }
}

struct Open {
    dir: PathBuf,
    effects: PathBuf,
}

/// Lines that steps left behind, by token and step.
type Effects = BTreeMap<(Token, String), Vec<String>>;

/// Adds a line to the file of a step: what it does to the outside world.
fn leave(effects: &Path, token: Token, step: &str, line: &str) -> std::io::Result<()> {
    let path = effects.join(format!("{token}-{step}"));
    OpenOptions::new().create(true).append(true).open(path)?.write_all(format!("{line}\n").as_bytes())
}

impl Open {
    fn step(
        &self,
        name: &'static str,
        token: Token,
        body: impl Fn(&mlops_core::pipeline::Inputs) -> Result<Artifact> + Send + Sync + 'static,
    ) -> Result<FnStep> {
        let effects = self.effects.clone();
        Ok(FnStep::new(name, token.to_string(), move |inputs, _| {
            leave(&effects, token, name, BEGUN).map_err(|e| mlops_core::Error::io(&effects, e))?;
            body(inputs).map_err(|e| mlops_core::Error::external("torture", e))
        })?)
    }

    fn pipeline(&self, token: Token) -> Result<Pipeline> {
        let draw = self.step("draw", token, move |_| Ok(rows::dataset(token)?.into()))?;
        let sum = self.step("sum", token, move |inputs| {
            let read = rows::read(&inputs.get("draw")?.as_dataset()?.to_batch()?)?;
            Ok(json!({"token": token.to_string(), "sum": read.iter().map(|row| row.event_time).sum::<i64>()}).into())
        })?;
        let pack = self.step("pack", token, move |inputs| {
            let sum = inputs.get("sum")?.as_json()?.to_string();
            Ok([sum.as_bytes(), &token.bytes(40, BYTES_MAX)].concat().into())
        })?;
        Ok(Pipeline::builder("torture").step(draw, &[]).step(sum, &["draw"]).step(pack, &["sum"]).build()?)
    }

    fn run(&self, token: Token) -> Result<Run> {
        let effects = self.effects.clone();
        let options = RunOptions::default().on_event(move |event| {
            if let RunEvent::Finished { step, .. } = event {
                // Should this fail, the step counts as cut off, and the check that follows is only weaker.
                let _ = leave(&effects, token, step.as_str(), FINISHED);
            }
        });
        Ok(self.pipeline(token)?.run(&self.dir, &options)?.ok()?)
    }

    fn effects(&self) -> Result<Effects> {
        let mut effects = Effects::new();
        for entry in fs::read_dir(&self.effects)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let (token, step) = name.split_once('-').ok_or_else(|| format!("{name} is there, which nobody wrote"))?;
            let lines = self.lines(token.parse()?, step)?;
            effects.insert((token.parse()?, step.to_owned()), lines);
        }
        Ok(effects)
    }

    fn lines(&self, token: Token, step: &str) -> Result<Vec<String>> {
        match fs::read_to_string(self.effects.join(format!("{token}-{step}"))) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(e.into()),
        }
    }

    /// Runs the pipeline of `token` once more, and checks its outputs and which steps that ran.
    fn check(&self, token: Token, acked: bool) -> Result<()> {
        let before = STEPS.map(|step| self.lines(token, step));
        let run = self.run(token)?;
        for (step, before) in STEPS.into_iter().zip(before) {
            let (before, after) = (before?, self.lines(token, step)?);
            let finished = before.iter().filter(|line| *line == FINISHED).count();
            let once = finished <= 1 && before.iter().skip_while(|line| *line != FINISHED).count() <= 1;
            if !once || (finished == 1 && after != before) {
                return Err(format!("step {step} was finished and ran again: {after:?}").into());
            }
            if acked && (finished == 0 || before.first().is_none_or(|line| line != BEGUN)) {
                return Err(format!("step {step} never finished, but the run was acknowledged").into());
            }
        }
        if acked && run.report().ran() > 0 {
            return Err(format!("{} steps had to run again", run.report().ran()).into());
        }
        let draw = run.artifact("draw")?.as_dataset()?.to_batch()?;
        let sum: i64 = rows::Row::all(token).iter().map(|row| row.event_time).sum();
        let sum = json!({"token": token.to_string(), "sum": sum});
        let packed = [sum.to_string().as_bytes(), &token.bytes(40, BYTES_MAX)].concat();
        let right = rows::read(&draw)? == rows::Row::all(token)
            && *run.artifact("sum")?.as_json()? == sum
            && run.artifact("pack")?.as_bytes()? == packed;
        if right { Ok(()) } else { Err("the outputs are not what the steps make".into()) }
    }
}

impl Store for Open {
    fn write(&self, token: Token) -> Result<()> {
        let _ = self.run(token)?;
        Ok(())
    }

    fn present(&self, asked: &Asked) -> Result<BTreeSet<Token>> {
        let begun: BTreeSet<Token> = self.effects()?.into_keys().map(|(token, _)| token).collect();
        for token in &begun {
            asked.ensure(*token)?;
        }
        for token in asked.all().into_iter().filter(|token| begun.contains(token)) {
            self.check(token, asked.acked.contains(&token)).map_err(|e| format!("run {token}: {e}"))?;
        }
        Ok(begun)
    }
}
