//! A feature service as a stage of ranking.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, SchemaRef};
use async_trait::async_trait;
use mlops_core::Name;
use mlops_core::rank::{Budget, Hydrator, Query, Slate};

use super::answer::{Brought, repeat};
use super::plan::{CallerColumn, KeyColumns};
use super::server::{Asked, FeatureServer, Served};
use crate::error::{Core, Result};
use crate::key::Keys;

/// A feature service as a stage of ranking: reads the context's features once and each candidate's own, in one round trip.
///
/// A view's key columns are looked up among the candidates' columns first, then in the query's context. A view that only
/// needs the context is read for one key, and its values are repeated for every candidate; a computed feature that only
/// needs the context is computed once.
///
/// Its columns are those of the plan that the server had when the stage was made. A plan that was swapped in since is used
/// as soon as it is there, unless it has other columns: then the stage fails, since what follows it cannot know them. A
/// change of columns is a new service.
#[derive(Debug)]
pub struct FeatureServiceHydrator {
    name: Name,
    server: Arc<FeatureServer>,
    service: Option<Name>,
    schema: SchemaRef,
}

impl FeatureServiceHydrator {
    /// A stage of this name over the server's first service.
    pub fn new(name: Name, server: Arc<FeatureServer>) -> Self {
        let schema = server.plan().schema().clone();
        Self { name, server, service: None, schema }
    }

    /// A stage of this name over one service of several.
    ///
    /// # Errors
    /// `Core(NotFound)` when the server does not serve it.
    pub fn of(name: Name, server: Arc<FeatureServer>, service: &str) -> Result<Self> {
        let plan = server.plan_of(service)?;
        Ok(Self { name, server, service: Some(plan.service().clone()), schema: plan.schema().clone() })
    }

    /// What it reads from.
    pub fn server(&self) -> &Arc<FeatureServer> {
        &self.server
    }

    fn served(&self) -> Result<Arc<Served>> {
        let served = self.server.served(self.service.as_ref().map(Name::as_str))?;
        let now = served.plan.schema();
        if Arc::ptr_eq(now, &self.schema) || *now == self.schema {
            return Ok(served);
        }
        let names =
            |schema: &SchemaRef| schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ");
        Err(Core::schema(served.plan.service().as_str(), names(&self.schema), names(now)).into())
    }

    async fn columns(&self, query: &Query, slate: &Slate) -> Result<Vec<ArrayRef>> {
        let served = self.served()?;
        served.plan.ensure_readable_by(&super::Reader::host())?;
        let plan = served.plan.plan();
        let keys = plan.keys.iter().map(|keys| keys_for(keys, query, slate)).collect::<Result<Vec<_>>>()?;
        let brought =
            plan.columns.iter().map(|column| brought_for(column, query, slate)).collect::<Result<Vec<_>>>()?;
        let asked = [Asked { served: served.clone(), keys, brought, now: query.at(), rows: slate.len() }];
        let answers = self.server.read(&asked).await?;
        let outputs = |answer: super::answer::Answer| {
            plan.outputs.iter().map(|origin| answer.served(*origin, slate.len())).collect::<Result<Vec<_>>>()
        };
        answers.into_iter().next().map_or_else(|| Ok(Vec::new()), outputs)
    }
}

/// Keys for every candidate, or the one of the context for all of them (then true).
fn keys_for(keys: &KeyColumns, query: &Query, slate: &Slate) -> Result<(Keys, bool)> {
    let own = |name: &Name| slate.rows().column_by_name(name.as_str());
    let shared = |name: &Name| query.context().column_by_name(name.as_str());
    let missing = |name: &Name| Core::schema(name.as_str(), "a key column of candidates or context", "no such column");
    if keys.columns.iter().all(|name| own(name).is_none()) {
        return Ok((Keys::named(&keys.entity, &keys.columns, query.context())?, true));
    }
    let column = |name: &Name| match (own(name), shared(name)) {
        (Some(own), _) => Ok(own.clone()),
        (None, Some(shared)) => repeat(shared, slate.len()),
        (None, None) => Err(missing(name).into()),
    };
    let arrays = keys.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok((Keys::new(&keys.entity, &arrays)?, false))
}

/// A column of the candidates, or else the one value of the context.
fn brought_for(column: &CallerColumn, query: &Query, slate: &Slate) -> Result<Brought> {
    let name = column.name.as_str();
    if let Some(own) = slate.rows().column_by_name(name) {
        return Brought::new(column, own, false);
    }
    let shared = query.context().column_by_name(name).ok_or_else(|| column.missing())?;
    Brought::new(column, shared, true)
}

#[async_trait]
impl Hydrator for FeatureServiceHydrator {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        self.schema.fields().iter().map(|field| field.as_ref().clone()).collect()
    }

    async fn hydrate(&self, query: &Query, slate: &Slate, _budget: Budget) -> mlops_core::Result<Vec<ArrayRef>> {
        Ok(self.columns(query, slate).await?)
    }
}
