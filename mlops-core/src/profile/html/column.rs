//! What is told of one column.

use std::fmt::{self, Write};

use super::{AlertKind, ColumnKind, ColumnProfile, estimate, is_alerted, percent};
use crate::EventTime;
use crate::html::chart::{Heat, Tails, heat, histogram};
use crate::html::{Escaped, short};
use crate::profile::{CharacterStats, ColumnSummary, TopValue, WeekHours};

const BINS: usize = 40;
/// Bytes of a value that are shown.
const SHOWN_MAX: usize = 60;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

pub(super) fn write(column: &ColumnProfile, alerts: &[&AlertKind], out: &mut String) -> fmt::Result {
    let summary = ColumnSummary::of(column);
    let kind = match column.kind() {
        ColumnKind::Number => "number",
        ColumnKind::Time => "time",
        ColumnKind::Boolean => "boolean",
        ColumnKind::Text => "text",
        ColumnKind::Other => "other",
    };
    let alerted = if is_alerted(alerts) { " alerted" } else { "" };
    write!(out, "<section class=\"card col {kind}{alerted}\"><div>")?;
    write_head(&summary, alerts, out)?;
    out.write_str("</div><div class=\"split\"><table>")?;
    write_counts(&summary, out)?;
    out.write_str("</table><table>")?;
    write_values(&summary, out)?;
    out.write_str("</table></div><div>")?;
    write_picture(column, &summary, out)?;
    out.write_str("</div></section>\n")
}

fn write_head(summary: &ColumnSummary, alerts: &[&AlertKind], out: &mut String) -> fmt::Result {
    let (name, data_type) = (Escaped(&summary.name), Escaped(&summary.data_type));
    write!(out, "<h3>{name}</h3><span class=\"chip\">{data_type}</span>")?;
    if let Some(meaning) = summary.meaning {
        let share = if meaning.share < 1.0 { format!(" {:.0} %", 100.0 * meaning.share) } else { String::new() };
        write!(out, "<span class=\"chip s\">{}{share}</span>", meaning.semantic.as_str().replace('_', " "))?;
    }
    for alert in alerts {
        write!(out, "<span class=\"chip r{}\">{}</span>", alert.rank(), Escaped(&alert.to_string()))?;
    }
    Ok(())
}

fn row(name: &str, value: &str, out: &mut String) -> fmt::Result {
    write!(out, "<tr><td>{name}</td><td>{}</td></tr>", Escaped(value))
}

fn write_counts(summary: &ColumnSummary, out: &mut String) -> fmt::Result {
    let counted = |count: u64| format!("{count} ({})", percent(count, summary.rows));
    row("nulls", &counted(summary.nulls), out)?;
    let blank = summary.characters.map_or(0, |characters| characters.blank);
    let counts = [
        ("NaN", summary.nan),
        ("infinite", summary.infinite),
        ("blank", blank),
        ("zeros", summary.zeros.unwrap_or(0)),
        ("negative", summary.negatives.unwrap_or(0)),
    ];
    for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        row(name, &counted(count), out)?;
    }
    if let Some(distinct) = summary.distinct {
        row("different", &estimate(distinct), out)?;
    }
    for (name, value) in [("min", &summary.min), ("max", &summary.max)] {
        if let Some(value) = value {
            row(name, crate::stats::cut(&value.replace(".000000Z", "Z"), SHOWN_MAX), out)?;
        }
    }
    if summary.ascending == Some(true) {
        row("order", "ascending", out)?;
    }
    Ok(())
}

