//! Columns beside their reference.

use std::fmt::{self, Write};

use mlops_core::html::chart::{Line, Lines, legend, paired_bars};
use mlops_core::html::{Escaped, short};
use mlops_core::profile::{ColumnProfile, Profile};
use mlops_core::stats::{DriftMethod, Histogram, Verdict};

use super::{COLUMNS_MAX, percent, place, stamp, told};
use crate::drift::ColumnVerdict;
use crate::{DriftReport, WindowStats};

/// Bins of numbers.
const BINS: usize = 30;
/// Values of other columns that have bars of their own.
const VALUES: usize = 8;
/// Length of a value below a picture, in characters.
const VALUE_CHARS: usize = 24;

pub(super) fn write(
    reports: &[&DriftReport],
    reference: &Profile,
    windows: &[&WindowStats],
    out: &mut String,
) -> fmt::Result {
    let Some(last) = reports.last() else { return Ok(()) };
    write!(
        out,
        "<h2>Drift <small class=\"note\">{} rows until {}</small></h2>",
        last.rows,
        Escaped(&stamp(last.window.end))
    )?;
    let current = windows.iter().rev().find(|stats| stats.window == last.window).map(|stats| &stats.profile);
    let mut columns: Vec<&ColumnVerdict> = last.columns.iter().collect();
    columns.sort_by(|a, b| rank(a).cmp(&rank(b)).then(b.now.effect.total_cmp(&a.now.effect)));
    write_share(reports, out)?;
    out.write_str("<div class=\"cards\">")?;
    for column in columns.iter().take(COLUMNS_MAX) {
        let name = &column.now.column;
        let both = (reference.column(name), current.and_then(|profile| profile.column(name)));
        write_column(column, both, reports, out)?;
    }
    out.write_str("</div>\n")?;
    if columns.len() > COLUMNS_MAX {
        write!(out, "<p class=\"note\">and {} columns with a smaller effect</p>", columns.len() - COLUMNS_MAX)?;
    }
    Ok(())
}

fn rank(column: &ColumnVerdict) -> u8 {
    match column.verdict {
        Verdict::Drifted => 0,
        Verdict::Stable => 1,
        Verdict::Inconclusive => 2,
    }
}

/// The share of drifted columns over the windows, where there are several.
fn write_share(reports: &[&DriftReport], out: &mut String) -> fmt::Result {
    if reports.len() < 2 {
        return Ok(());
    }
    out.write_str("<div class=\"cards\"><div class=\"card\"><h3>Share of drifted columns</h3>")?;
    let lines = Lines {
        places: reports.iter().map(|report| place(report.window.end)).collect(),
        series: vec![Line { name: "drifted", values: reports.iter().map(|report| Some(report.share)).collect() }],
        aim: None,
        marks: Vec::new(),
        from_zero: true,
        shown: percent,
        told,
    };
    lines.write(out)?;
    out.write_str("</div></div>")
}

fn write_column(
    column: &ColumnVerdict,
    (then, now): (Option<&ColumnProfile>, Option<&ColumnProfile>),
    reports: &[&DriftReport],
    out: &mut String,
) -> fmt::Result {
    let (class, verdict) = match column.verdict {
        Verdict::Drifted => ("bad", "drifted"),
        Verdict::Stable => ("ok", "stable"),
        Verdict::Inconclusive => ("note", "no verdict"),
    };
    let method = match column.now.method {
        DriftMethod::Psi => "PSI",
        DriftMethod::Ks => "KS",
        DriftMethod::Robust => "robust effect",
    };
    write!(
        out,
        "<div class=\"card\"><h3>{}<span class=\"badge {class}\">{verdict}</span></h3>\
         <p class=\"note\">{method} {} · {} by chance · in {} of {} windows</p>",
        Escaped(&column.now.column),
        short(column.now.effect),
        short(column.now.expected_by_chance),
        column.hits,
        column.windows
    )?;
    if let (Some(then), Some(now)) = (then, now) {
        let colour = if column.verdict == Verdict::Drifted { "c1" } else { "c0" };
        write_pair(then, now, colour, out)?;
    }
    if reports.len() > 2 {
        write_effects(&column.now.column, reports, out)?;
    }
    out.write_str("</div>")
}

fn write_effects(column: &str, reports: &[&DriftReport], out: &mut String) -> fmt::Result {
    let effect = |report: &&DriftReport| {
        let found = report.columns.iter().find(|c| c.now.column == column);
        found.filter(|c| c.now.verdict != Verdict::Inconclusive).map(|c| c.now.effect)
    };
    let lines = Lines {
        places: reports.iter().map(|report| place(report.window.end)).collect(),
        series: vec![Line { name: "effect", values: reports.iter().map(effect).collect() }],
        aim: None,
        marks: Vec::new(),
        from_zero: true,
        shown: short,
        told,
    };
    lines.write(out)?;
    out.write_str("<p class=\"legend\">effect over the windows</p>")
}

