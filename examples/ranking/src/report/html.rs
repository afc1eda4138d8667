//! The story as one page that needs nothing else: no script, nothing loaded, every text escaped.

use std::fmt::{self, Write};

use mlops_core::html::chart::{self, Line, Lines, named_bars};
use mlops_core::html::{self, Escaped};

use crate::journey::{DayStory, Story};
use crate::learn::Lesson;

const TITLE: &str = "A ranking service, and how it was kept honest";

const STYLE: &str = "body{font:15px/1.55 system-ui,sans-serif;margin:0 auto;max-width:62rem;padding:2rem 1rem;color:var(--ink);background:var(--back)}\
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.15rem;border-top:1px solid var(--line);padding-top:1rem;margin-top:2rem}\
.two{display:grid;grid-template-columns:1fr 1fr;gap:1.5rem}@media(max-width:50rem){.two{grid-template-columns:1fr}}\
table{border-collapse:collapse}td,th{padding:.2rem .9rem .2rem 0;text-align:left;vertical-align:top}\
td.n{text-align:right;font-variant-numeric:tabular-nums}tr+tr td{border-top:1px solid var(--line)}\
.note{color:var(--soft);font-size:.85rem}.ok{color:var(--ok)}.bad{color:var(--bad)}\
.cards{display:flex;flex-wrap:wrap;gap:1rem;margin:1.2rem 0}.card{flex:1 1 9rem;border:1px solid var(--line);border-radius:6px;padding:.6rem .9rem;background:var(--card)}\
.card b{display:block;font-size:1.3rem;font-variant-numeric:tabular-nums}";

/// The page.
pub fn page(story: &Story) -> String {
    html::page(TITLE, &format!("{}{STYLE}", chart::STYLE), |out| write(story, out))
}

fn write(story: &Story, out: &mut String) -> fmt::Result {
    write!(out, "<h1>{TITLE}</h1><p class=\"note\">{}</p>", Escaped(&story.title))?;
    cards(story, out)?;
    quality(story, out)?;
    drift(story, out)?;
    lessons(story, out)?;
    intake(story, out)?;
    write!(
        out,
        "<h2>What went into the version that serves</h2><p class=\"note\">A Mermaid flow \
         chart of contents and operations</p><pre>{}</pre>",
        Escaped(&story.lineage)
    )
}

fn cards(story: &Story, out: &mut String) -> fmt::Result {
    let figures = &story.figures;
    let text = |value: Option<f64>| value.map_or("–".to_owned(), number);
    let swap = figures.swap_ms.map_or("–".to_owned(), |ms| format!("{ms:.1} ms"));
    let cards = [
        ("NDCG@10 before the turn", number(figures.ndcg_before_shift)),
        ("after it", text(figures.ndcg_after_shift)),
        ("with the new model", text(figures.ndcg_after_retrain)),
        ("requests", figures.requests.to_string()),
        ("of them failed", figures.failed_requests.to_string()),
        ("swap", swap),
        ("p50 / p99", format!("{} / {} µs", figures.p50_us, figures.p99_us)),
        ("lineage", if figures.lineage_ok { "holds" } else { "broken" }.to_owned()),
    ];
    out.write_str("<div class=\"cards\">")?;
    for (name, value) in cards {
        write!(out, "<div class=\"card\"><b>{value}</b>{name}</div>")?;
    }
    out.write_str("</div>")
}

/// Where the turn came and where models were swapped.
fn marks(story: &Story) -> Vec<(f64, String)> {
    let swaps = story.days.iter().filter(|day| day.versions.len() > 1);
    let swaps = swaps.map(|day| (f64::from(day.day), "swap".to_owned()));
    std::iter::once((f64::from(story.plan.turn), "turn".to_owned())).chain(swaps).collect()
}

fn over_days<'a>(story: &Story, name: &'a str, value: impl Fn(&DayStory) -> f64) -> Line<'a> {
    Line { name, values: story.days.iter().map(|day| Some(value(day))).collect() }
}

/// A picture below its title, over the days of the story.
fn picture(story: &Story, title: &str, series: Vec<Line<'_>>, from_zero: bool, out: &mut String) -> fmt::Result {
    write!(out, "<div><p>{title}</p>")?;
    let places = story.days.iter().map(|day| f64::from(day.day)).collect();
    let told = |day: f64| format!("day {day:.0}");
    Lines { places, series, aim: None, marks: marks(story), from_zero, shown: number, told }.write(out)?;
    out.write_str("</div>")
}

