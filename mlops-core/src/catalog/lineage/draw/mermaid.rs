//! Flow charts as text.

use std::fmt::Write;

use super::{Drawn, lines, words};
use crate::catalog::lineage::Trace;

impl Trace {
    /// A Mermaid flow chart, from parents to children. The start has a thick border, what is missing a dashed one.
    ///
    /// Holds [`DRAWN_NODES_MAX`](super::super::DRAWN_NODES_MAX) contents and
    /// [`DRAWN_EDGES_MAX`](super::super::DRAWN_EDGES_MAX) edges (what viewers draw by default) at the most, and says what is
    /// left out.
    pub fn to_mermaid(&self) -> String {
        let drawn = Drawn::of(self);
        let mut text = "flowchart LR\n".to_owned();
        for (place, node) in drawn.nodes.iter().enumerate() {
            let _ = writeln!(text, "    n{place}[\"{}\"]", lines(node).join("<br/>"));
        }
        for edge in &drawn.edges {
            let words = mermaid_text(&words(edge.edge));
            let _ = writeln!(text, "    n{} -->|\"{}\"| n{}", edge.from, words.trim_end(), edge.to);
        }
        text.push_str("    style n0 stroke-width:3px\n");
        for place in &drawn.missing {
            let _ = writeln!(text, "    style n{place} stroke-dasharray:4 3");
        }
        if let Some(note) = drawn.note() {
            let _ = writeln!(text, "    note[\"{note}\"]");
        }
        text
    }
}

/// Letters of a label's free text.
const LABEL_CHARS: usize = 40;

/// The first 40 letters of `text` as they may stand between quotes of Mermaid, which takes entities with `#` for `&`.
pub fn mermaid_text(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(LABEL_CHARS) {
        match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' | ' ' | '.' | '-' | '_' | '+' | ':' | '/' => shown.push(c),
            other => {
                let _ = write!(shown, "#{};", u32::from(other));
            }
        }
    }
    shown
}
