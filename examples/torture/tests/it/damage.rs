//! Damage that a verification must see: without these, one that always passes would pass too.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mlops_core::arrow::array::{ArrayRef, Int64Array};
use mlops_features::Keys;
use mlops_features::online::RedbStore;
use torture::rows;
use torture::token::Token;

use crate::Written;

const FIRST: Token = Token { run: 1, writer: 0, number: 1 };

/// Files below `folder`, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

/// Makes `change` to the bytes of a file.
fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn drop_row(written: &Written, token: Token) {
    let store = RedbStore::open(written.path("online.redb")).unwrap();
    let view = rows::view().unwrap();
    let key = Arc::new(Int64Array::from(vec![rows::own_key(token)])) as ArrayRef;
    let keys = Keys::new(view.entity(), &[key]).unwrap();
    assert_eq!(store.delete_sync(&view, &keys).unwrap(), 1);
}

#[test]
fn a_dropped_a_damaged_and_a_cut_online_row_are_missed() {
    let written = Written::new("online", 3);
    drop_row(&written, FIRST);
    written.is_refused("a dropped row", "1.0.1");

    let written = Written::new("online", 3);
    let needle = format!("{FIRST}/");
    edit(&written.path("online.redb"), |bytes| {
        let places = bytes.windows(needle.len()).enumerate().filter(|(_, at)| *at == needle.as_bytes());
        let places: Vec<usize> = places.map(|(at, _)| at).collect();
        assert!(!places.is_empty());
        places.into_iter().for_each(|at| bytes[at] ^= 1);
    });
    written.is_refused("flipped bits", "corrupt");

    let written = Written::new("online", 3);
    edit(&written.path("online.redb"), |bytes| bytes.truncate(bytes.len() / 2));
    written.is_refused("a cut file", "online.redb");

    let written = Written::new("online", 3);
    fs::remove_file(written.path("online.redb")).unwrap();
    written.is_refused("a removed file", "9 of 9 writes are lost");
}

#[test]
fn an_online_store_that_is_behind_its_position_is_noticed() {
    let written = Written::new("materialize", 5);
    drop_row(&written, FIRST);
    written.is_refused("a dropped row", "not online");

    let written = Written::new("materialize", 5);
    fs::remove_file(written.path("online.redb")).unwrap();
    written.is_refused("a lost position", "brought online");

    let written = Written::new("materialize", 5);
    fs::remove_file(&files(&written.path("history"))[1]).unwrap();
    // Rows that only the online store has are no longer what history says.
    written.is_refused("a removed append", "not online");
}

#[test]
fn a_removed_a_cut_and_a_swapped_append_are_missed() {
    let written = Written::new("offline", 3);
    fs::remove_file(&files(&written.path("history"))[2]).unwrap();
    written.is_refused("a removed append", "1 of 6 writes are lost");

    let written = Written::new("offline", 3);
    edit(&files(&written.path("history"))[2], |bytes| bytes.truncate(bytes.len() / 2));
    written.is_refused("a cut append", "corrupt");

    let written = Written::new("offline", 3);
    let history = files(&written.path("history"));
    fs::copy(&history[0], &history[5]).unwrap();
    written.is_refused("an append that stands twice", "twice");
}

#[test]
fn a_version_with_damaged_or_missing_bytes_is_noticed() {
    for change in [|bytes: &mut Vec<u8>| bytes[0] ^= 1, |bytes: &mut Vec<u8>| bytes.truncate(7)] {
        let written = Written::new("registry", 2);
        edit(&files(&written.path("artifacts"))[0], change);
        written.is_refused("a damaged blob", "artifact");
    }
    let written = Written::new("registry", 2);
    fs::remove_file(&files(&written.path("artifacts"))[0]).unwrap();
    written.is_refused("a removed blob", "not found");

    let written = Written::new("registry", 2);
    for file in files(&written.dir()).iter().filter(|path| path.to_string_lossy().contains("registry.db")) {
        fs::remove_file(file).unwrap();
    }
    written.is_refused("removed rows", "4 of 4 writes are lost");
}

#[test]
fn every_damaged_missing_or_strange_blob_is_noticed() {
    let written = Written::new("artifact", 2);
    let count = files(&written.path("blobs")).len();
    assert_eq!(count, 18, "two blobs and a manifest per write");
    for at in 0..count {
        let written = Written::new("artifact", 2);
        edit(&files(&written.path("blobs"))[at], |bytes| *bytes.last_mut().unwrap() ^= 0x10);
        written.is_refused("a flipped bit", "corrupt");
    }
    fs::remove_file(&files(&written.path("blobs"))[0]).unwrap();
    let (code, said) = written.verify();
    assert!(code == Some(1) && (said.contains("lost") || said.contains("not found")), "{said}");

    let written = Written::new("artifact", 2);
    fs::create_dir_all(written.path("blobs/ab")).unwrap();
    fs::write(written.path("blobs/ab").join("0".repeat(62)), b"x").unwrap();
    written.is_refused("a strange blob", "nobody put");
}

#[test]
fn a_step_that_has_to_run_again_after_it_finished_is_noticed() {
    let written = Written::new("pipeline", 2);
    fs::remove_file(&files(&written.path("outputs/records"))[0]).unwrap();
    written.is_refused("a removed record", "ran again");

    let written = Written::new("pipeline", 2);
    for file in files(&written.path("outputs/artifacts")) {
        edit(&file, |bytes| *bytes.last_mut().unwrap() ^= 1);
    }
    written.is_refused("damaged outputs", "1.0.1");

    let written = Written::new("pipeline", 2);
    edit(&written.path("effects").join(format!("{FIRST}-sum")), |lines| lines.extend(b"begun\nfinished\n"));
    written.is_refused("a step that ran twice", "run 1.0.1: step sum was finished and ran again");

    let written = Written::new("pipeline", 2);
    fs::remove_file(written.path("effects").join(format!("{FIRST}-draw"))).unwrap();
    written.is_refused("an effect that never was", "never finished");
}

#[test]
fn a_cut_a_removed_and_an_old_file_are_noticed() {
    let csv = |written: &Written| written.path("files").join(format!("{FIRST}.csv"));
    let written = Written::new("sink", 3);
    edit(&csv(&written), |bytes| {
        let end = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
        bytes.truncate(end + 1);
    });
    written.is_refused("a lost last line", "torn");

    let written = Written::new("sink", 3);
    fs::remove_file(csv(&written)).unwrap();
    written.is_refused("a removed file", "1.0.1");

    let written = Written::new("sink", 3);
    let parquet = written.path("files").join("1.1.1.parquet");
    edit(&parquet, |bytes| bytes.truncate(bytes.len() - 9));
    written.is_refused("a cut file", "1.1.1.parquet");

    let written = Written::new("sink", 3);
    fs::copy(csv(&written), written.path("files/latest.csv")).unwrap();
    written.is_refused("an old file", "latest is still 1.0.1");

    let written = Written::new("sink", 3);
    fs::write(written.path("files/half"), b"").unwrap();
    written.is_refused("a strange file", "half is there");
}