fn write_values(summary: &ColumnSummary, out: &mut String) -> fmt::Result {
    let moments = [
        ("mean", summary.mean),
        ("std. deviation", summary.standard_deviation),
        ("skew", summary.skew),
        ("kurtosis", summary.kurtosis),
    ];
    for (name, value) in moments {
        if let Some(value) = value {
            row(name, &short(value), out)?;
        }
    }
    for &(share, value) in &summary.quantiles {
        row(&format!("{} %", 100.0 * share), &place(value, summary.kind), out)?;
    }
    if summary.rank_error > 0.0 && !summary.quantiles.is_empty() {
        row("rank error", &format!("± {:.2} %", 100.0 * summary.rank_error), out)?;
    }
    if let (Some(mean), Some((min, max))) = (summary.length_mean, summary.length_range) {
        row("length", &format!("{min} – {max}, mean {mean:.1}"), out)?;
    }
    summary.characters.map_or(Ok(()), |characters| write_characters(&characters, summary, out))
}

fn write_characters(characters: &CharacterStats, summary: &ColumnSummary, out: &mut String) -> fmt::Result {
    let texts = summary.rows - summary.nulls;
    if texts == 0 {
        return Ok(());
    }
    let CharacterStats { words, letters, digits, blanks, punctuation, beyond_ascii, .. } = *characters;
    row("words", &format!("{:.1} in the mean", words as f64 / texts as f64), out)?;
    let all = letters + digits + blanks + punctuation + beyond_ascii;
    let classes = [
        ("letters", letters),
        ("digits", digits),
        ("blanks", blanks),
        ("punctuation", punctuation),
        ("beyond ASCII", beyond_ascii),
    ];
    for (name, count) in classes.into_iter().filter(|(_, count)| *count > 0) {
        row(name, &percent(count, all), out)?;
    }
    Ok(())
}

fn write_picture(column: &ColumnProfile, summary: &ColumnSummary, out: &mut String) -> fmt::Result {
    if summary.hidden {
        return out.write_str("<p class=\"note\">values are not shown</p>");
    }
    if let Ok(Some(bins)) = column.histogram(BINS) {
        let (low, high) = (bins.edges().first().copied(), bins.edges().last().copied());
        let told = |edge: Option<f64>| edge.map_or(String::new(), |edge| place(edge, summary.kind));
        histogram(&bins.open_counts(), (&told(low), &told(high)), Tails::Open, out)?;
    }
    if let Some(hours) = column.week_hours() {
        out.write_str("<details><summary>hours of the week (UTC)</summary>")?;
        write_week(hours, out)?;
        return out.write_str("</details>");
    }
    write_top(&summary.top, column.kind() == ColumnKind::Number, out)
}

fn write_top(top: &[TopValue], is_folded: bool, out: &mut String) -> fmt::Result {
    if top.is_empty() {
        return Ok(());
    }
    if is_folded {
        out.write_str("<details><summary>frequent values</summary>")?;
    }
    out.write_str("<table class=\"v\">")?;
    let most = top.iter().map(|value| value.share).fold(f64::MIN_POSITIVE, f64::max);
    for TopValue { value, count, share } in top {
        let value = if value.is_empty() { "(empty)" } else { crate::stats::cut(value, SHOWN_MAX) };
        let told = if count.is_exact() { count.value.to_string() } else { format!("≈ {}", count.value) };
        write!(
            out,
            "<tr><td><i style=\"width:{:.0}%\"></i>{}</td><td>{told}</td><td>{:.2} %</td></tr>",
            100.0 * share / most,
            Escaped(value),
            100.0 * share
        )?;
    }
    out.write_str(if is_folded { "</table></details>" } else { "</table>" })
}

fn write_week(hours: &WeekHours, out: &mut String) -> fmt::Result {
    let counts = hours.hours_of_week();
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let picture = Heat { rows: &DAYS, columns: &[], is_told: false };
    // An hour without a time is left out, and so is seen.
    let cell = |day: usize, hour: usize| Some(counts[day * 24 + hour]).filter(|&n| n > 0).map(|n| n as f64 / most);
    heat(&picture, 24, cell, out)
}

fn place(value: f64, kind: ColumnKind) -> String {
    if kind != ColumnKind::Time {
        return short(value);
    }
    let text = EventTime::from_micros(value as i64).to_string();
    text.split('.').next().unwrap_or_default().replace('T', " ").trim_end_matches(" 00:00:00").to_owned()
}
