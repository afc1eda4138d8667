use proptest::prelude::*;

use super::layers;
use super::*;
use crate::catalog::lineage::Reached;
use crate::time::EventTime;
use crate::{Digest, Name};

fn digest(number: usize) -> Digest {
    Digest::of(number.to_le_bytes())
}

/// A walk that found contents 0, 1, 2 … and these edges.
fn trace(nodes: usize, edges: &[(usize, usize)], code_version: &str) -> Trace {
    let node = |number| Reached {
        node: LineageNode {
            digest: digest(number),
            names: vec![Name::new(format!("set_{number}")).unwrap()],
            rows: Some(number as u64),
        },
        distance: number,
    };
    let edge = |(from, to): &(usize, usize)| LineageEdge {
        parent: digest(*from),
        child: digest(*to),
        operation: Name::new("step").unwrap(),
        code_version: code_version.to_owned(),
        at: EventTime::EPOCH,
        parameters: format!("{{\"k\":{code_version:?}}}"),
    };
    Trace {
        nodes: (0..nodes).map(node).collect(),
        edges: edges.iter().map(edge).collect(),
        ends: Vec::new(),
        missing: Vec::new(),
        cycles: Vec::new(),
    }
}

#[test]
fn boxes_stand_right_of_all_that_lead_to_them() {
    // 0 → 1 → 3, 0 → 2 → 3, 0 → 3.
    assert_eq!(layers::place(4, &[(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)]), [vec![0], vec![1, 2], vec![3]]);
    // The middle layer is turned so that nothing crosses: 0 → 3, 1 → 2.
    let turned = layers::place(4, &[(0, 3), (1, 2)]);
    let row = |node| turned.iter().find_map(|layer| layer.iter().position(|n| *n == node)).unwrap();
    assert_eq!((row(0), row(1)), (row(3), row(2)));
    assert_eq!(layers::place(0, &[]), Vec::<Vec<usize>>::new());
}

#[test]
fn cycles_are_drawn_as_ways_back() {
    assert_eq!(layers::place(3, &[(0, 1), (1, 2), (2, 0), (1, 1)]), [[0], [1], [2]]);
    let picture = trace(3, &[(0, 1), (1, 2), (2, 0), (1, 1)], "1").to_svg();
    assert_eq!(picture.matches("class=\"back\"").count(), 2);
    assert_eq!(picture.matches("<rect").count(), 3);
}

#[test]
fn a_picture_holds_what_it_shows_and_nothing_can_leave_its_place() {
    let evil = "</text><script>alert(1)</script>\"' &\u{202e}\u{0}\u{ffff}";
    let mut trace = trace(2, &[(0, 1)], evil);
    trace.nodes[1].node.names.clear();
    trace.missing.push(digest(1));
    let picture = trace.to_svg();
    for forbidden in ["<script", "href", "src=", "https:", "@import", "\u{202e}", "\u{0}", "\u{ffff}", "</text></text>"]
    {
        assert!(!picture.contains(forbidden), "{forbidden:?}");
    }
    assert!(
        picture.contains("class=\"start\"")
            && picture.contains("class=\" missing\"")
            && picture.contains("not registered")
    );
    for tag in ["svg", "text", "path", "g", "title", "defs", "marker", "style"] {
        let opened = picture.matches(&format!("<{tag}>")).count() + picture.matches(&format!("<{tag} ")).count();
        let closed = picture.matches(&format!("</{tag}>")).count();
        let alone = usize::from(tag == "path"); // the tip
        assert_eq!(opened - alone, closed, "{tag}");
    }
    assert_eq!(picture, trace.to_svg(), "equal traces give equal pictures");
    let mermaid = trace.to_mermaid();
    assert!(!mermaid.contains("<script") && mermaid.contains("not registered"), "{mermaid}");
}

#[test]
fn more_than_can_be_drawn_is_said_and_not_drawn() {
    let edges: Vec<(usize, usize)> = (1..2_000).map(|to| (to / 2, to)).collect();
    let long = trace(2_000, &edges, "1");
    let note = "1700 contents and 1700 edges more are not drawn";
    let (picture, chart) = (long.to_svg(), long.to_mermaid());
    assert!(picture.contains(note) && picture.matches("<rect").count() == DRAWN_NODES_MAX);
    assert!(chart.contains(note) && chart.matches("-->").count() == 299);
    let dense: Vec<(usize, usize)> = (0..40).flat_map(|from| (from + 1..40).map(move |to| (from, to))).collect();
    let dense = trace(40, &dense, "1");
    assert_eq!(dense.to_mermaid().matches("-->").count(), DRAWN_EDGES_MAX);
    assert!(!trace(2, &[(0, 1)], "1").to_svg().contains("not drawn"));
}

proptest! {
    #[test]
    fn every_box_has_one_place_and_edges_without_cycles_lead_right(
        nodes in 1_usize..30,
        edges in proptest::collection::vec((0_usize..30, 0_usize..30), 0..80),
    ) {
        let edges: Vec<_> = edges.into_iter().map(|(from, to)| (from % nodes, to % nodes)).collect();
        let column = |layers: &[Vec<usize>], node: usize| layers.iter().position(|layer| layer.contains(&node)).unwrap();
        let layers = layers::place(nodes, &edges);
        let mut all: Vec<usize> = layers.concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..nodes).collect::<Vec<_>>());
        prop_assert!(layers.iter().all(|layer| !layer.is_empty()));

        let acyclic: Vec<_> = edges.into_iter().filter(|(from, to)| from < to).collect();
        let layers = layers::place(nodes, &acyclic);
        prop_assert!(acyclic.iter().all(|(from, to)| column(&layers, *from) < column(&layers, *to)));
    }
}
