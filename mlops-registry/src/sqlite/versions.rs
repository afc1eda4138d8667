//! [`ModelRegistry`] on SQLite.

use mlops_core::Name;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{Failure, SqliteStore, from_json, json};
use crate::version::{AliasMove, ModelRegistry, ModelVersion, NewVersion};
use crate::{Error, Result};

fn read_version(row: &rusqlite::Row<'_>) -> rusqlite::Result<(u32, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn version((number, made): (u32, String)) -> Result<ModelVersion> {
    Ok(ModelVersion { number, made: from_json("model version", &made)? })
}

fn points_to(tx: &Transaction<'_>, model: &Name, alias: &Name) -> Result<Option<u32>, Failure> {
    let mut query = tx.prepare_cached("SELECT number FROM aliases WHERE model = ?1 AND alias = ?2")?;
    Ok(query.query_row([model.as_str(), alias.as_str()], |row| row.get(0)).optional()?)
}

fn shown(number: Option<u32>) -> String {
    number.map_or_else(|| "none".to_owned(), |n| n.to_string())
}

impl ModelRegistry for SqliteStore {
    fn add(&self, new: &NewVersion) -> Result<ModelVersion> {
        new.check()?;
        let made = json(new)?;
        let run = new.run.as_ref().map_or("", |run| run.as_str());
        let manifest = new.manifest.to_string();
        let known = self.write(|tx| {
            let mut same =
                tx.prepare_cached("SELECT number, made FROM versions WHERE model = ?1 AND manifest = ?2 AND run = ?3")?;
            if let Some(known) = same.query_row([new.model.as_str(), &manifest, run], read_version).optional()? {
                return Ok(known);
            }
            let next = "SELECT COALESCE(MAX(number), 0) + 1 FROM versions WHERE model = ?1";
            let number: u32 = tx.prepare_cached(next)?.query_row([new.model.as_str()], |row| row.get(0))?;
            let row = params![new.model.as_str(), number, manifest, run, made];
            tx.execute("INSERT INTO versions VALUES (?1, ?2, ?3, ?4, ?5)", row)?;
            Ok((number, made))
        })?;
        version(known).map_err(|e| self.located(e))
    }

    fn version(&self, model: &Name, number: u32) -> Result<ModelVersion> {
        let found = self.read(|tx| {
            let mut query = tx.prepare_cached("SELECT number, made FROM versions WHERE model = ?1 AND number = ?2")?;
            Ok(query.query_row(params![model.as_str(), number], read_version).optional()?)
        })?;
        let found = found.ok_or_else(|| Error::not_found("model version", format!("{model}/{number}")))?;
        version(found).map_err(|e| self.located(e))
    }

    fn versions(&self, model: &Name) -> Result<Vec<ModelVersion>> {
        let found = self.read(|tx| {
            let mut query = tx.prepare_cached("SELECT number, made FROM versions WHERE model = ?1 ORDER BY number")?;
            Ok(query.query_map([model.as_str()], read_version)?.collect::<Result<Vec<_>, _>>()?)
        })?;
        found.into_iter().map(version).collect::<Result<_>>().map_err(|e| self.located(e))
    }

    fn models(&self) -> Result<Vec<Name>> {
        let names = self.read(|tx| {
            let mut query = tx.prepare_cached("SELECT DISTINCT model FROM versions ORDER BY model")?;
            Ok(query.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?)
        })?;
        let name = |text| Name::new(text).map_err(|e| self.located(Error::corrupt("name of a model", e)));
        names.into_iter().map(name).collect()
    }

    fn alias(&self, model: &Name, alias: &Name) -> Result<Option<u32>> {
        self.read(|tx| points_to(tx, model, alias))
    }

    fn move_alias(&self, change: &AliasMove) -> Result<()> {
        change.check()?;
        let entry = json(change)?;
        let (model, alias) = (change.model.as_str(), change.alias.as_str());
        self.write(|tx| {
            let found = points_to(tx, &change.model, &change.alias)?;
            if found != change.expected {
                let (expected, found) = (shown(change.expected), shown(found));
                let name = format!("{model}@{alias}");
                return Err(mlops_core::Error::Conflict { kind: "alias", name, expected, found }.into());
            }
            let exists = "SELECT COUNT(*) FROM versions WHERE model = ?1 AND number = ?2";
            let exists: u32 = tx.prepare_cached(exists)?.query_row(params![model, change.to], |row| row.get(0))?;
            if exists == 0 {
                return Err(Error::not_found("model version", format!("{model}/{}", change.to)).into());
            }
            tx.execute("INSERT OR REPLACE INTO aliases VALUES (?1, ?2, ?3)", params![model, alias, change.to])?;
            tx.execute(
                "INSERT INTO alias_moves (model, alias, change) VALUES (?1, ?2, ?3)",
                params![model, alias, entry],
            )?;
            Ok(())
        })
    }

    fn history(&self, model: &Name, alias: &Name) -> Result<Vec<AliasMove>> {
        let entries = self.read(|tx| {
            let mut query =
                tx.prepare_cached("SELECT change FROM alias_moves WHERE model = ?1 AND alias = ?2 ORDER BY sequence")?;
            Ok(query
                .query_map([model.as_str(), alias.as_str()], |row| row.get(0))?
                .collect::<Result<Vec<String>, _>>()?)
        })?;
        let step = |entry: &String| from_json("alias move", entry).map_err(|e| self.located(e));
        entries.iter().map(step).collect()
    }
}
