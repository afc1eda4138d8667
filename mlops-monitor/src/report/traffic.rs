//! Requests and their times.

use std::fmt::{self, Write};

use mlops_core::html::chart::{Line, Lines, paired_bars};
use mlops_core::html::short;

use super::{duration, place, told};
use crate::window::Traffic;
use crate::{LATENCY_BOUNDS_US, Latency, WindowStats};

pub(super) fn write(windows: &[&WindowStats], out: &mut String) -> fmt::Result {
    if windows.is_empty() {
        return Ok(());
    }
    let places: Vec<f64> = windows.iter().map(|stats| place(stats.window.end)).collect();
    let of = |value: fn(&Traffic) -> f64| windows.iter().map(|stats| Some(value(&stats.traffic))).collect();
    out.write_str("<h2>Traffic and latency</h2><div class=\"cards\"><div class=\"card\"><h3>Requests per window</h3>")?;
    let mut series = vec![
        Line { name: "answered", values: of(|traffic| traffic.requests as f64) },
        Line { name: "failed", values: of(|traffic| traffic.failures as f64) },
        Line { name: "degraded", values: of(|traffic| traffic.degraded as f64) },
    ];
    // A line at 0 would only hide the other one.
    series.retain(|line| line.name == "answered" || line.values.iter().any(|value| *value != Some(0.0)));
    let requests =
        Lines { places: places.clone(), series, aim: None, marks: Vec::new(), from_zero: true, shown: short, told };
    requests.write(out)?;
    out.write_str("</div><div class=\"card\"><h3>Time from query to answer</h3>")?;
    let quantile = |share: f64| -> Vec<Option<f64>> {
        windows.iter().map(|stats| stats.traffic.latency.quantile_us(share).ok().flatten()).collect()
    };
    let latency = Lines {
        places,
        series: vec![Line { name: "median", values: quantile(0.5) }, Line { name: "p99", values: quantile(0.99) }],
        aim: None,
        marks: Vec::new(),
        from_zero: true,
        shown: duration,
        told,
    };
    latency.write(out)?;
    out.write_str("</div><div class=\"card\"><h3>Answers by time <small>all windows</small></h3>")?;
    let mut sum = Latency::default();
    windows.iter().for_each(|stats| sum.merge(&stats.traffic.latency));
    write_histogram(&sum, out)?;
    out.write_str("</div></div>\n")
}

fn write_histogram(latency: &Latency, out: &mut String) -> fmt::Result {
    let counts = latency.buckets();
    let (Some(first), Some(last)) =
        (counts.iter().position(|count| *count > 0), counts.iter().rposition(|count| *count > 0))
    else {
        return out.write_str("<p class=\"note\">no answers</p>");
    };
    let bound = |bucket: usize| LATENCY_BOUNDS_US.get(bucket).map_or(latency.max_us() as f64, |us| *us as f64);
    let below = |bucket: usize| bucket.checked_sub(1).map_or(0.0, bound);
    let all = latency.count().max(1) as f64;
    let shares: Vec<(f64, f64)> = counts[first..=last].iter().map(|count| (0.0, *count as f64 / all)).collect();
    let tell = |bin: usize| {
        let bucket = first + bin;
        format!("{} answers above {}, up to {}", counts[bucket], duration(below(bucket)), duration(bound(bucket)))
    };
    let ends = (format!("from {}", duration(below(first))), format!("up to {}", duration(bound(last))));
    paired_bars(&shares, (&ends.0, &ends.1), "c0", tell, out)?;
    let mean = latency.sum_seconds() * 1e6 / all;
    let (mean, longest) = (duration(mean), duration(latency.max_us() as f64));
    write!(out, "<p class=\"legend\">mean {mean}, longest {longest}; the buckets grow</p>")
}
