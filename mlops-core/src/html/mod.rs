//! Pieces of reports that are pages of their own: escaped text, short numbers, the frame of a page.
//!
//! Such a page holds everything it shows. No script runs in it and nothing is loaded from elsewhere; a policy in its
//! head says so to browsers, for the case that an escape was forgotten. Entry points: [`page`], [`Escaped`], [`short`];
//! pictures are in [`chart`].

pub mod chart;

use std::fmt::{self, Write};

/// Text that cannot leave the place it is written to, in content or in a quoted attribute.
///
/// # Examples
/// ```
/// use mlops_core::html::Escaped;
/// assert_eq!(Escaped("<b> & 'c'").to_string(), "&lt;b&gt; &amp; &#39;c&#39;");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                // Control and bidirectional characters would garble what stands beside them.
                c if c.is_control()
                    || ('\u{202a}'..='\u{202e}').contains(&c)
                    || ('\u{2066}'..='\u{2069}').contains(&c) =>
                {
                    write!(out, "\\u{{{:x}}}", u32::from(c))?;
                }
                c => out.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A page with `title` and `style` (CSS of the caller, never of data); `body` writes what stands in it, escaped.
pub fn page(title: &str, style: &str, body: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{}</title>\
         <style>{style}</style></head>\n<body>",
        Escaped(title)
    );
    let _ = body(&mut out);
    out.push_str("</body></html>\n");
    out
}

/// Five significant digits, in plain notation where that is short.
///
/// # Examples
/// ```
/// use mlops_core::html::short;
/// assert_eq!((short(0.123_456), short(2.0), short(3e9)), ("0.12346".into(), "2".into(), "3.0000e9".into()));
/// ```
pub fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-4..1e6).contains(&size) {
        let digits = if size == 0.0 { 0 } else { (4 - size.log10().floor() as i32).clamp(0, 8) as usize };
        let text = format!("{value:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{value:.4e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_place() {
        let odd = "a\u{0}b\nc\u{202e}d\"e";
        assert_eq!(Escaped(odd).to_string(), "a\\u{0}b\\u{a}c\\u{202e}d&quot;e");
        let page = page("</title><script>", "", |out| write!(out, "{}", Escaped("<script>")));
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</body></html>\n"));
    }

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        for (value, text) in
            [(0.0, "0"), (-0.5, "-0.5"), (100_000.0, "100000"), (1e-7, "1.0000e-7"), (12.345_678, "12.346")]
        {
            assert_eq!(short(value), text);
        }
        assert_eq!((short(f64::NAN), short(f64::INFINITY)), ("NaN".to_owned(), "inf".to_owned()));
    }
}
