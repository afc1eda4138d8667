use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::catalog::{Entry, MemoryCatalog, Readers, Revision};
use crate::dataset::Provenance;
use crate::source::SourceInfo;

fn digest(of: &str) -> Digest {
    Digest::of(of)
}

/// Puts `content` under `name`, made from `parents` unless these are none at all.
fn put(catalog: &MemoryCatalog, name: &str, content: &str, parents: Option<&[&str]>) {
    let name = Name::new(name).unwrap();
    let made = |parents: &[&str]| Provenance {
        parents: parents.iter().map(|p| digest(p)).collect(),
        operation: Name::new("step").unwrap(),
        parameters: serde_json::Value::Null,
        code_version: "1.0 \"β\"".to_owned(),
        at: EventTime::EPOCH,
    };
    let entry = Entry {
        name: name.clone(),
        owner: String::new(),
        description: String::new(),
        readers: Readers::Everyone,
        source: SourceInfo::new("memory", "memory"),
        columns: Vec::new(),
        rows: content.len() as u64,
        digest: digest(content),
        provenance: parents.map(made),
        created: EventTime::EPOCH,
        modified: EventTime::EPOCH,
        tags: Vec::new(),
        statistics: None,
        refresh: None,
        license: None,
    };
    let revision = catalog.get(&name).map_or(Revision(0), |(_, revision)| revision);
    catalog.put(&entry, revision).unwrap();
}

fn contents(trace: &Trace, known: &[&str]) -> Vec<(String, usize)> {
    let called = |d: Digest| (*known.iter().find(|k| digest(k) == d).unwrap()).to_owned();
    let mut all: Vec<_> = trace.nodes.iter().map(|r| (called(r.node.digest), r.distance)).collect();
    all.sort();
    all
}

fn set(of: &[&str]) -> BTreeSet<Digest> {
    of.iter().map(|o| digest(o)).collect()
}

/// `clicks` and `users` make `joined`, which makes `train` and `test`; `clicks` has been another content before.
fn shop() -> MemoryCatalog {
    let catalog = MemoryCatalog::new();
    put(&catalog, "clicks", "clicks1", None);
    put(&catalog, "users", "users", Some(&[]));
    put(&catalog, "joined", "joined1", Some(&["clicks1", "users"]));
    put(&catalog, "train", "train1", Some(&["joined1"]));
    put(&catalog, "clicks", "clicks2", None);
    put(&catalog, "joined", "joined2", Some(&["clicks2", "users"]));
    put(&catalog, "test", "test2", Some(&["joined2", "clicks2"]));
    catalog
}

const SHOP: [&str; 7] = ["clicks1", "clicks2", "users", "joined1", "joined2", "train1", "test2"];

#[test]
fn past_contents_keep_their_place_in_the_graph() {
    let lineage = Lineage::of(&shop()).unwrap();
    let made = lineage.descendants(&digest("clicks1")).unwrap();
    let found = contents(&made, &SHOP);
    assert_eq!(found, [("clicks1".to_owned(), 0), ("joined1".to_owned(), 1), ("train1".to_owned(), 2)]);
    assert_eq!((made.ends.clone(), made.is_sound()), (vec![digest("train1")], true));

    let went_in = lineage.ancestors(&digest("test2")).unwrap();
    let found = contents(&went_in, &SHOP);
    let expected = [("clicks2", 1), ("joined2", 1), ("test2", 0), ("users", 2)];
    assert_eq!(found, expected.map(|(content, distance)| (content.to_owned(), distance)), "the shortest way counts");
    assert_eq!(went_in.ends.iter().copied().collect::<BTreeSet<_>>(), set(&["clicks2", "users"]));
    assert_eq!(went_in.edges.len(), 4);
    assert_eq!(went_in.nodes[0].node.names, [Name::new("test").unwrap()]);
    assert_eq!(lineage.nodes().count(), 7);
    assert_eq!(lineage.edges().len(), 7);
}

