//! The story in a few lines for the terminal.

use std::fmt::Write;

use super::Figures;
use crate::journey::Story;

/// What happened, readable.
pub fn summary(story: &Story) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(story, &mut out);
    out
}

fn write(story: &Story, out: &mut String) -> std::fmt::Result {
    let figures = &story.figures;
    writeln!(out, "{}", story.title)?;
    writeln!(out)?;
    table(story.plan.sells, figures, out)?;
    writeln!(out)?;
    for (why, lesson) in &story.lessons {
        let verdict = if lesson.promotion.promoted() { "promoted" } else { "refused" };
        let failed: Vec<&str> = lesson
            .promotion
            .judgement()
            .findings
            .iter()
            .filter(|finding| !finding.passed)
            .map(|finding| finding.demand.as_str())
            .collect();
        let by = if failed.is_empty() { String::new() } else { format!(" by {}", failed.join(", ")) };
        writeln!(out, "version {}: {why}: {verdict}{by}", lesson.version)?;
    }
    writeln!(out)?;
    let swap = figures.swap_ms.map_or("no swap".to_owned(), |ms| format!("longest swap {ms:.1} ms"));
    writeln!(
        out,
        "{} requests, {} failed, p50 {} µs, p99 {} µs, {swap}",
        figures.requests, figures.failed_requests, figures.p50_us, figures.p99_us
    )?;
    for load in &figures.load {
        writeln!(
            out,
            "{} connections: {:.0} requests a second, p50 {:.0} µs, p99 {:.0} µs",
            load.connections, load.requests_per_s, load.p50_us, load.p99_us
        )?;
    }
    let drifted = if figures.drifted_columns.is_empty() { "none".to_owned() } else { figures.drifted_columns.join(", ") };
    writeln!(out, "drifted inputs: {drifted}")?;
    let lineage = if figures.lineage_ok { "holds" } else { "IS BROKEN" };
    writeln!(out, "lineage from the served version to raw data {lineage}; served values that differ from the as-of join: {}", figures.skewed_values)
}

fn table(sells: bool, figures: &Figures, out: &mut String) -> std::fmt::Result {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let money = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
    let rows = [
        ("before the turn", Some(figures.ndcg_before_shift), Some(figures.ndcg_popularity), figures.revenue_before_shift),
        ("after it", figures.ndcg_after_shift, None, figures.revenue_after_shift),
        ("with a new model", figures.ndcg_after_retrain, figures.ndcg_popularity_after_retrain, figures.revenue_after_retrain),
        ("last fifth of time", Some(figures.ndcg_last_fifth), Some(figures.ndcg_popularity_last_fifth), None),
    ];
    let revenue = if sells { "  VND/request" } else { "" };
    writeln!(out, "{:20}  NDCG@10  popularity{revenue}", "")?;
    for (name, served, popular, sold) in rows {
        let sold = if sells { format!("  {:>11}", money(sold)) } else { String::new() };
        writeln!(out, "{name:20}  {:>7}  {:>10}{sold}", number(served), number(popular))?;
    }
    Ok(())
}
