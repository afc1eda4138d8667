//! What the monitor saw, as its own page.

use mlops_monitor::report::MonitorReport;

use crate::journey::Story;
use crate::watch::Seen;

/// The page of the monitor over all days of service.
pub fn monitoring(story: &Story) -> String {
    fn all<T: Clone>(story: &Story, of: impl Fn(&Seen) -> &[T]) -> Vec<T> {
        story.days.iter().flat_map(|day| &day.seen).flat_map(|seen| of(seen).iter().cloned()).collect()
    }
    let windows = all(story, |seen| &seen.windows);
    let (drift, performance) = (all(story, |seen| &seen.drift), all(story, |seen| &seen.performance));
    let (fairness, alerts) = (all(story, |seen| &seen.fairness), all(story, |seen| &seen.alerts));
    let retrain = story.days.iter().flat_map(|day| &day.seen).filter_map(|seen| seen.retrain.as_ref()).next_back();
    let page = MonitorReport::new(format!("Monitoring of {}", story.title), story.ended)
        .windows(&windows)
        .performance(&performance)
        .fairness(&fairness)
        .alerts(&alerts)
        .retrain(retrain);
    match &story.reference {
        Some(reference) => page.drift(&drift, reference).to_html(),
        None => page.to_html(),
    }
}
