//! A report as JUnit XML, which continuous integration shows as tests.

use std::fmt::{self, Write};

use super::{Finding, Report, Severity};

/// Text that is safe in content and in quoted attributes of XML 1.0, which has no form at all for most control characters.
struct Xml<'a>(&'a str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&apos;")?,
                '\u{fffe}' | '\u{ffff}' => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// One suite with a test per finding, of which those that fail are failures.
pub(super) fn xml(report: &Report, name: &str) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_suite(report, name, &mut out);
    out
}

fn write_suite(report: &Report, name: &str, out: &mut String) -> fmt::Result {
    let failed = report.findings.iter().filter(|finding| !finding.passed).count();
    let (name, tests) = (Xml(name), report.findings.len());
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    writeln!(out, "<testsuites tests=\"{tests}\" failures=\"{failed}\">")?;
    writeln!(out, "<testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failed}\" errors=\"0\" skipped=\"0\">")?;
    writeln!(out, "<properties>")?;
    writeln!(out, "<property name=\"rows\" value=\"{}\"/>", report.rows)?;
    writeln!(out, "<property name=\"schema\" value=\"{}\"/>", report.schema)?;
    if let Some(digest) = report.dataset {
        writeln!(out, "<property name=\"dataset\" value=\"{digest}\"/>")?;
    }
    writeln!(out, "</properties>")?;
    report.findings.iter().try_for_each(|finding| write_case(finding, &name, out))?;
    out.push_str("</testsuite>\n</testsuites>\n");
    Ok(())
}

fn write_case(finding: &Finding, suite: &Xml<'_>, out: &mut String) -> fmt::Result {
    write!(out, "<testcase classname=\"{suite}\" name=\"{}\"", Xml(finding.check.as_str()))?;
    if finding.passed {
        return out.write_str("/>\n");
    }
    let severity = match finding.severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    write!(out, "><failure type=\"{severity}\" message=\"{}\">", Xml(&finding.demand))?;
    writeln!(out, "{} of {} rows. {}</failure></testcase>", finding.failed_rows, finding.rows, Xml(&finding.detail))
}
