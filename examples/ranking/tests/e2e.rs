//! The loop from end to end, on small data.

use std::path::{Path, PathBuf};

use clap::Parser;
use mlops_core::catalog::{Catalog, FileCatalog};
use mlops_core::privacy::{Detector, Kind};
use mlops_core::source::{DataSource, IpcSource, ScanRequest};
use mlops_core::{EventTime, Name};
use ranking::intake::{Intake, IntakeReport};
use ranking::journey::{self, Story};
use ranking::options::Options;
use ranking::progress::Progress;
use ranking::report;
use ranking::world::World;
use ranking::world::offers::OfferShop;

fn travel(arguments: &[&str], dir: &Path) -> Story {
    let dir = dir.display().to_string();
    let all: Vec<&str> = ["ranking", "--dir", &dir].into_iter().chain(arguments.iter().copied()).collect();
    journey::run(&Options::parse_from(all), &Progress::silent()).expect("the loop runs")
}

#[test]
fn the_loop_learns_serves_sees_the_shift_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let story = travel(&["--small"], dir.path());
    let figures = &story.figures;

    assert_eq!(figures.failed_requests, 0);
    assert_eq!(figures.requests, 10 * 500);
    assert!(figures.lineage_ok && figures.skewed_values == 0, "{figures:?}");
    assert!(figures.ndcg_before_shift > figures.ndcg_popularity + 0.03, "{figures:?}");

    let (after, relearnt) = (figures.ndcg_after_shift.unwrap(), figures.ndcg_after_retrain.unwrap());
    assert!(after < figures.ndcg_before_shift - 0.05, "the shift hurts: {figures:?}");
    assert!(relearnt > after + 0.03, "learning anew helps: {figures:?}");
    let sold = [figures.revenue_after_shift.unwrap(), figures.revenue_after_retrain.unwrap()];
    assert!(sold[1] > sold[0], "{figures:?}");

    for column in ["monthly_gb", "monthly_spend"] {
        assert!(figures.drifted_columns.iter().any(|drifted| drifted == column), "{figures:?}");
    }
    let before_the_turn = story.days.iter().filter(|day| day.day < story.plan.turn).flat_map(|day| &day.seen);
    assert!(before_the_turn.flat_map(|seen| &seen.drift).all(|report| report.drifted().is_empty()), "no false alarm");

    assert_eq!(figures.refused_versions.first(), Some(&2), "labels that slipped are caught");
    assert!(figures.promoted_version >= 3 && figures.swap_ms.is_some());
    let swapped = story.days.iter().find(|day| day.versions.len() == 2).expect("a day was served by two versions");
    assert_eq!(swapped.failed, 0);

    let page = report::page(&story);
    assert!(
        page.contains("<svg") && !page.contains("<script") && !page.contains("http://"),
        "one file, nothing loaded"
    );
    let monitoring = report::monitoring(&story);
    assert!(monitoring.contains("monthly_gb") && !monitoring.contains("<script"), "drift per column");
    assert!(report::summary(&story).contains("lineage from the served version to raw data holds"));
    no_raw_personal_data(dir.path());
    the_catalogue_knows_what_was_made_of_what(dir.path());
}

/// Looks for identity numbers, phones and addresses in everything that was made of the raw files.
fn no_raw_personal_data(dir: &Path) {
    let detector = Detector::builder().today(2_025).build().unwrap();
    let catalog = FileCatalog::open(dir.join("catalog")).unwrap();
    for file in ["customers_masked", "customers_clean", "customers"] {
        let (entry, _) = catalog.get(&Name::new(file).unwrap()).unwrap();
        let source = IpcSource::open(&entry.source.location).unwrap();
        for batch in source.scan(&ScanRequest::all()).unwrap() {
            let batch = batch.unwrap();
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                let verdict = detector.scan_column(field.name(), column).unwrap();
                let personal = verdict.kind.filter(|kind| Kind::ALL.contains(kind));
                assert_eq!(personal, None, "{file}: {}", field.name());
            }
            assert!(batch.column_by_name("full_name").is_none());
        }
    }
}

fn the_catalogue_knows_what_was_made_of_what(dir: &Path) {
    let catalog = FileCatalog::open(dir.join("catalog")).unwrap();
    let names: Vec<String> = catalog.list().unwrap().iter().map(ToString::to_string).collect();
    for name in ["customers", "customers_raw", "examples_1", "impressions", "offers", "train_1"] {
        assert!(names.iter().any(|known| known == name), "{names:?}");
    }
}

