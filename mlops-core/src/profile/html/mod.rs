//! A profile as one page: pictures and tables, no scripts, nothing from elsewhere.

mod column;
mod overview;

use std::fmt::{self, Write};

use super::{Alert, AlertKind, ColumnKind, ColumnProfile, Profile, Relations};
use crate::html::chart;
use crate::html::{self, Escaped};
use crate::stats::Estimate;

const STYLE: &str = include_str!("style.css");

/// Whether a column, with alerts or without, belongs to a button.
type Belongs = fn(&ColumnProfile, bool) -> bool;

/// Buttons that choose among the columns.
const FILTERS: [(&str, Belongs); 6] = [
    ("all", |_, _| true),
    ("numbers", |column, _| column.kind() == ColumnKind::Number),
    ("texts", |column, _| column.kind() == ColumnKind::Text),
    ("times", |column, _| column.kind() == ColumnKind::Time),
    ("booleans", |column, _| column.kind() == ColumnKind::Boolean),
    ("with alerts", |_, is_alerted| is_alerted),
];

pub(crate) fn page(profile: &Profile, title: &str) -> String {
    html::page(title, &format!("{}{STYLE}", chart::STYLE), |out| {
        let (alerts, relations) = (profile.alerts(), profile.relations());
        write!(out, "<div class=\"page\"><h1>{}</h1>", Escaped(title))?;
        overview::write(profile, &alerts, relations.as_ref(), out)?;
        write_columns(profile, &alerts, out)?;
        out.write_str("</div>")
    })
}

fn write_columns(profile: &Profile, alerts: &[Alert], out: &mut String) -> fmt::Result {
    let of = |column: &ColumnProfile| -> Vec<&AlertKind> {
        let own = alerts.iter().filter(|alert| alert.column.as_deref() == Some(column.name()));
        own.map(|alert| &alert.kind).collect()
    };
    out.write_str("<h2>Columns</h2>")?;
    for (place, (name, belongs)) in FILTERS.iter().enumerate() {
        let count = profile.columns().iter().filter(|column| belongs(column, is_alerted(&of(column)))).count();
        let checked = if place == 0 { " checked" } else { "" };
        write!(
            out,
            "<input class=\"f\" type=\"radio\" name=\"f\" id=\"f{place}\"{checked}><label for=\"f{place}\">{name} {count}</label>"
        )?;
    }
    profile.columns().iter().try_for_each(|column| column::write(column, &of(column), out))
}

/// Whether one of `alerts` is more than good to know.
fn is_alerted(alerts: &[&AlertKind]) -> bool {
    alerts.iter().any(|alert| alert.rank() < 2)
}

/// An estimate with half of its interval, in per cent of it.
fn estimate(estimate: Estimate) -> String {
    let Estimate { value, low, high } = estimate;
    if estimate.is_exact() {
        return value.to_string();
    }
    if value == 0 {
        return format!("0 to {high}");
    }
    format!("≈ {value} ± {:.1} %", 50.0 * (high - low) as f64 / value as f64)
}

fn percent(count: u64, rows: u64) -> String {
    let share = 100.0 * count as f64 / rows.max(1) as f64;
    if share > 0.0 && share < 0.01 { "< 0.01 %".to_owned() } else { format!("{share:.2} %") }
}

#[cfg(test)]
mod tests;
