//! Pictures that need nothing else.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::{Drawn, DrawnEdge, layers, lines, words};
use crate::catalog::lineage::Trace;
use crate::html::Escaped;

const BOX: (f64, f64) = (190.0, 58.0);
const GAP: (f64, f64) = (150.0, 26.0);
const MARGIN: f64 = 20.0;
/// Room below for edges that lead back.
const BELOW: f64 = 60.0;
/// Letters that fit into a box, and beside an edge.
const BOX_CHARS: usize = 26;
const EDGE_CHARS: usize = 20;
/// Letters of what is shown when the pointer rests.
const TITLE_CHARS: usize = 400;

const STYLE: &str = "text{font:11px system-ui,sans-serif;fill:#1f2937}.name{font-weight:600}.dim,.edge{fill:#64748b}\
    .edge{font-size:9px}rect{fill:#f8fafc;stroke:#94a3b8}.start{stroke:#1d4ed8;stroke-width:3}.missing{stroke-dasharray:4 3}\
    path{fill:none;stroke:#94a3b8}.back{stroke:#b91c1c;stroke-dasharray:4 3}marker path{fill:#94a3b8;stroke:none}";

impl Trace {
    /// A picture as SVG, from parents on the left to children on the right. The start has a thick border, what is missing a
    /// dashed one; edges that lead back are red, and tell the settings of their operations where the pointer rests.
    ///
    /// It holds everything it shows: no script, nothing loaded from elsewhere, every text escaped. Equal traces give equal
    /// pictures. As many contents and edges as [`to_mermaid`](Self::to_mermaid) draws.
    pub fn to_svg(&self) -> String {
        let drawn = Drawn::of(self);
        let picture = Picture::of(&drawn);
        let mut out = String::new();
        let _ = picture.write(&mut out); // writing to a string cannot fail
        out
    }
}

struct Picture<'a> {
    drawn: &'a Drawn<'a>,
    /// Left upper corners.
    corners: Vec<(f64, f64)>,
    size: (f64, f64),
}

impl<'a> Picture<'a> {
    fn of(drawn: &'a Drawn<'a>) -> Self {
        let edges: Vec<_> = drawn.edges.iter().map(|edge| (edge.from, edge.to)).collect();
        let layers = layers::place(drawn.nodes.len(), &edges);
        let tallest = layers.iter().map(Vec::len).max().unwrap_or(0);
        let mut corners = vec![(0.0, 0.0); drawn.nodes.len()];
        for (column, layer) in layers.iter().enumerate() {
            let shift = (tallest - layer.len()) as f64 / 2.0;
            for (row, node) in layer.iter().enumerate() {
                let x = MARGIN + column as f64 * (BOX.0 + GAP.0);
                corners[*node] = (x, MARGIN + (row as f64 + shift) * (BOX.1 + GAP.1));
            }
        }
        let across = layers.len().max(1) as f64;
        let width = 2.0 * MARGIN + across * BOX.0 + (across - 1.0) * GAP.0;
        let height = 2.0 * MARGIN + tallest as f64 * (BOX.1 + GAP.1) + BELOW;
        Self { drawn, corners, size: (width, height) }
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let (width, height) = self.size;
        write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\"><title>Lineage</title><style>{STYLE}</style><defs><marker id=\"tip\" \
             viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
             <path d=\"M0 0L8 4L0 8Z\"/></marker></defs>"
        )?;
        for (ends, edges) in self.bundles() {
            self.write_edge(out, ends, &edges)?;
        }
        for place in 0..self.drawn.nodes.len() {
            self.write_box(out, place)?;
        }
        if let Some(note) = self.drawn.note() {
            write!(out, "<text class=\"dim\" x=\"{MARGIN}\" y=\"{}\">{note}</text>", height - 8.0)?;
        }
        out.write_str("</svg>\n")
    }

    /// Edges by their ends: several operations may have made one content of another.
    fn bundles(&self) -> BTreeMap<(usize, usize), Vec<&DrawnEdge<'a>>> {
        let mut bundles = BTreeMap::<_, Vec<_>>::new();
        for edge in &self.drawn.edges {
            bundles.entry((edge.from, edge.to)).or_default().push(edge);
        }
        bundles
    }

    fn write_edge(&self, out: &mut String, (from, to): (usize, usize), edges: &[&DrawnEdge<'_>]) -> fmt::Result {
        let ((left, left_y), (right, right_y)) = (self.corners[from], self.corners[to]);
        let (x1, y1, x2, y2) = (left + BOX.0, left_y + BOX.1 / 2.0, right, right_y + BOX.1 / 2.0);
        let all: Vec<String> = edges.iter().map(|edge| words(edge.edge).trim_end().to_owned()).collect();
        let more = if all.len() > 1 { format!(" +{}", all.len() - 1) } else { String::new() };
        let label = format!("{}{more}", cut(&all[0], EDGE_CHARS));
        if x2 > x1 {
            let bend = (x2 - x1) / 2.0;
            let (c1, c2) = (x1 + bend, x2 - bend);
            write!(out, "<path marker-end=\"url(#tip)\" d=\"M{x1} {y1}C{c1} {y1} {c2} {y2} {x2} {y2}\">")?;
        } else {
            let low = left_y.max(right_y) + BOX.1 + GAP.1 + BELOW / 2.0;
            let (c1, c2) = (x1 + GAP.0 / 2.0, x2 - GAP.0 / 2.0);
            write!(
                out,
                "<path class=\"back\" marker-end=\"url(#tip)\" d=\"M{x1} {y1}C{c1} {low} {c2} {low} {x2} {y2}\">"
            )?;
        }
        let told: Vec<String> =
            edges.iter().map(|edge| format!("{} {}", words(edge.edge), edge.edge.parameters)).collect();
        let told = told.iter().map(|told| told.trim_end()).collect::<Vec<_>>().join(", ");
        write!(out, "<title>{}</title></path>", Escaped(&cut(&told, TITLE_CHARS)))?;
        let (x, y) = if x2 > x1 { (x1 + 8.0, y1 + (y2 - y1) * 0.12 - 4.0) } else { (x1 + 8.0, y1 + 14.0) };
        write!(out, "<text class=\"edge\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", Escaped(&label))
    }

    fn write_box(&self, out: &mut String, place: usize) -> fmt::Result {
        let (node, (x, y)) = (self.drawn.nodes[place], self.corners[place]);
        let start = if place == 0 { "start" } else { "" };
        let missing = if self.drawn.missing.contains(&place) { " missing" } else { "" };
        let names: Vec<&str> = node.names.iter().map(crate::Name::as_str).collect();
        let title = cut(&format!("{} {}", names.join(", "), node.digest), TITLE_CHARS);
        write!(out, "<g><title>{}</title>", Escaped(title.trim_start()))?;
        let (width, height) = BOX;
        write!(
            out,
            "<rect class=\"{start}{missing}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>"
        )?;
        for (number, line) in lines(node).iter().enumerate() {
            let (class, x, y) = (if number == 0 { "name" } else { "dim" }, x + 10.0, y + 18.0 + number as f64 * 15.0);
            write!(out, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", Escaped(&cut(line, BOX_CHARS)))?;
        }
        out.write_str("</g>")
    }
}

/// The first letters of `text`, and `…` where there are more. Two characters that XML cannot hold are left out.
fn cut(text: &str, most: usize) -> String {
    let mut letters = text.chars().filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}'));
    let mut shown: String = letters.by_ref().take(most).collect();
    if letters.next().is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}
