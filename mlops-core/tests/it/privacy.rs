//! How well personal data is found: recall and precision per kind on a labelled set.

use std::collections::BTreeMap;

use mlops_core::privacy::{Detector, Kind};

/// Text, and what a careful reader would mark in it.
type Labelled = (String, Vec<(Kind, String)>);

fn labelled() -> Vec<Labelled> {
    let kind = |name: &str| Kind::ALL.into_iter().find(|kind| kind.as_str() == name).expect("a known kind");
    let mark =
        |mark: &str| mark.split_once('=').map(|(name, value)| (kind(name), value.to_owned())).expect("kind=value");
    let line = |line: &str| {
        let (text, marks) = line.split_once('\t').unwrap_or((line, ""));
        (text.to_owned(), marks.split('\t').filter(|m| !m.is_empty()).map(mark).collect())
    };
    include_str!("../fixtures/pii_labelled.tsv").lines().filter(|l| !l.starts_with('#')).map(line).collect()
}

#[derive(Clone, Copy, Default)]
struct Score {
    labelled: usize,
    found: usize,
    right: usize,
}

impl Score {
    fn recall(self) -> f64 {
        self.right as f64 / self.labelled.max(1) as f64
    }

    fn precision(self) -> f64 {
        if self.found == 0 { 1.0 } else { self.right as f64 / self.found as f64 }
    }
}

/// Counts a finding as right when kind and place are those of a label.
fn score(set: &[Labelled]) -> (BTreeMap<Kind, Score>, Vec<String>) {
    let detector = Detector::builder().today(2026).build().unwrap();
    let mut scores: BTreeMap<Kind, Score> = Kind::ALL.into_iter().map(|kind| (kind, Score::default())).collect();
    let mut wrong = Vec::new();
    for (text, marks) in set {
        let found: Vec<_> = detector.detect(text).iter().map(|f| (f.kind, text[f.bytes.clone()].to_owned())).collect();
        for (kind, _) in marks {
            scores.entry(*kind).or_default().labelled += 1;
        }
        for finding in &found {
            let score = scores.entry(finding.0).or_default();
            score.found += 1;
            score.right += usize::from(marks.contains(finding));
        }
        if found != *marks {
            wrong.push(format!("{text:?}: labelled {marks:?}, found {found:?}"));
        }
    }
    (scores, wrong)
}

#[test]
fn every_kind_is_found_and_little_else() {
    let set = labelled();
    assert!(set.len() >= 300, "{}", set.len());
    let (scores, wrong) = score(&set);
    println!("{:18} {:>8} {:>6} {:>6} {:>7} {:>9}", "kind", "labelled", "found", "right", "recall", "precision");
    for (kind, s) in &scores {
        println!(
            "{:18} {:8} {:6} {:6} {:7.3} {:9.3}",
            kind.as_str(),
            s.labelled,
            s.found,
            s.right,
            s.recall(),
            s.precision()
        );
    }
    wrong.iter().for_each(|line| println!("{line}"));
    for (kind, s) in &scores {
        assert!(s.labelled >= 10, "{kind}: {} labels", s.labelled);
        let floor = if *kind == Kind::PersonName { 0.85 } else { 0.95 };
        assert!(s.recall() >= floor, "{kind}: recall {}", s.recall());
        assert!(s.precision() >= 0.95, "{kind}: precision {}", s.precision());
    }
    let clean = set.iter().filter(|(_, marks)| marks.is_empty()).count();
    let (_, false_alarms) = score(&set.into_iter().filter(|(_, marks)| marks.is_empty()).collect::<Vec<_>>());
    assert!(clean >= 100 && false_alarms.len() * 50 <= clean, "{false_alarms:?} of {clean}");
}
