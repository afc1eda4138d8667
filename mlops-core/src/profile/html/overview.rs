//! What is told of the whole table.

use std::fmt::{self, Write};

use super::{Alert, ColumnProfile, Profile, Relations, estimate, percent};
use crate::html::Escaped;
use crate::html::chart::{Heat, heat, legend, named_bars};

/// Columns of the picture of relations.
const RELATED_SHOWN: usize = 40;
/// Pairs of columns that are listed.
const PAIRS_SHOWN: usize = 12;
/// Columns with missing values that are listed.
const MISSING_SHOWN: usize = 20;
/// Alerts that are listed.
const ALERTS_SHOWN: usize = 60;
/// Strength from which on a pair is listed.
const STRONG: f64 = 0.3;

pub(super) fn write(
    profile: &Profile,
    alerts: &[Alert],
    relations: Option<&Relations>,
    out: &mut String,
) -> fmt::Result {
    write_tiles(profile, alerts, relations, out)?;
    out.write_str("<div class=\"two\">")?;
    write_alerts(alerts, out)?;
    write_missing(profile, out)?;
    out.write_str("</div>")?;
    match relations {
        Some(relations) if relations.columns().len() > 1 => write_relations(relations, out),
        _ => Ok(()),
    }
}

fn missing(column: &ColumnProfile) -> u64 {
    column.nulls() + column.nan()
}

fn write_tiles(profile: &Profile, alerts: &[Alert], relations: Option<&Relations>, out: &mut String) -> fmt::Result {
    let (rows, columns) = (profile.rows(), profile.columns().len());
    let missing: u64 = profile.columns().iter().map(missing).sum();
    let urgent = alerts.iter().filter(|alert| alert.kind.rank() == 0).count();
    let sensitive = profile.columns().iter().filter(|column| column.is_sensitive()).count();
    write!(out, "<div class=\"tiles\"><div class=\"tile\"><b>{}</b><span>rows</span></div>", grouped(rows))?;
    write!(out, "<div class=\"tile\"><b>{columns}</b><span>columns</span></div>")?;
    let cells = rows.saturating_mul(columns as u64);
    write!(out, "<div class=\"tile\"><b>{}</b><span>of cells missing</span></div>", percent(missing, cells))?;
    if let Some(relations) = relations {
        let copies = relations.duplicates();
        let told = if copies.is_exact() { "of rows are copies" } else { "of rows are copies, estimated" };
        let class = if copies.low > 0 { " bad" } else { "" };
        write!(
            out,
            "<div class=\"tile{class}\"><b>{}</b><span title=\"{} rows\">{told}</span></div>",
            percent(copies.value, rows),
            Escaped(&estimate(copies))
        )?;
    }
    let class = if sensitive > 0 { " warn" } else { "" };
    write!(out, "<div class=\"tile{class}\"><b>{sensitive}</b><span>columns not shown</span></div>")?;
    let class = if urgent > 0 { " bad" } else { "" };
    write!(out, "<div class=\"tile{class}\"><b>{}</b><span>alerts, {urgent} urgent</span></div></div>", alerts.len())
}

fn write_alerts(alerts: &[Alert], out: &mut String) -> fmt::Result {
    out.write_str("<div class=\"card\"><h3>Alerts</h3>")?;
    let told: Vec<&Alert> = alerts.iter().filter(|alert| alert.kind.rank() < 2).collect();
    if told.is_empty() {
        out.write_str("<p class=\"note\">nothing striking</p>")?;
    }
    out.write_str("<table>")?;
    for alert in told.iter().take(ALERTS_SHOWN) {
        let column = alert.column.as_deref().unwrap_or("whole rows");
        let (rank, text) = (alert.kind.rank(), alert.kind.to_string());
        write!(
            out,
            "<tr><td>{}</td><td><span class=\"chip r{rank}\">{}</span></td></tr>",
            Escaped(column),
            Escaped(&text)
        )?;
    }
    out.write_str("</table>")?;
    if told.len() > ALERTS_SHOWN {
        write!(out, "<p class=\"note\">and {} more, at their columns</p>", told.len() - ALERTS_SHOWN)?;
    }
    out.write_str("</div>")
}

fn write_missing(profile: &Profile, out: &mut String) -> fmt::Result {
    let mut columns: Vec<&ColumnProfile> = profile.columns().iter().filter(|column| missing(column) > 0).collect();
    columns.sort_by_key(|column| std::cmp::Reverse(missing(column)));
    out.write_str("<div class=\"card\"><h3>Missing values</h3>")?;
    if columns.is_empty() {
        return out.write_str("<p class=\"note\">none</p></div>");
    }
    let rows = profile.rows().max(1) as f64;
    let percent = |column: &ColumnProfile| Some(100.0 * missing(column) as f64 / rows);
    let bars: Vec<(&str, Option<f64>)> =
        columns.iter().take(MISSING_SHOWN).map(|column| (column.name(), percent(column))).collect();
    named_bars(&bars, "c0", |share| format!("{share:.2} %"), out)?;
    if columns.len() > MISSING_SHOWN {
        write!(out, "<p class=\"note\">and {} columns more</p>", columns.len() - MISSING_SHOWN)?;
    }
    out.write_str("</div>")
}

fn write_relations(relations: &Relations, out: &mut String) -> fmt::Result {
    let strengths = relations.strengths();
    let names: Vec<&str> = relations.columns().iter().map(|column| column.name.as_str()).collect();
    out.write_str("<h2>Relations</h2><div class=\"two\"><div class=\"card\">")?;
    let shown = &names[..names.len().min(RELATED_SHOWN)];
    let picture = Heat { rows: shown, columns: shown, is_told: true };
    let below = |row: usize, column: usize| if column < row { strengths[row][column] } else { None };
    heat(&picture, shown.len(), below, out)?;
    legend([("c0", "positive, or Cramér's V"), ("c1", "negative")], out)?;
    out.write_str("</div><div class=\"card\"><h3>Strongest pairs</h3><table>")?;
    let pairs = strongest(&strengths);
    if pairs.is_empty() {
        write!(out, "<tr><td>no pair is stronger than {STRONG}</td></tr>")?;
    }
    for (a, b, strength) in pairs {
        let (a, b) = (names[a], names[b]);
        let ranks = relations.spearman(a, b).map(|ranks| format!(", by rank {:.2}", ranks.value));
        let measure = if ranks.is_some() { "Pearson" } else { "Cramér's V" };
        write!(
            out,
            "<tr><td>{} · {}</td><td>{measure} {strength:.3}{}</td></tr>",
            Escaped(a),
            Escaped(b),
            ranks.unwrap_or_default()
        )?;
    }
    let basis = if relations.is_exact() { "all" } else { "a random sample of" };
    write!(
        out,
        "</table><p class=\"note\">Pearson's correlation is exact over all rows; Cramér's V (corrected for bias) and ranks are told \
         from {basis} {} different rows.</p></div></div>",
        relations.examined()
    )
}

fn strongest(strengths: &[Vec<Option<f64>>]) -> Vec<(usize, usize, f64)> {
    let mut pairs = Vec::new();
    for (a, row) in strengths.iter().enumerate() {
        let strong = row.iter().enumerate().skip(a + 1).filter_map(|(b, strength)| Some((a, b, (*strength)?)));
        pairs.extend(strong.filter(|pair| pair.2.abs() >= STRONG));
    }
    pairs.sort_by(|x, y| y.2.abs().total_cmp(&x.2.abs()));
    pairs.truncate(PAIRS_SHOWN);
    pairs
}

/// Digits in groups of three.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}