/// Reference and current of one column, side by side.
fn write_pair(then: &ColumnProfile, now: &ColumnProfile, colour: &str, out: &mut String) -> fmt::Result {
    let nulls = |column: &ColumnProfile| percent(column.null_ratio().unwrap_or(0.0));
    if then.is_hidden() || now.is_hidden() {
        let (before, after) = (nulls(then), nulls(now));
        return write!(out, "<p class=\"note\">values hidden; {before} nulls before, {after} now</p>");
    }
    if let Some(bins) = numbers(then, now) {
        write_bins(&bins, colour, out)?;
    } else {
        write_values(&values(then, now), colour, out)?;
    }
    let told = format!("nulls {} → {}", nulls(then), nulls(now));
    legend([("then", "reference"), (colour, "this window")], out)?;
    write!(out, "<p class=\"legend\">{}</p>", Escaped(&told))
}

fn write_bins(Bins { shares, edges }: &Bins, colour: &str, out: &mut String) -> fmt::Result {
    let (Some(low), Some(high)) = (edges.first().copied().map(short), edges.last().copied().map(short)) else {
        return Ok(());
    };
    let tell = |bin: usize| {
        let place = match bin {
            0 => format!("below {low}"),
            bin if bin >= edges.len() => format!("from {high}"),
            bin => format!("{} to {}", short(edges[bin - 1]), short(edges[bin])),
        };
        format!("{place}: {} before, {} now", percent(shares[bin].0), percent(shares[bin].1))
    };
    paired_bars(shares, (&low, &high), colour, tell, out)
}

fn write_values(bars: &[(String, f64, f64)], colour: &str, out: &mut String) -> fmt::Result {
    let shares: Vec<(f64, f64)> = bars.iter().map(|(_, then, now)| (*then, *now)).collect();
    let tell = |bin: usize| {
        let (value, before, after) = &bars[bin];
        format!("{value}: {} before, {} now", percent(*before), percent(*after))
    };
    let name = |bar: Option<&(String, f64, f64)>| bar.map_or(String::new(), |(value, ..)| value.clone());
    paired_bars(&shares, (&name(bars.first()), &name(bars.last())), colour, tell, out)
}

/// Shares of the reference and of the window between common edges, tails included.
struct Bins {
    shares: Vec<(f64, f64)>,
    edges: Vec<f64>,
}

fn numbers(then: &ColumnProfile, now: &ColumnProfile) -> Option<Bins> {
    let reference = then.histogram(BINS).ok()??;
    let edges = match now.histogram(BINS).ok()? {
        Some(now) => common(&reference, &now).unwrap_or(reference),
        None => reference,
    };
    let edges = edges.edges().to_vec();
    let side = |column: &ColumnProfile| -> Option<Vec<f64>> {
        let (ranks, moments) = (column.quantiles()?.ranks(), column.moments()?);
        let finite = moments.count() as f64 / column.rows().max(1) as f64;
        let mut below = 0.0;
        let mut shares = Vec::with_capacity(edges.len() + 1);
        for (place, edge) in edges.iter().enumerate() {
            // The last bin holds its upper edge.
            let next = if place + 1 == edges.len() { ranks.at_or_below(*edge) } else { ranks.below(*edge) };
            shares.push((next - below).max(0.0) * finite);
            below = next;
        }
        shares.push((1.0 - below).max(0.0) * finite);
        Some(shares)
    };
    let moments = now.moments()?;
    let now = if moments.count() > 0 { side(now)? } else { vec![0.0; edges.len() + 1] };
    Some(Bins { shares: side(then)?.into_iter().zip(now).collect(), edges })
}

/// Bins over the range of both; `None` where it is too wide to be cut.
fn common(a: &Histogram, b: &Histogram) -> Option<Histogram> {
    let low = a.edges().first()?.min(*b.edges().first()?);
    let high = a.edges().last()?.max(*b.edges().last()?);
    Histogram::equal_width(low, high, BINS).ok()
}

/// Shares of the reference's most frequent values, then of those that are only frequent now.
fn values(then: &ColumnProfile, now: &ColumnProfile) -> Vec<(String, f64, f64)> {
    let mut found: Vec<(String, f64, f64)> = Vec::new();
    for (column, is_now) in [(then, false), (now, true)] {
        let rows = column.rows().max(1) as f64;
        for item in column.top_values(VALUES) {
            let share = item.count.value as f64 / rows;
            match found.iter_mut().find(|(value, ..)| *value == item.value) {
                Some((_, _, after)) => *after = share,
                None if is_now => found.push((item.value, 0.0, share)),
                None => found.push((item.value, share, 0.0)),
            }
        }
    }
    // A value that is not among the most frequent now may still be there.
    if let Some(frequent) = now.frequent() {
        let rows = now.rows().max(1) as f64;
        for (value, _, after) in found.iter_mut().filter(|(_, _, after)| *after == 0.0) {
            *after = frequent.count(value).value as f64 / rows;
        }
    }
    found.iter_mut().for_each(|(value, ..)| *value = value.chars().take(VALUE_CHARS).collect());
    found
}
