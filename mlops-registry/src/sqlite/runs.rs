//! [`RunStore`] on SQLite.

use std::collections::BTreeMap;

use mlops_core::EventTime;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{Failure, SqliteStore, from_json, json};
use crate::run::{Metric, NewRun, PAGE_MAX, Run, RunId, RunLog, RunQuery, RunStatus, RunStore};
use crate::{Error, Result};

fn status_text(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running => "running",
        RunStatus::Finished => "finished",
        RunStatus::Failed => "failed",
        RunStatus::Killed => "killed",
    }
}

fn status_of(tx: &Transaction<'_>, run: &RunId) -> Result<String, Failure> {
    let found = tx
        .prepare_cached("SELECT status FROM runs WHERE id = ?1")?
        .query_row([run.as_str()], |row| row.get(0))
        .optional()?;
    found.ok_or_else(|| Error::not_found("run", run.as_str()).into())
}

fn pairs(tx: &Transaction<'_>, table: &str, run: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut query = tx.prepare_cached(&format!("SELECT key, value FROM {table} WHERE run = ?1"))?;
    let rows = query.query_map([run], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn metric(row: &rusqlite::Row<'_>) -> rusqlite::Result<Metric> {
    let bits: i64 = row.get(3)?;
    let value = f64::from_bits(bits.cast_unsigned());
    Ok(Metric { key: row.get(0)?, step: row.get(1)?, at: EventTime::from_micros(row.get(2)?), value })
}

fn load(tx: &Transaction<'_>, id: &str) -> Result<Option<Run>, Failure> {
    let mut query = tx.prepare_cached("SELECT begun, status, ended FROM runs WHERE id = ?1")?;
    let found = query
        .query_row([id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<i64>>(2)?)))
        .optional()?;
    let Some((begun, status, ended)) = found else { return Ok(None) };
    // The last row of each key in the order of the primary key has the greatest step, then time.
    let mut latest =
        tx.prepare_cached("SELECT key, step, at, bits FROM metrics WHERE run = ?1 ORDER BY key, step, at")?;
    let points = latest.query_map([id], metric)?.collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Run {
        id: RunId::try_from(id.to_owned()).map_err(|e| Error::corrupt("run id", e))?,
        begun: from_json("run", &begun)?,
        status: from_json("run status", &format!("\"{status}\""))?,
        ended: ended.map(EventTime::from_micros),
        metrics: points.into_iter().map(|point| (point.key.clone(), point)).collect(),
        params: pairs(tx, "params", id)?,
        tags: pairs(tx, "tags", id)?,
    }))
}

fn add_params(tx: &Transaction<'_>, run: &RunId, log: &RunLog) -> Result<(), Failure> {
    let mut insert = tx.prepare_cached("INSERT INTO params VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
    let mut known = tx.prepare_cached("SELECT value FROM params WHERE run = ?1 AND key = ?2")?;
    for (key, value) in &log.params {
        let added = insert.execute(params![run.as_str(), key, value])?;
        if added == 0 {
            let before: String = known.query_row(params![run.as_str(), key], |row| row.get(0))?;
            if before != *value {
                return Err(mlops_core::Error::AlreadyExists { kind: "parameter", name: key.clone() }.into());
            }
        }
    }
    Ok(())
}

impl RunStore for SqliteStore {
    fn begin(&self, new: &NewRun) -> Result<RunId> {
        new.check()?;
        let id = RunId::generate();
        let begun = json(new)?;
        self.write(|tx| {
            if let Some(parent) = &new.parent {
                status_of(tx, parent)?;
            }
            tx.execute("INSERT INTO experiments VALUES (?1) ON CONFLICT DO NOTHING", [new.experiment.as_str()])?;
            tx.execute(
                "INSERT INTO runs (id, experiment, begun, status, started) VALUES (?1, ?2, ?3, 'running', ?4)",
                params![id.as_str(), new.experiment.as_str(), begun, new.started.as_micros()],
            )?;
            Ok(())
        })?;
        Ok(id)
    }

    fn log(&self, run: &RunId, log: &RunLog) -> Result<()> {
        log.check()?;
        self.write(|tx| {
            let status = status_of(tx, run)?;
            if status != status_text(RunStatus::Running) {
                return Err(Error::invalid("status of the run", status, "running").into());
            }
            add_params(tx, run, log)?;
            let mut tag = tx.prepare_cached("INSERT OR REPLACE INTO tags VALUES (?1, ?2, ?3)")?;
            for (key, value) in &log.tags {
                tag.execute(params![run.as_str(), key, value])?;
            }
            let mut point =
                tx.prepare_cached("INSERT INTO metrics VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING")?;
            for m in &log.metrics {
                let bits = m.value.to_bits().cast_signed();
                point.execute(params![run.as_str(), m.key, m.step, m.at.as_micros(), bits, m.value])?;
            }
            Ok(())
        })
    }

    fn end(&self, run: &RunId, status: RunStatus, at: EventTime) -> Result<()> {
        if status == RunStatus::Running {
            return Err(Error::invalid("status", "running", "an end: finished, failed or killed"));
        }
        self.write(|tx| {
            let before = status_of(tx, run)?;
            if before == status_text(status) {
                return Ok(());
            }
            if before != status_text(RunStatus::Running) {
                return Err(Error::invalid("status of the run", before, "running").into());
            }
            let ended = params![run.as_str(), status_text(status), at.as_micros()];
            tx.execute("UPDATE runs SET status = ?2, ended = ?3 WHERE id = ?1", ended)?;
            Ok(())
        })
    }

    fn run(&self, id: &RunId) -> Result<Run> {
        let found = self.read(|tx| load(tx, id.as_str()))?;
        found.ok_or_else(|| Error::not_found("run", id.as_str()))
    }

    fn history(&self, run: &RunId, key: &str) -> Result<Vec<Metric>> {
        self.read(|tx| {
            status_of(tx, run)?;
            let mut query = tx.prepare_cached(
                "SELECT key, step, at, bits FROM metrics WHERE run = ?1 AND key = ?2 ORDER BY step, at",
            )?;
            Ok(query.query_map([run.as_str(), key], metric)?.collect::<Result<_, _>>()?)
        })
    }

    fn search(&self, query: &RunQuery) -> Result<Vec<Run>> {
        if !(1..=PAGE_MAX).contains(&query.limit) {
            return Err(Error::invalid("limit", query.limit, "between 1 and 1000"));
        }
        let (before, id) = query.after.as_ref().map_or((i64::MAX, "~"), |(at, id)| (at.as_micros(), id.as_str()));
        self.read(|tx| {
            let mut select = tx.prepare_cached(
                "SELECT id FROM runs WHERE (started, id) < (?1, ?2) AND (?3 IS NULL OR experiment = ?3)
                 AND (?4 IS NULL OR status = ?4) ORDER BY started DESC, id DESC LIMIT ?5",
            )?;
            let experiment = query.experiment.as_ref().map(mlops_core::Name::as_str);
            let wanted = params![before, id, experiment, query.status.map(status_text), query.limit as i64];
            let ids = select.query_map(wanted, |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
            let mut runs = Vec::with_capacity(ids.len());
            for id in ids {
                runs.extend(load(tx, &id)?);
            }
            Ok(runs)
        })
    }
}
