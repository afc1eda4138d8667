//! What streams do to views, as the definitions tell it.

use std::collections::BTreeSet;
use std::sync::Arc;

use mlops_core::{Dataset, Name};

use super::{Definition, Definitions};
use crate::error::{Core, Result};
use crate::ingest::{Push, Target};
use crate::offline::{AppendOnce, HistoryRequest, OfflineStore, stored_history};
use crate::online::StateStore;
use crate::origin::{BatchOrigin, StreamOrigin};
use crate::serve::ServingPlan;
use crate::stream::{StreamIngest, StreamIngestBuilder};
use crate::view::FeatureView;
use crate::window::WindowView;

impl Definitions {
    /// Names of all streams that a view is fed by, pushed ones too.
    pub fn streams(&self) -> BTreeSet<&Name> {
        let streams = self.0.views.values().filter_map(|definition| match definition {
            Definition::View(view) => view.stream(),
            Definition::WindowView(view) => view.stream(),
            Definition::OnDemandView(_) | Definition::Entity(_) | Definition::Service(_) => None,
        });
        streams.map(StreamOrigin::name).collect()
    }

    /// Starts an ingest of the name `stream` with all that its events do:
    ///
    /// * to each stored view that the stream feeds, they are rows of `history` and of `online`. A view that is the
    ///   [history](BatchOrigin::History) of a window view and that no service reads goes to `history` only: it is there for
    ///   training sets;
    /// * to each window view that it feeds, they are events, whose states are kept in `online`. There a
    ///   [serving plan](Self::serving_plan) of these definitions reads them.
    ///
    /// Checks and the size of deliveries are for the caller to set.
    ///
    /// # Errors
    /// `Core(NotFound)` when the stream feeds no view; as [`StreamIngestBuilder::windows`].
    ///
    /// # Examples
    /// See the [module](crate::definitions#streams).
    pub fn stream_ingest(
        &self,
        stream: &str,
        online: &Arc<dyn StateStore>,
        history: &Arc<dyn AppendOnce>,
    ) -> Result<StreamIngestBuilder> {
        let is_fed = |origin: Option<&StreamOrigin>| origin.is_some_and(|origin| origin.name().as_str() == stream);
        let mut builder = StreamIngest::builder(stream)?;
        let mut fed = false;
        for definition in self.0.views.values() {
            match definition {
                Definition::View(view) if is_fed(view.stream()) => {
                    let push = Push::builder(view.clone()).offline(history.clone()).online(online.clone()).build()?;
                    let target = if self.is_only_history(view) { Target::Offline } else { Target::OnlineAndOffline };
                    builder = builder.push(push, target);
                }
                Definition::WindowView(view) if is_fed(view.stream()) => {
                    builder = builder.windows(view, online.clone())?;
                }
                _ => continue,
            }
            fed = true;
        }
        if !fed {
            return Err(Core::not_found("view that is fed by stream", stream).into());
        }
        Ok(builder)
    }

    /// Whether `view` is there for the training of window views, and for nothing else.
    fn is_only_history(&self, view: &FeatureView) -> bool {
        let is_history = |definition: &Definition| match definition {
            Definition::WindowView(windows) => {
                matches!(windows.batch(), Some(BatchOrigin::History { view: name }) if name == view.name())
            }
            _ => false,
        };
        let mut joins = self.0.plans.values().flat_map(ServingPlan::joins);
        self.0.views.values().any(is_history) && !joins.any(|join| join.view().name() == view.name())
    }

    /// The events of the live window views of `service` as `history` holds them, by the names of the views: what
    /// [`training_set_with`](crate::ServingPlan::training_set_with) and [`audit_with`](crate::skew::audit_with) join.
    ///
    /// These are the window views whose origin is the [history of a view](BatchOrigin::History). Events of others come from
    /// files, data sets or code, and the host brings them.
    ///
    /// # Errors
    /// `Core(NotFound)` when there is no such service; as [`stored_history`].
    pub fn window_events(&self, service: &str, history: &Arc<dyn OfflineStore>) -> Result<Vec<(&str, Dataset)>> {
        let live: BTreeSet<&Name> = self.plan(service)?.windows().flatten().map(WindowView::name).collect();
        let mut events = Vec::new();
        for definition in live.into_iter().filter_map(|name| self.0.views.get(name)) {
            let Definition::WindowView(view) = definition else { continue };
            let Some(kept) = self.0.events_view(view)? else { continue };
            events.push((view.name().as_str(), stored_history(history, kept, HistoryRequest::all())?));
        }
        Ok(events)
    }
}
