//! Kit of [`ArtifactStore`].

use std::io::{Cursor, Error as IoError, Read};

use crate::artifact::{ArtifactStore, ArtifactStoreExt, Blob, Manifest, Sha256};

/// Checks the contract of [`ArtifactStore`] on fresh stores made by `make`.
///
/// # Panics
/// When the contract does not hold.
pub fn artifact_store<S: ArtifactStore>(make: impl Fn() -> S) {
    gives_back_what_was_put(&make());
    puts_the_same_bytes_once(&make());
    keeps_nothing_of_a_failed_put(&make());
    says_what_is_missing(&make());
    names_the_blobs_of_a_manifest(&make());
}

fn gives_back_what_was_put(store: &dyn ArtifactStore) {
    let large: Vec<u8> = (0..600_000_u32).flat_map(u32::to_le_bytes).collect();
    for bytes in [b"".as_slice(), b"x", &large] {
        let blob = store.put_bytes(bytes).expect("a put of any length works");
        assert_eq!(
            blob,
            Blob { digest: Sha256::of(bytes), size: bytes.len() as u64 },
            "a blob is named by its content"
        );
        assert_eq!(
            store.get(&blob.digest, u64::MAX).expect("a put blob is read"),
            bytes,
            "bytes come back as they were"
        );
        assert_eq!(store.verify(&blob.digest).expect("a put blob verifies"), blob.size);
    }
    assert!(store.get(&Sha256::of(&large), 10).is_err(), "a blob above the caller's limit is refused");
}

fn puts_the_same_bytes_once(store: &dyn ArtifactStore) {
    let first = store.put_bytes(b"same").expect("put");
    assert_eq!(store.put_bytes(b"same").expect("the second put"), first);
    store.put_bytes(b"other").expect("put");
    let listed = store.list().expect("list");
    assert_eq!(listed.len(), 2, "each content is stored once");
    assert!(listed.is_sorted(), "the list is sorted by digest");
    assert!(store.remove(&first.digest).expect("remove"), "what was here is removed");
    assert!(!store.remove(&first.digest).expect("remove"), "what is gone is not removed again");
    assert_eq!(store.size(&first.digest).expect("size"), None);
}

fn keeps_nothing_of_a_failed_put(store: &dyn ArtifactStore) {
    struct Breaks;
    impl Read for Breaks {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(IoError::other("the line is cut"))
        }
    }
    assert!(store.put(&mut Cursor::new(b"half").chain(Breaks)).is_err(), "a put whose content breaks off fails");
    assert_eq!(store.list().expect("list"), [], "nothing of a failed put stays");
}

fn says_what_is_missing(store: &dyn ArtifactStore) {
    let missing = Sha256::of(b"never put");
    assert_eq!(store.size(&missing).expect("size"), None);
    let error = store.open(&missing).map(drop).expect_err("a missing blob is not opened").to_string();
    assert!(error.contains(&missing.to_string()), "the error names the blob: {error}");
}

fn names_the_blobs_of_a_manifest(store: &dyn ArtifactStore) {
    let blob = store.put_bytes(b"model").expect("put");
    let manifest = Manifest::new([("model".to_owned(), blob)]).expect("a plain name is fine");
    let digest = store.put_manifest(&manifest).expect("a manifest of stored blobs is stored").digest;
    assert_eq!(store.verify_manifest(&digest).expect("it verifies"), manifest);
    store.remove(&blob.digest).expect("remove");
    assert!(store.verify_manifest(&digest).is_err(), "a manifest whose blob is gone does not verify");
    assert!(store.put_manifest(&manifest).is_err(), "a manifest of missing blobs is not stored");
}