#[test]
fn films_are_ranked_better_than_by_popularity() {
    let Some(dir) = shared("data/movielens-small") else { return };
    let work = tempfile::tempdir().unwrap();
    let story = travel(&["--small", "--data", "movielens", &dir.display().to_string()], work.path());
    let figures = &story.figures;
    assert_eq!(figures.failed_requests, 0);
    assert!(figures.lineage_ok && figures.skewed_values == 0, "{figures:?}");
    assert!(figures.ndcg_last_fifth > figures.ndcg_popularity_last_fifth + 0.02, "{figures:?}");
    assert!(figures.ndcg_last_fifth > figures.ndcg_user_mean_last_fifth + 0.1, "{figures:?}");
    assert!(figures.revenue_before_shift.is_none(), "nothing is sold");
}

/// A folder of public data sets, where there is one.
fn shared(path: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("MLOPS_SHARED_DIR").map_or_else(|| root.join("../shared"), PathBuf::from);
    let found = shared.join(path);
    if found.is_dir() {
        return Some(found);
    }
    eprintln!("SKIPPED: {} is not there; set MLOPS_SHARED_DIR to the folder of public data sets", found.display());
    None
}

#[test]
fn a_folder_without_films_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    let options = Options::parse_from(["ranking", "--data", "movielens", &path]);
    let failure = journey::run(&options, &Progress::silent()).unwrap_err().to_string();
    assert!(failure.contains(&path) && failure.contains("ratings.csv"), "{failure}");
    let nowhere = Options::parse_from(["ranking", "--data", "movielens"]);
    assert!(nowhere.source().unwrap_err().to_string().contains("folder"));
    let unknown = Options::parse_from(["ranking", "--data", "netflix"]);
    assert!(unknown.source().unwrap_err().to_string().contains("netflix"));
}

/// What comes into `dir`, and what the next live day adds.
fn taken_in(dir: &Path) -> (Vec<String>, IntakeReport) {
    let (shop, progress) = (OfferShop::new(true, 7).unwrap(), Progress::silent());
    let intake = Intake::open(dir, EventTime::EPOCH, &progress).unwrap();
    let trusted = shop.intake(&intake).unwrap();
    let mut contents = vec![trusted.impressions.digest().unwrap().to_string()];
    let usage = shop.facts(shop.plan().live.start + 1, &intake).unwrap().swap_remove(1);
    contents.extend(usage.iter().map(|batch| format!("{batch:?}")));
    (contents, intake.report())
}

#[test]
fn what_came_in_before_is_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (contents, first) = taken_in(dir.path());
    assert!(first.ran > 30, "{} steps", first.ran);
    let feeds: Vec<&str> = first.checked.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(feeds, ["customers", "offers", "impressions_checked", "usage_history", "usage_6"]);
    assert_eq!((first.masked.len(), first.cleaned.len()), (3, 3), "the feed of usage passes what everything passes");
    assert!(first.cleaned[1].1.rows_in() > 0 && first.cleaned[1].1.rows_dropped() == 0);

    let (again, second) = taken_in(dir.path());
    assert_eq!((again, second.ran), (contents, 0));
    assert_eq!(second.masked, first.masked);
    assert_eq!(second.checked, first.checked);
    assert_eq!(second.cleaned, first.cleaned);
    // Raw rows are nowhere but in their own folder.
    let catalog = FileCatalog::open(dir.path().join("catalog")).unwrap();
    let (raw, _) = catalog.get(&Name::new("customers_raw").unwrap()).unwrap();
    assert!(raw.source.location.ends_with("customers.csv"), "{}", raw.source.location);
    assert_eq!(
        catalog.history(&Name::new("customers").unwrap()).unwrap().len(),
        1,
        "registering again changes nothing"
    );
}

#[test]
fn a_folder_is_taken_again_for_the_same_story_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    std::fs::write(dir.path().join("mine.txt"), "x").unwrap();
    let options = |seed: &str| Options::parse_from(["ranking", "--small", "--dir", &path, "--seed", seed]);
    let refused = journey::run(&options("7"), &Progress::silent()).unwrap_err().to_string();
    assert!(refused.contains("is not empty"), "{refused}");
    std::fs::write(dir.path().join("story.json"), "another").unwrap();
    let refused = journey::run(&options("8"), &Progress::silent()).unwrap_err().to_string();
    assert!(refused.contains("holds another story"), "{refused}");
    assert!(dir.path().join("mine.txt").exists());
}