#[test]
fn missing_parents_are_reported() {
    let catalog = MemoryCatalog::new();
    put(&catalog, "b", "b", Some(&["a", "gone"]));
    put(&catalog, "a", "a", None);
    let lineage = Lineage::of(&catalog).unwrap();
    let trace = lineage.ancestors(&digest("b")).unwrap();
    assert_eq!(trace.missing, [digest("gone")]);
    assert_eq!(trace.ends, [digest("a")], "what is missing is no raw source");
    assert!(!trace.is_sound());
    let made = lineage.descendants(&digest("gone")).unwrap();
    assert_eq!(contents(&made, &["b", "gone"]), [("b".to_owned(), 1), ("gone".to_owned(), 0)]);
    let error = lineage.ancestors(&digest("never")).unwrap_err();
    assert!(matches!(&error, Error::NotFound { name, .. } if *name == digest("never").to_string()), "{error}");
}

#[test]
fn cycles_are_named_and_walked_once() {
    let catalog = MemoryCatalog::new();
    put(&catalog, "raw", "raw", None);
    put(&catalog, "same", "same", Some(&["raw", "same"]));
    for (name, content, parent) in [("x", "x", "z"), ("y", "y", "x"), ("z", "z", "y")] {
        put(&catalog, name, content, Some(&[parent, "same"]));
    }
    put(&catalog, "after", "after", Some(&["z"]));
    let lineage = Lineage::of(&catalog).unwrap();
    for trace in [lineage.ancestors(&digest("after")).unwrap(), lineage.descendants(&digest("raw")).unwrap()] {
        let cycles: BTreeSet<BTreeSet<Digest>> = trace.cycles.iter().map(|c| c.iter().copied().collect()).collect();
        assert_eq!(cycles, BTreeSet::from([set(&["same"]), set(&["x", "y", "z"])]));
        assert_eq!((trace.nodes.len(), trace.is_sound()), (6, false));
    }
    assert_eq!(lineage.ancestors(&digest("raw")).unwrap().cycles, Vec::<Vec<Digest>>::new());
}

#[test]
fn a_long_chain_needs_no_deep_stack() {
    let catalog = MemoryCatalog::new();
    put(&catalog, "chain", "0", Some(&["20000"]));
    for link in 1..=20_000 {
        put(&catalog, "chain", &link.to_string(), Some(&[&(link - 1).to_string()]));
    }
    let trace = Lineage::of(&catalog).unwrap().ancestors(&digest("7")).unwrap();
    assert_eq!((trace.nodes.len(), trace.cycles.len(), trace.cycles[0].len()), (20_001, 1, 20_001));
    let refused = Lineage::bounded(&catalog, 1_000);
    assert!(matches!(refused, Err(Error::Invalid { setting: "size_max", .. })), "{refused:?}");
}

#[test]
fn one_content_under_two_names_is_one_node() {
    let catalog = MemoryCatalog::new();
    put(&catalog, "raw", "raw", None);
    put(&catalog, "copy", "same", Some(&["raw"]));
    put(&catalog, "also", "same", None);
    put(&catalog, "also", "same", Some(&["raw"]));
    let lineage = Lineage::of(&catalog).unwrap();
    let trace = lineage.descendants(&digest("raw")).unwrap();
    let names: Vec<&str> = trace.nodes[1].node.names.iter().map(Name::as_str).collect();
    assert_eq!(names, ["also", "copy"]);
    assert_eq!(trace.edges.len(), 1, "the same operation on the same content is one edge");
}

