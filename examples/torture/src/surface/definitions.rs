//! Definitions of features in a folder and in SQLite, from two threads at once.

use std::collections::BTreeSet;
use std::path::Path;

use mlops_core::Error as Core;
use mlops_core::catalog::Revision;
use mlops_features::definitions::{DefinitionStore, Definitions, Deployment, FileDefinitions, SqliteDefinitions};
use mlops_features::{Entity, Error, FeatureView, KeyType, ValueType};

use super::{Asked, Store, Surface};
use crate::Result;
use crate::token::Token;

/// `mlops_features::definitions::{FileDefinitions, SqliteDefinitions}`.
#[derive(Debug)]
pub struct Defined;

impl Surface for Defined {
    fn name(&self) -> &'static str {
        "definitions"
    }

    fn writers(&self) -> u32 {
        2
    }

    fn open(&self, dir: &Path) -> Result<Box<dyn Store>> {
        let folder = FileDefinitions::open(dir.join("folder"))?;
        let sqlite = SqliteDefinitions::open(dir.join("definitions.db"))?;
        Ok(Box::new(Open([Box::new(folder), Box::new(sqlite)])))
    }
}

struct Open([Box<dyn DefinitionStore>; 2]);

/// What a write puts: one view, behind a letter in its name, with some features.
fn definitions(token: Token) -> Result<Definitions> {
    let entity = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
    let mut view = FeatureView::builder(format!("t{token}"), entity).description(format!("{:x}", token.random(1)));
    for feature in 0..=token.random(2) % 20 {
        view = view.feature(format!("f{feature}"), ValueType::Float64);
    }
    Ok(Definitions::builder().with(view.build()?).build()?)
}

/// Puts over whatever is there: revisions are what is looked at, and each is of one token.
fn put(store: &dyn DefinitionStore, deployment: &Deployment) -> Result<()> {
    loop {
        let (_, revision) = store.load()?;
        match store.put(deployment, revision) {
            Ok(_) => return Ok(()),
            Err(Error::Core(Core::Conflict { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Store for Open {
    fn write(&self, token: Token) -> Result<()> {
        let deployment = serde_json::from_value(serde_json::json!({ "definitions": definitions(token)? }))?;
        self.0.iter().try_for_each(|store| put(&**store, &deployment))
    }

    fn present(&self, asked: &Asked) -> Result<BTreeSet<Token>> {
        let mut present = asked.all();
        for store in &self.0 {
            let mut found = BTreeSet::new();
            let (_, last) = store.load()?;
            for revision in 1..=last.0 {
                let deployment = store.at(Revision(revision))?;
                let views = deployment.definitions().stored_views();
                let [view] = views.as_slice() else { return Err(format!("revision {revision} is of nobody").into()) };
                let name = view.name().as_str();
                let token: Token = name.strip_prefix('t').ok_or_else(|| format!("`{name}` is of nobody"))?.parse()?;
                asked.ensure(token)?;
                if *deployment.definitions() != definitions(token)? || !found.insert(token) {
                    return Err(format!("{token}: the store remembers something else").into());
                }
            }
            present.retain(|token| found.contains(token));
        }
        Ok(present)
    }
}
