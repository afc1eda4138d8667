//! The story as one page that needs nothing else: no script, nothing loaded, every text escaped.

use std::fmt::{self, Write};

use mlops_core::html::{self, Escaped};

use super::chart::{self, Line};
use crate::journey::{DayStory, Story};
use crate::learn::Lesson;

const TITLE: &str = "A ranking service, and how it was kept honest";

const STYLE: &str = "body{font:15px/1.55 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#1d2733}\
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.15rem;border-top:1px solid #d5dce3;padding-top:1rem;margin-top:2rem}\
.grid2{display:grid;grid-template-columns:1fr 1fr;gap:1.5rem}@media(max-width:50rem){.grid2{grid-template-columns:1fr}}\
table{border-collapse:collapse}td,th{padding:.2rem .9rem .2rem 0;text-align:left;vertical-align:top}\
td.n{text-align:right;font-variant-numeric:tabular-nums}tr+tr td{border-top:1px solid #eef1f4}\
.note,.legend{color:#64748b;font-size:.85rem}svg{width:100%;height:auto}svg text{font-size:11px;fill:#64748b}\
.grid{stroke:#e6ebf0}.mark{stroke:#c08040;stroke-dasharray:4 3}polyline{fill:none;stroke-width:2}\
polyline.a,circle.a{stroke:#2f6fab}circle.a{fill:#2f6fab}polyline.b,circle.b{stroke:#9aa7b4}circle.b{fill:#9aa7b4}\
polyline.c,circle.c{stroke:#3f9a6c}circle.c{fill:#3f9a6c}.legend span{margin-right:1rem}.legend .a{color:#2f6fab}\
.legend .b{color:#7d8a97}.legend .c{color:#3f9a6c}.bars{width:100%}.bars td:nth-child(2){width:60%}.bars td:last-child{white-space:nowrap}\
.bars div{background:#2f6fab;height:.8rem;border-radius:2px}.ok{color:#2e7d4f}.bad{color:#b3261e}\
.cards{display:flex;flex-wrap:wrap;gap:1rem;margin:1.2rem 0}.card{flex:1 1 9rem;border:1px solid #d5dce3;border-radius:6px;padding:.6rem .9rem}\
.card b{display:block;font-size:1.3rem;font-variant-numeric:tabular-nums}";

/// The page.
pub fn page(story: &Story) -> String {
    html::page(TITLE, STYLE, |out| write(story, out))
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
    let text = |value: Option<f64>| value.map_or("–".to_owned(), chart::number);
    let swap = figures.swap_ms.map_or("–".to_owned(), |ms| format!("{ms:.1} ms"));
    let cards = [
        ("NDCG@10 before the turn", chart::number(figures.ndcg_before_shift)),
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

fn over_days(story: &Story, value: impl Fn(&DayStory) -> f64) -> Vec<(f64, f64)> {
    story.days.iter().map(|day| (f64::from(day.day), value(day))).collect()
}

fn quality(story: &Story, out: &mut String) -> fmt::Result {
    let served = Line { name: "served", class: "a", points: over_days(story, |day| day.verdicts.served.ndcg()) };
    let popular =
        Line { name: "most popular first", class: "b", points: over_days(story, |day| day.verdicts.popularity.ndcg()) };
    write!(
        out,
        "<h2>How good the pages were</h2><div class=\"grid2\"><div><p>True NDCG@10, which nothing that learns ever sees</p>{}</div>",
        chart::lines(&[served, popular], &marks(story), None)
    )?;
    if story.plan.sells {
        let revenue =
            Line { name: "VND a request", class: "c", points: over_days(story, |day| day.verdicts.served.revenue()) };
        write!(out, "<div><p>Revenue per request</p>{}</div>", chart::lines(&[revenue], &marks(story), Some(0.0)))?;
    } else {
        let clicks = Line {
            name: "liked on the page",
            class: "c",
            points: over_days(story, |day| day.verdicts.served.clicks()),
        };
        write!(
            out,
            "<div><p>Films on the page that were then liked</p>{}</div>",
            chart::lines(&[clicks], &marks(story), Some(0.0))
        )?;
    }
    let share = |day: &DayStory, share: usize| {
        let place = (day.times_us.len() * share).div_ceil(100).saturating_sub(1);
        day.times_us.get(place).map_or(f64::NAN, |us| *us as f64)
    };
    let p50 = Line { name: "p50", class: "a", points: over_days(story, |day| share(day, 50)) };
    let p99 = Line { name: "p99", class: "b", points: over_days(story, |day| share(day, 99)) };
    let exact = |metric| {
        move |day: &DayStory| {
            day.seen
                .iter()
                .flat_map(|seen| &seen.performance)
                .filter_map(|report| report.metric("click", metric))
                .next_back()
                .unwrap_or(f64::NAN)
        }
    };
    let auc = Line {
        name: "AUC of clicks",
        class: "c",
        points: over_days(story, exact(mlops_monitor::performance::Metric::Auc)),
    };
    write!(
        out,
        "<div><p>Time of an answer in µs, as the client saw it</p>{}</div><div><p>What the monitor measured from late labels</p>{}</div></div>",
        chart::lines(&[p50, p99], &marks(story), Some(0.0)),
        chart::lines(&[auc], &marks(story), None)
    )
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
            chart::number(largest)
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
             <div class=\"grid2\"><div>{}</div><div>{}</div></div>",
            lesson.version,
            Escaped(why),
            lesson.rows,
            lesson.trained_on.short(),
            demands(lesson),
            chart::bars(&top(lesson), " %")
        )?;
    }
    Ok(())
}

fn demands(lesson: &Lesson) -> String {
    let number = |value: Option<f64>| value.map_or("–".to_owned(), chart::number);
    let mut out = String::from("<table><tr><th>who</th><th>candidate</th><th>champion</th><th></th></tr>");
    for finding in &lesson.promotion.judgement().findings {
        let (class, word) = if finding.passed { ("ok", "holds") } else { ("bad", "does not hold") };
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"{class}\">{word}</td></tr>",
            Escaped(&finding.demand.as_str().replace('_', " ")),
            number(finding.candidate),
            number(finding.champion)
        );
    }
    out + "</table>"
}

fn top(lesson: &Lesson) -> Vec<(String, f64)> {
    lesson.importance.iter().take(8).map(|(name, share)| (Escaped(name).to_string(), 100.0 * share)).collect()
}

fn intake(story: &Story, out: &mut String) -> fmt::Result {
    out.write_str("<h2>How data came in</h2><div class=\"grid2\"><div><table><tr><th>data set</th><th>rows</th><th>set aside</th></tr>")?;
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