#[test]
fn a_drawing_shows_names_rows_operations_and_gaps() {
    let catalog = MemoryCatalog::new();
    put(&catalog, "clean", "four", Some(&["gone"]));
    put(&catalog, "also_clean", "four", None);
    let trace = Lineage::of(&catalog).unwrap().ancestors(&digest("four")).unwrap();
    let (four, gone) = (digest("four").short(), digest("gone").short());
    let expected = format!(
        "flowchart LR
    n0[\"also_clean and 1 more<br/>4 rows<br/>{four}\"]
    n1[\"not registered<br/>{gone}\"]
    n1 -->|\"step 1.0 #34;#946;#34;\"| n0
    style n0 stroke-width:3px
    style n1 stroke-dasharray:4 3
"
    );
    assert_eq!(trace.to_mermaid(), expected);
}

/// Whether each of `0..n` can be reached from each other, by Warshall's closure.
fn closure(n: usize, edges: &[(usize, usize)]) -> Vec<Vec<bool>> {
    let mut reach = vec![vec![false; n]; n];
    for (from, to) in edges {
        reach[*from][*to] = true;
    }
    for via in 0..n {
        for from in 0..n {
            for to in 0..n {
                reach[from][to] |= reach[from][via] && reach[via][to];
            }
        }
    }
    reach
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn traces_and_cycles_are_those_of_the_closure(edges in proptest::collection::vec((0_usize..9, 0_usize..9), 0..24)) {
        let catalog = MemoryCatalog::new();
        let called = |n: usize| format!("n{n}");
        for child in 0..9 {
            let parents: Vec<String> = edges.iter().filter(|(_, to)| *to == child).map(|(from, _)| called(*from)).collect();
            let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
            put(&catalog, &called(child), &called(child), Some(&parents));
        }
        let reach = closure(9, &edges);
        let lineage = Lineage::of(&catalog).unwrap();
        for start in 0..9 {
            let trace = lineage.descendants(&digest(&called(start))).unwrap();
            let found: BTreeSet<Digest> = trace.nodes.iter().map(|r| r.node.digest).collect();
            let reached: Vec<usize> = (0..9).filter(|end| *end == start || reach[start][*end]).collect();
            prop_assert_eq!(found, reached.iter().map(|n| digest(&called(*n))).collect());
            let cycles: BTreeSet<BTreeSet<Digest>> = trace.cycles.iter().map(|c| c.iter().copied().collect()).collect();
            let together = |n: usize| (0..9).filter(|m| reach[n][*m] && reach[*m][n]).collect::<Vec<_>>();
            let expected: BTreeSet<BTreeSet<Digest>> = reached.iter().filter(|n| reach[**n][**n])
                .map(|n| together(*n).iter().map(|m| digest(&called(*m))).collect()).collect();
            prop_assert_eq!(cycles, expected);
        }
    }
}

#[test]
fn a_reader_sees_names_of_what_it_may_not_read_only_where_that_went_into_what_it_may() {
    let catalog = MemoryCatalog::new();
    put(&catalog, "raw", "raw", None);
    put(&catalog, "secret", "secret", Some(&["raw"]));
    put(&catalog, "open", "open", Some(&["secret"]));
    put(&catalog, "hidden", "hidden", Some(&["open"]));
    for sealed in ["secret", "hidden"] {
        let name = Name::new(sealed).unwrap();
        let (mut entry, revision) = catalog.get(&name).unwrap();
        entry.readers = Readers::only(["Lan"]);
        catalog.put(&entry, revision).unwrap();
    }
    let known = ["raw", "secret", "open", "hidden"];
    let seen = Lineage::seen_by(&catalog, "mina").unwrap();
    assert_eq!(seen.nodes().count(), 3, "nothing that mina may read mentions `hidden`");
    assert_eq!(contents(&seen.ancestors(&digest("open")).unwrap(), &known).len(), 2, "how `secret` was made is sealed");
    let node = seen.nodes().find(|node| node.digest == digest("secret")).unwrap();
    assert_eq!((node.names.as_slice(), node.rows), ([Name::new("secret").unwrap()].as_slice(), None));
    assert_eq!(Lineage::seen_by(&catalog, "Lan").unwrap().edges().len(), 3);
}

#[test]
fn edges_tell_the_settings_of_what_was_done() {
    let catalog = MemoryCatalog::new();
    put(&catalog, "raw", "raw", None);
    put(&catalog, "clean", "clean", Some(&["raw"]));
    let name = Name::new("clean").unwrap();
    let (mut entry, revision) = catalog.get(&name).unwrap();
    let told = |keys: usize| serde_json::json!({ "settings": { "keys": "é".repeat(keys) } });
    entry.provenance.as_mut().unwrap().parameters = told(2);
    catalog.put(&entry, revision).unwrap();
    let lineage = Lineage::of(&catalog).unwrap();
    assert_eq!(lineage.edges().len(), 2, "the revision before had other settings");
    assert_eq!(lineage.edges()[1].parameters, "{\"settings\":{\"keys\":\"éé\"}}");
    assert!(lineage.descendants(&digest("raw")).unwrap().to_svg().contains("{&quot;settings&quot;"));
    let long = shown(&told(EDGE_PARAMETERS_BYTES_MAX));
    assert!(long.len() <= EDGE_PARAMETERS_BYTES_MAX && long.ends_with('é'));
}
