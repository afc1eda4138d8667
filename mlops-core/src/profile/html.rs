//! A profile as one page: tables and inline pictures, no scripts, nothing from elsewhere.

use std::fmt::{self, Write};

use super::{ColumnProfile, ColumnSummary, Profile};
use crate::EventTime;
use crate::html::{self, Escaped, short};
use crate::profile::ColumnKind;
use crate::stats::{Estimate, Histogram};

const STYLE: &str = "body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1d2733}\
h1{font-size:1.4rem}section{display:flex;flex-wrap:wrap;gap:1.5rem;border-top:1px solid #d5dce3;padding:1rem 0}\
section>div{flex:1 1 18rem;min-width:0}h2{font-size:1rem;margin:0 0 .4rem;overflow-wrap:anywhere}\
h2 small{color:#64748b;font-weight:400}table{border-collapse:collapse}\
td{padding:.1rem .8rem .1rem 0;vertical-align:top;overflow-wrap:anywhere}td+td{text-align:right;font-variant-numeric:tabular-nums}\
svg{width:100%;height:auto}rect{fill:#4878a8}.tail{fill:#c08040}.note{color:#64748b}text{font-size:10px;fill:#64748b}";
const BINS: usize = 40;
const SHOWN_MAX: usize = 80;

pub(crate) fn page(profile: &Profile, title: &str) -> String {
    html::page(title, STYLE, |out| {
        let (title, rows, columns) = (Escaped(title), profile.rows(), profile.columns().len());
        writeln!(out, "<h1>{title}</h1><p class=\"note\">{rows} rows, {columns} columns</p>")?;
        profile.columns().iter().try_for_each(|column| write_column(column, out))
    })
}

fn write_column(column: &ColumnProfile, out: &mut String) -> fmt::Result {
    let summary = ColumnSummary::of(column);
    let (name, data_type) = (Escaped(&summary.name), Escaped(&summary.data_type));
    write!(out, "<section><div><h2>{name} <small>{data_type}</small></h2><table>")?;
    write_counts(&summary, out)?;
    out.write_str("</table></div><div><table>")?;
    write_values(&summary, out)?;
    out.write_str("</table></div><div>")?;
    if let Ok(Some(histogram)) = column.histogram(BINS) {
        write_histogram(&histogram, column.kind(), out)?;
    } else if summary.hidden {
        out.write_str("<p class=\"note\">values hidden</p>")?;
    }
    if !summary.top.is_empty() {
        out.write_str("<table>")?;
        for top in &summary.top {
            let value = Escaped(crate::stats::cut(&top.value, SHOWN_MAX));
            write!(
                out,
                "<tr><td>{value}</td><td>{}</td><td>{:.2} %</td></tr>",
                estimate(top.count),
                100.0 * top.share
            )?;
        }
        out.write_str("</table>")?;
    }
    out.write_str("</div></section>\n")
}

fn write_counts(summary: &ColumnSummary, out: &mut String) -> fmt::Result {
    let share = |count: u64| 100.0 * count as f64 / summary.rows.max(1) as f64;
    for (label, count) in [("nulls", summary.nulls), ("NaN", summary.nan), ("infinite", summary.infinite)] {
        if count > 0 || label == "nulls" {
            write!(out, "<tr><td>{label}</td><td>{count} ({:.2} %)</td></tr>", share(count))?;
        }
    }
    if let Some(distinct) = summary.distinct {
        write!(out, "<tr><td>different values</td><td>{}</td></tr>", estimate(distinct))?;
    }
    for (label, value) in [("min", &summary.min), ("max", &summary.max)] {
        if let Some(value) = value {
            write!(out, "<tr><td>{label}</td><td>{}</td></tr>", Escaped(crate::stats::cut(value, SHOWN_MAX)))?;
        }
    }
    if let (Some(mean), Some((min, max))) = (summary.length_mean, summary.length_range) {
        write!(out, "<tr><td>length</td><td>{min} to {max}, mean {mean:.1}</td></tr>")?;
    }
    Ok(())
}

fn write_values(summary: &ColumnSummary, out: &mut String) -> fmt::Result {
    let moments = [
        ("mean", summary.mean),
        ("standard deviation", summary.standard_deviation),
        ("skew", summary.skew),
        ("kurtosis", summary.kurtosis),
    ];
    for (label, value) in moments {
        if let Some(value) = value {
            write!(out, "<tr><td>{label}</td><td>{}</td></tr>", short(value))?;
        }
    }
    for &(share, value) in &summary.quantiles {
        write!(out, "<tr><td>{} %</td><td>{}</td></tr>", 100.0 * share, place(value, summary.kind))?;
    }
    if summary.rank_error > 0.0 {
        write!(
            out,
            "<tr><td class=\"note\">rank error</td><td class=\"note\">{:.2} %</td></tr>",
            100.0 * summary.rank_error
        )?;
    }
    Ok(())
}

fn write_histogram(histogram: &Histogram, kind: ColumnKind, out: &mut String) -> fmt::Result {
    const WIDTH: f64 = 336.0;
    const HEIGHT: f64 = 90.0;
    let counts = histogram.open_counts();
    let (most, step) = (counts.iter().copied().max().unwrap_or(0).max(1) as f64, WIDTH / counts.len() as f64);
    write!(out, "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">", HEIGHT + 14.0)?;
    for (bin, &count) in counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
        // A row that is there is seen, however few they are.
        let height = (HEIGHT * count as f64 / most).max(1.0);
        let class = if bin == 0 || bin + 1 == counts.len() { " class=\"tail\"" } else { "" };
        let (x, y) = (step * bin as f64, HEIGHT - height);
        write!(
            out,
            "<rect{class} x=\"{x:.2}\" y=\"{y:.2}\" width=\"{:.2}\" height=\"{height:.2}\"><title>{count}</title></rect>",
            step - 0.8
        )?;
    }
    let edges = histogram.edges();
    if let (Some(&low), Some(&high)) = (edges.first(), edges.last()) {
        let y = HEIGHT + 11.0;
        write!(out, "<text x=\"{step:.2}\" y=\"{y}\">{}</text>", place(low, kind))?;
        write!(out, "<text x=\"{:.2}\" y=\"{y}\" text-anchor=\"end\">{}</text>", WIDTH - step, place(high, kind))?;
    }
    out.write_str("</svg>")
}

fn estimate(estimate: Estimate) -> String {
    let Estimate { value, low, high } = estimate;
    if estimate.is_exact() { value.to_string() } else { format!("≈ {value} ({low} to {high})") }
}

fn place(value: f64, kind: ColumnKind) -> String {
    if kind == ColumnKind::Time { EventTime::from_micros(value as i64).to_string() } else { short(value) }
}
