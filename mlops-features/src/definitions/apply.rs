//! Plan and apply, over any store.

use mlops_core::Name;
use mlops_core::catalog::Revision;

use super::{DefinitionLineage, DefinitionStore, Definitions, Deployment, Kind, ModelLink, Plan, ServiceVersion};
use crate::error::{Core, Error, Result};

/// How often a change that depends on nothing but itself is tried anew when somebody else was faster.
pub const CONFLICT_TRIES_MAX: usize = 16;

/// What an apply may do besides adding and compatible changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ApplyOptions {
    remove: bool,
}

impl ApplyOptions {
    /// Nothing is removed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether definitions that are not wanted any more are removed. Default false: then they are refused, so that half of a
    /// set does not take the other half away.
    pub fn remove(mut self, remove: bool) -> Self {
        self.remove = remove;
        self
    }
}

/// What every [`DefinitionStore`] offers.
pub trait DefinitionStoreExt: DefinitionStore {
    /// What is defined now.
    ///
    /// # Errors
    /// What the store fails with.
    fn definitions(&self) -> Result<Definitions> {
        Ok(self.load()?.0.definitions)
    }

    /// What would bring the store to `wanted`. Changes nothing.
    ///
    /// # Errors
    /// What the store fails with.
    fn plan(&self, wanted: &Definitions) -> Result<Plan> {
        let (stored, revision) = self.load()?;
        Plan::new(&stored, revision, wanted)
    }

    /// Brings the store from the revision that a [plan](Self::plan) was made at to `wanted`, all of it or nothing, and tells the
    /// new revision. When nothing differs, nothing is written, whatever the revision: applying twice is applying once.
    ///
    /// # Errors
    /// * [`Error::Breaking`] when a name would mean another thing than it does, or did before it was removed: give the new
    ///   definition the next version;
    /// * `Core(Rejected)` naming what would be removed, without [`ApplyOptions::remove`], and services that models were trained
    ///   on, always;
    /// * `Core(Conflict)` when somebody else was faster: plan anew;
    /// * what the store fails with.
    fn apply(&self, wanted: &Definitions, expected: Revision, options: &ApplyOptions) -> Result<Revision> {
        let (stored, revision) = self.load()?;
        let plan = Plan::new(&stored, revision, wanted)?;
        if plan.is_empty() {
            return Ok(revision);
        }
        super::ensure_unchanged(expected, revision)?;
        plan.ensure_unbroken()?;
        ensure_removable(&plan, &stored, *options)?;
        self.put(&stored.with(wanted), revision)
    }

    /// Plans and applies in one go; removes nothing. For programs that bring their definitions with them.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), `Core(Conflict)` only when others were faster many times in a row.
    fn apply_now(&self, wanted: &Definitions) -> Result<Revision> {
        again(|| self.apply(wanted, self.load()?.1, &ApplyOptions::new()))
    }

    /// Remembers that a model was trained on these features; its service cannot be removed after that.
    ///
    /// # Errors
    /// `Core(NotFound)` for an unknown service, `Core(InvalidData)` when the service gives other features than those that the
    /// model was trained on, `Core(Invalid)` beyond [`MODELS_MAX`](super::MODELS_MAX); what the store fails with.
    fn link(&self, link: &ModelLink) -> Result<Revision> {
        again(|| {
            let (stored, revision) = self.load()?;
            let with = stored.with_model(link)?;
            if with == stored { Ok(revision) } else { self.put(&with, revision) }
        })
    }

    /// Forgets that a model was trained on features of a service. Fine when it was not.
    ///
    /// # Errors
    /// What the store fails with.
    fn unlink(&self, model: &Name, version: &str) -> Result<Revision> {
        again(|| {
            let (mut stored, revision) = self.load()?;
            let before = stored.models.len();
            stored.models.retain(|link| link.model != *model || link.version != version);
            if stored.models.len() == before { Ok(revision) } else { self.put(&stored, revision) }
        })
    }

    /// What a version of a model was trained on, by service.
    ///
    /// # Errors
    /// `Core(NotFound)` when nobody [linked](Self::link) it; what the store fails with.
    fn features_of(&self, model: &Name, version: &str) -> Result<Vec<ServiceVersion>> {
        let (stored, _) = self.load()?;
        let links = stored.models().iter().filter(|link| link.model == *model && link.version == version);
        let features: Vec<ServiceVersion> = links.map(|link| link.features.clone()).collect();
        if features.is_empty() {
            let shown: String = version.chars().take(40).flat_map(char::escape_debug).collect();
            return Err(Core::not_found("model", format!("{model} {shown}")).into());
        }
        Ok(features)
    }

    /// What the service gives now.
    ///
    /// # Errors
    /// `Core(NotFound)` when there is no such service; what the store fails with.
    fn service_version(&self, service: &str) -> Result<ServiceVersion> {
        self.definitions()?.service_version(service)
    }

    /// From sources over views and services to models.
    ///
    /// # Errors
    /// What the store fails with.
    fn lineage(&self) -> Result<DefinitionLineage> {
        let (stored, _) = self.load()?;
        DefinitionLineage::of(&stored.definitions, &stored.models)
    }
}

impl<S: DefinitionStore + ?Sized> DefinitionStoreExt for S {}

fn again(mut change: impl FnMut() -> Result<Revision>) -> Result<Revision> {
    let mut tries = 1;
    loop {
        match change() {
            Err(Error::Core(Core::Conflict { .. })) if tries < CONFLICT_TRIES_MAX => tries += 1,
            done => return done,
        }
    }
}

fn ensure_removable(plan: &Plan, stored: &Deployment, options: ApplyOptions) -> Result<()> {
    let used = |name: &Name| stored.models.iter().find(|link| link.features.service == *name);
    let refused = plan.removed().filter_map(|change| {
        let what = format!("{} `{}`", change.kind, change.name);
        match (change.kind, used(&change.name)) {
            (Kind::Service, Some(link)) => Some(format!("{what}, which {link} needs")),
            _ if !options.remove => Some(what),
            _ => None,
        }
    });
    let failed: Vec<String> = refused.collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Core::Rejected { what: "removal of definitions".to_owned(), failed }.into())
}
