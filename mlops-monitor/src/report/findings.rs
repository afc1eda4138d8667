//! Performance, fairness, alerts and what follows from them.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use mlops_core::html::chart::{Aim, Line, Lines, named_bars};
use mlops_core::html::{Escaped, short};
use mlops_core::validate::Severity;

use super::{SHOWN_MAX, percent, place, stamp, told};
use crate::alert::{Alert, AlertState};
use crate::fairness::{Balance, FairnessReport};
use crate::performance::{LevelFinding, Metric, PerformanceReport, Standing};
use crate::retrain::{RetrainReason, RetrainRequest};

/// Pictures of one task.
const METRICS_MAX: usize = 8;

pub(super) fn performance(reports: &[&PerformanceReport], out: &mut String) -> fmt::Result {
    let Some(last) = reports.last() else { return Ok(()) };
    out.write_str("<h2>Performance</h2>")?;
    for task in &last.tasks {
        write!(
            out,
            "<h3>{} <small>{} samples in the last window</small></h3><div class=\"cards\">",
            Escaped(task.task.as_str()),
            task.samples
        )?;
        let level = |metric: Metric| {
            last.levels.iter().find(|finding| finding.level.task == task.task && finding.level.metric == metric)
        };
        let mut metrics: Vec<Metric> = reports
            .iter()
            .flat_map(|report| report.tasks.iter().filter(|t| t.task == task.task))
            .flat_map(|task| task.metrics.keys().copied())
            .collect();
        metrics.sort_unstable_by_key(|metric| (level(*metric).is_none(), *metric));
        metrics.dedup();
        for metric in metrics.into_iter().take(METRICS_MAX) {
            write_metric(metric, task.task.as_str(), level(metric), reports, out)?;
        }
        out.write_str("</div>\n")?;
    }
    Ok(())
}

fn write_metric(
    metric: Metric,
    task: &str,
    level: Option<&LevelFinding>,
    reports: &[&PerformanceReport],
    out: &mut String,
) -> fmt::Result {
    write!(out, "<div class=\"card\"><h3>{}", metric.name().replace('_', " "))?;
    if let Some(finding) = level {
        let (class, told) = match finding.standing {
            Standing::Held => ("ok", "held"),
            Standing::Degraded => ("bad", "degraded"),
            Standing::Inconclusive => ("note", "no verdict"),
        };
        write!(out, "<span class=\"badge {class}\">{told}</span>")?;
    }
    out.write_str("</h3>")?;
    let aim = level.map(|finding| {
        let (value, tolerance) = (finding.level.reference, finding.level.tolerance);
        let limit = if metric.is_better_greater() { value - tolerance } else { value + tolerance };
        Aim { value, limit }
    });
    let lines = Lines {
        places: reports.iter().map(|report| place(report.window.end)).collect(),
        series: vec![Line {
            name: metric.name(),
            values: reports.iter().map(|report| report.metric(task, metric)).collect(),
        }],
        aim,
        marks: Vec::new(),
        from_zero: false,
        shown: short,
        told,
    };
    lines.write(out)?;
    if let Some(Aim { value, limit }) = aim {
        write!(out, "<p class=\"legend\">to hold {}, degraded beyond {}</p>", short(value), short(limit))?;
    }
    out.write_str("</div>")
}

pub(super) fn fairness(reports: &[&FairnessReport], out: &mut String) -> fmt::Result {
    // The last of each column.
    let latest: BTreeMap<&str, &FairnessReport> =
        reports.iter().map(|report| (report.column.as_str(), *report)).collect();
    if latest.is_empty() {
        return Ok(());
    }
    out.write_str("<h2>Fairness</h2><div class=\"cards\">")?;
    for (column, report) in latest {
        let (class, told) = match report.balance {
            Balance::Even => ("ok", "even"),
            Balance::Uneven => ("bad", "uneven"),
            Balance::Inconclusive => ("note", "no verdict"),
        };
        write!(
            out,
            "<div class=\"card\"><h3>{}<span class=\"badge {class}\">{told}</span></h3><p class=\"note\">until {}",
            Escaped(column),
            Escaped(&stamp(report.window.end))
        )?;
        for (name, ratio) in [("selection", report.selection_ratio), ("exposure", report.exposure_ratio)] {
            if let Some(ratio) = ratio {
                write!(out, " · {name} ratio {}", short(ratio))?;
            }
        }
        out.write_str("</p><p class=\"legend\">share in the first places</p>")?;
        let bars = |value: fn(&crate::fairness::GroupShare) -> Option<f64>| {
            report.groups.iter().map(|group| (group.group.as_str(), value(group))).collect::<Vec<_>>()
        };
        named_bars(&bars(|group| group.selection_rate), "c0", short, out)?;
        out.write_str("<p class=\"legend\">mean exposure</p>")?;
        named_bars(&bars(|group| group.exposure), "c2", short, out)?;
        if report.ungrouped > 0 {
            write!(out, "<p class=\"legend\">{} rows of no group</p>", report.ungrouped)?;
        }
        out.write_str("</div>")?;
    }
    out.write_str("</div>\n")
}

pub(super) fn alerts(alerts: &[&Alert], out: &mut String) -> fmt::Result {
    if alerts.is_empty() {
        return Ok(());
    }
    out.write_str(
        "<h2>Alerts <small class=\"note\">newest first</small></h2><div class=\"card\"><table><thead><tr><th>when</th>\
         <th></th><th>rule</th><th>about</th><th>in words</th><th class=\"n\">value</th></tr></thead><tbody>\n",
    )?;
    for alert in alerts.iter().rev().take(SHOWN_MAX) {
        let (class, told) = match (alert.state, alert.severity) {
            (AlertState::Resolved, _) => ("ok", "resolved"),
            (AlertState::Firing, Severity::Info) => ("note", "info"),
            (AlertState::Firing, Severity::Warning) => ("warn", "warning"),
            (AlertState::Firing, _) => ("bad", "error"),
        };
        let labels: Vec<String> = alert.labels.iter().map(|(name, value)| format!("{name} {value}")).collect();
        writeln!(
            out,
            "<tr><td>{}</td><td class=\"{class}\">{told}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
            Escaped(&stamp(alert.at)),
            Escaped(alert.name.as_str()),
            Escaped(&labels.join(", ")),
            Escaped(&alert.text),
            short(alert.value)
        )?;
    }
    out.write_str("</tbody></table></div>\n")?;
    if alerts.len() > SHOWN_MAX {
        write!(out, "<p class=\"note\">and {} older ones</p>", alerts.len() - SHOWN_MAX)?;
    }
    Ok(())
}

pub(super) fn retrain(request: &RetrainRequest, out: &mut String) -> fmt::Result {
    write!(
        out,
        "<div class=\"card banner\"><h3>Training was requested <small>at {}, for the model of {}</small></h3>",
        Escaped(&stamp(request.at)),
        Escaped(&stamp(request.since))
    )?;
    for reason in &request.reasons {
        let told = match reason {
            RetrainReason::Drift { columns, share } => {
                format!("{} of the columns have drifted: {}", percent(*share), columns.join(", "))
            }
            RetrainReason::Performance { task, metric, value, reference } => {
                format!("{} of {task} is {}, not {}", metric.name(), short(*value), short(*reference))
            }
            RetrainReason::Age { trained_at } => format!("the model is of {}", stamp(*trained_at)),
            RetrainReason::NewLabels { count } => format!("{count} labelled rows are new"),
        };
        write!(out, "<p class=\"note\">{}</p>", Escaped(&told))?;
    }
    out.write_str("</div>\n")
}
