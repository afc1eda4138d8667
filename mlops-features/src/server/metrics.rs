//! Counters in the text format of OpenMetrics 1.0.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::serve::{ServiceMetrics, StatusCounts};

pub(super) const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counters of services by their names, and of requests that listed features under the name `(list)`.
///
/// Names hold nothing that would have to be escaped.
pub(super) fn text(services: &[ServiceMetrics], lists: &[ServiceMetrics]) -> String {
    let named = services.iter().map(|one| (one.service.as_str(), one));
    let all: Vec<(&str, &ServiceMetrics)> = named.chain(lists.iter().map(|one| ("(list)", one))).collect();
    let mut out = String::new();
    requests(&mut out, &all);
    latency(&mut out, &all);
    statuses(&mut out, &all);
    out.push_str("# EOF\n");
    out
}

/// Adds up what has the same labels.
fn sums<'a, K: Ord + Copy>(pairs: impl Iterator<Item = (K, u64)> + 'a) -> BTreeMap<K, u64> {
    let mut sums = BTreeMap::new();
    pairs.for_each(|(key, count)| *sums.entry(key).or_default() += count);
    sums
}

fn line(out: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    // Writing to a string does not fail.
    let _ = writeln!(out, "{name}{{{}}} {value}", labels.join(","));
}

fn requests(out: &mut String, all: &[(&str, &ServiceMetrics)]) {
    out.push_str("# TYPE features_requests counter\n# HELP features_requests Requests by service and outcome.\n");
    let pairs = all.iter().flat_map(|(name, one)| {
        [((*name, "answered"), one.answered), ((*name, "failed"), one.failed), ((*name, "forbidden"), one.forbidden)]
    });
    for ((service, outcome), count) in sums(pairs) {
        line(out, "features_requests_total", &[("service", service), ("outcome", outcome)], count);
    }
    out.push_str("# TYPE features_entities counter\n# HELP features_entities Entities of answered requests.\n");
    for (service, count) in sums(all.iter().map(|(name, one)| (*name, one.entities))) {
        line(out, "features_entities_total", &[("service", service)], count);
    }
}

fn latency(out: &mut String, all: &[(&str, &ServiceMetrics)]) {
    out.push_str("# TYPE features_latency_seconds histogram\n# UNIT features_latency_seconds seconds\n");
    out.push_str("# HELP features_latency_seconds Time of answered requests.\n");
    let mut services: BTreeMap<&str, Vec<&ServiceMetrics>> = BTreeMap::new();
    all.iter().for_each(|(name, one)| services.entry(name).or_default().push(one));
    for (service, parts) in services {
        // All have the same edges.
        let Some(first) = parts.first() else { continue };
        let mut seen: u64 = parts.iter().map(|part| part.latency.below()).sum();
        for (bin, edge) in first.latency.edges().iter().enumerate() {
            if bin > 0 {
                seen += parts.iter().filter_map(|part| part.latency.counts().get(bin - 1)).sum::<u64>();
            }
            let edge = format!("{edge:e}");
            line(out, "features_latency_seconds_bucket", &[("service", service), ("le", &edge)], seen);
        }
        let total: u64 = parts.iter().map(|part| part.answered).sum();
        let nanos: u64 = parts.iter().map(|part| part.nanos).sum();
        line(out, "features_latency_seconds_bucket", &[("service", service), ("le", "+Inf")], total);
        line(out, "features_latency_seconds_count", &[("service", service)], total);
        line(out, "features_latency_seconds_sum", &[("service", service)], nanos as f64 / 1e9);
    }
}

fn statuses(out: &mut String, all: &[(&str, &ServiceMetrics)]) {
    type Of = fn(&StatusCounts) -> u64;
    const STATUSES: [(&str, Of); 4] = [
        ("PRESENT", |counts| counts.present),
        ("NULL_VALUE", |counts| counts.null_value),
        ("NOT_FOUND", |counts| counts.not_found),
        ("OUTSIDE_MAX_AGE", |counts| counts.outside_max_age),
    ];
    out.push_str("# TYPE features_values counter\n# HELP features_values Values by service, view and status.\n");
    let views = || all.iter().flat_map(|(name, one)| one.views.iter().map(|view| (*name, view)));
    let pairs =
        views().flat_map(|(name, view)| STATUSES.map(|(word, of)| ((name, view.view.as_str(), word), of(view))));
    for ((service, view, status), count) in sums(pairs) {
        line(out, "features_values_total", &[("service", service), ("view", view), ("status", status)], count);
    }
    let families: [(&str, &str, Of); 2] = [
        ("features_overdue", "Values whose row was older than its view promises.", |counts| counts.overdue),
        ("features_ahead", "Rows whose event time was after the request.", |counts| counts.ahead),
    ];
    for (family, help, of) in families {
        let _ = writeln!(out, "# TYPE {family} counter\n# HELP {family} {help}");
        for ((service, view), count) in sums(views().map(|(name, view)| ((name, view.view.as_str()), of(view)))) {
            line(out, &format!("{family}_total"), &[("service", service), ("view", view)], count);
        }
    }
}
