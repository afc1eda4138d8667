//! A report as one page of HTML.

use std::fmt::Write;

use super::report::{number, verdict};
use super::{Finding, Report, Sample};
use crate::html::{self, Escaped};

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2rem;color:#1b1f24}\
table{border-collapse:collapse;margin:1rem 0}\
th,td{padding:.25rem .75rem;border-bottom:1px solid #d0d7de;text-align:left;vertical-align:top}\
td.n{text-align:right;font-variant-numeric:tabular-nums}\
.ok{color:#1a7f37}.FAIL{color:#cf222e;font-weight:600}.warn{color:#9a6700}.info{color:#57606a}\
code{word-break:break-all}";

pub(super) fn page(report: &Report) -> String {
    html::page("Validation report", STYLE, |page| write_page(report, page))
}

fn write_page(report: &Report, page: &mut String) -> std::fmt::Result {
    let failed = report.findings.iter().filter(|finding| !finding.passed).count();
    write!(
        page,
        "<h1>Validation report</h1>\n\
         <p>{} checks over {} rows: {failed} failed; {} rows rejected.</p>\n",
        report.findings.len(),
        report.rows,
        report.rejected_rows
    )?;
    write!(page, "<p>schema <code>{}</code>", report.schema)?;
    if let Some(digest) = report.dataset {
        write!(page, "<br>data <code>{digest}</code>")?;
    }
    page.push_str(
        "</p>\n<table><thead><tr><th></th><th>check</th><th>demand</th><th>failed rows</th>\
         <th>observed</th><th>detail</th></tr></thead>\n<tbody>\n",
    );
    report.findings.iter().try_for_each(|finding| write_finding(finding, page))?;
    page.push_str("</tbody></table>\n");
    write_samples(&report.samples, page)
}

fn write_finding(finding: &Finding, page: &mut String) -> std::fmt::Result {
    let verdict = verdict(finding);
    let mut detail = finding.detail.clone();
    for (name, value) in &finding.measures {
        let gap = if detail.is_empty() { "" } else { ", " };
        write!(detail, "{gap}{name} {}", number(Some(*value)))?;
    }
    writeln!(
        page,
        "<tr><td class=\"{verdict}\">{verdict}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td><td>{}</td></tr>",
        Escaped(finding.check.as_str()),
        Escaped(&finding.demand),
        finding.failed_rows,
        number(finding.observed),
        Escaped(&detail)
    )
}

fn write_samples(samples: &[Sample], page: &mut String) -> std::fmt::Result {
    if samples.is_empty() {
        return Ok(());
    }
    page.push_str(
        "<h2>Some rows that do not fit</h2>\n\
         <table><thead><tr><th>check</th><th>row</th><th>values</th></tr></thead>\n<tbody>\n",
    );
    for sample in samples {
        write!(page, "<tr><td>{}</td><td class=\"n\">{}</td><td>", Escaped(sample.check.as_str()), sample.row)?;
        for (position, cell) in sample.cells.iter().enumerate() {
            let gap = if position == 0 { "" } else { "<br>" };
            write!(page, "{gap}{} = {}", Escaped(&cell.column), Escaped(&cell.value.to_string()))?;
        }
        page.push_str("</td></tr>\n");
    }
    page.push_str("</tbody></table>\n");
    Ok(())
}