/// Three significant digits.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1_000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn quality(story: &Story, out: &mut String) -> fmt::Result {
    out.write_str("<h2>How good the pages were</h2><div class=\"two\">")?;
    let served = over_days(story, "served", |day| day.verdicts.served.ndcg());
    let popular = over_days(story, "most popular first", |day| day.verdicts.popularity.ndcg());
    picture(story, "True NDCG@10, which nothing that learns ever sees", vec![served, popular], false, out)?;
    if story.plan.sells {
        let revenue = over_days(story, "VND a request", |day| day.verdicts.served.revenue());
        picture(story, "Revenue per request", vec![revenue], true, out)?;
    } else {
        let clicks = over_days(story, "liked on the page", |day| day.verdicts.served.clicks());
        picture(story, "Films on the page that were then liked", vec![clicks], true, out)?;
    }
    let share = |day: &DayStory, share: usize| {
        let place = (day.times_us.len() * share).div_ceil(100).saturating_sub(1);
        day.times_us.get(place).map_or(f64::NAN, |us| *us as f64)
    };
    let times = [("p50", 50), ("p99", 99)].map(|(name, of)| over_days(story, name, |day| share(day, of)));
    picture(story, "Time of an answer in µs, as the client saw it", times.into(), true, out)?;
    let auc = |day: &DayStory| {
        let reports = day.seen.iter().flat_map(|seen| &seen.performance);
        let mut found = reports.filter_map(|report| report.metric("click", mlops_monitor::performance::Metric::Auc));
        found.next_back().unwrap_or(f64::NAN)
    };
    let auc = over_days(story, "AUC of clicks", auc);
    picture(story, "What the monitor measured from late labels", vec![auc], false, out)?;
    out.write_str("</div>")
}

fn drift(story: &Story, out: &mut String) -> fmt::Result {
    out.write_str("<h2>What drifted</h2><table><tr><th>window</th><th>columns</th><th>largest effect</th></tr>")?;
    let reports = story.days.iter().flat_map(|day| &day.seen).flat_map(|seen| &seen.drift);
    let mut stable = 0;
    for report in reports {
        let drifted = report.drifted();
        if drifted.is_empty() {
            stable += 1;
            continue;
        }
        let largest = report.columns.iter().map(|column| column.now.effect).fold(0.0, f64::max);
        write!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
            Escaped(&report.window.start.to_string()[..10]),
            Escaped(&drifted.join(", ")),
            number(largest)
        )?;
    }
    write!(out, "</table><p class=\"note\">{stable} windows were stable</p>")
}

fn lessons(story: &Story, out: &mut String) -> fmt::Result {
    out.write_str("<h2>What was learned, and who let it pass</h2>")?;
    for (why, lesson) in &story.lessons {
        let (class, verdict) = if lesson.promotion.promoted() { ("ok", "promoted") } else { ("bad", "refused") };
        write!(
            out,
            "<h3>Version {}: {} <span class=\"{class}\">{verdict}</span></h3><p class=\"note\">{} rows, training data {}</p>\
             <div class=\"two\"><div>{}</div><div>",
            lesson.version,
            Escaped(why),
            lesson.rows,
            lesson.trained_on.short(),
            demands(lesson)
        )?;
        let top: Vec<(&str, Option<f64>)> =
            lesson.importance.iter().take(8).map(|(name, share)| (name.as_str(), Some(100.0 * share))).collect();
        named_bars(&top, "c0", |share| format!("{share:.1} %"), out)?;
        out.write_str("</div></div>")?;
    }
    Ok(())
}

fn demands(lesson: &Lesson) -> String {
    let known = |value: Option<f64>| value.map_or("–".to_owned(), number);
    let mut out = String::from("<table><tr><th>who</th><th>candidate</th><th>champion</th><th></th></tr>");
    for finding in &lesson.promotion.judgement().findings {
        let (class, word) = if finding.passed { ("ok", "holds") } else { ("bad", "does not hold") };
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"{class}\">{word}</td></tr>",
            Escaped(&finding.demand.as_str().replace('_', " ")),
            known(finding.candidate),
            known(finding.champion)
        );
    }
    out + "</table>"
}

fn intake(story: &Story, out: &mut String) -> fmt::Result {
    out.write_str("<h2>How data came in</h2><div class=\"two\"><div><table><tr><th>data set</th><th>rows</th><th>set aside</th></tr>")?;
    for (name, report) in &story.intake.checked {
        write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            Escaped(name),
            report.rows,
            report.rejected_rows
        )?;
    }
    out.write_str("</table></div><div><table><tr><th>personal data</th><th>cells treated</th></tr>")?;
    for (_, audit) in &story.intake.masked {
        for (column, treated) in &audit.treated {
            write!(out, "<tr><td>{}</td><td class=\"n\">{}</td></tr>", Escaped(column), treated.cells)?;
        }
        for column in &audit.dropped {
            write!(out, "<tr><td>{}</td><td class=\"n\">left out</td></tr>", Escaped(column))?;
        }
    }
    out.write_str("</table></div></div>")?;
    for (name, changes) in &story.intake.cleaned {
        write!(out, "<p>{} was cleaned:</p><pre>{}</pre>", Escaped(name), Escaped(&changes.to_string()))?;
    }
    out.write_str("<h2>Joins of the first training table</h2><table><tr><th>view</th><th>matched</th><th>expired</th><th>only later</th><th>unknown key</th><th>would have leaked</th></tr>")?;
    for join in &story.joins {
        write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            Escaped(join.view.as_str()),
            join.matched,
            join.expired,
            join.future_only,
            join.unknown_key,
            join.leaked
        )?;
    }
    out.write_str("</table>")
}
