//! Blobs and manifests in the artifact store, from three threads at once.

use std::collections::BTreeSet;
use std::path::Path;

use mlops_registry::artifact::{ArtifactStore, ArtifactStoreExt, Blob, FileArtifacts, Manifest, Sha256};

use super::{Asked, Store, Surface};
use crate::Result;
use crate::token::Token;

/// Largest blob.
const BYTES_MAX: usize = 64_000;

/// `mlops_registry::artifact::FileArtifacts`.
#[derive(Debug)]
pub struct Artifacts;

impl Surface for Artifacts {
    fn name(&self) -> &'static str {
        "artifact"
    }

    fn writers(&self) -> u32 {
        3
    }

    fn open(&self, dir: &Path) -> Result<Box<dyn Store>> {
        Ok(Box::new(Open(FileArtifacts::open(dir.join("blobs"))?)))
    }
}

struct Open(FileArtifacts);

/// What a write puts: two blobs and the manifest that names them.
struct Content {
    blobs: [Vec<u8>; 2],
    manifest: Manifest,
}

impl Content {
    fn of(token: Token) -> Result<Self> {
        let blobs = [token.bytes(10, BYTES_MAX), token.bytes(20, 2_000)];
        let names = ["model".to_owned(), "reports/short.txt".to_owned()];
        let blob = |bytes: &Vec<u8>| Blob { digest: Sha256::of(bytes), size: bytes.len() as u64 };
        let manifest = Manifest::new(names.into_iter().zip(blobs.iter().map(blob)))?;
        Ok(Self { blobs, manifest })
    }

    fn digest(&self) -> Result<Sha256> {
        Ok(Sha256::of(&self.manifest.to_bytes()?))
    }
}

impl Store for Open {
    fn write(&self, token: Token) -> Result<()> {
        let content = Content::of(token)?;
        for bytes in &content.blobs {
            self.0.put_bytes(bytes)?;
        }
        self.0.put_manifest(&content.manifest)?;
        Ok(())
    }

    fn present(&self, asked: &Asked) -> Result<BTreeSet<Token>> {
        let (mut present, mut known) = (BTreeSet::new(), BTreeSet::new());
        for token in asked.all() {
            let content = Content::of(token)?;
            let digest = content.digest()?;
            known.extend(content.manifest.entries().iter().map(|entry| entry.digest).chain([digest]));
            if self.0.size(&digest)?.is_none() {
                continue;
            }
            let failed = |e: mlops_registry::Error| format!("{token}: {e}");
            if self.0.verify_manifest(&digest).map_err(failed)? != content.manifest {
                return Err(format!("{token}: the manifest is another").into());
            }
            for (entry, bytes) in content.manifest.entries().iter().zip(&content.blobs) {
                if self.0.get(&entry.digest, BYTES_MAX as u64).map_err(failed)? != *bytes {
                    return Err(format!("{token}: `{}` has other bytes", entry.name).into());
                }
            }
            present.insert(token);
        }
        for blob in self.0.list()? {
            if !known.contains(&blob.digest) {
                return Err(format!("blob {} is there, which nobody put", blob.digest).into());
            }
            self.0.verify(&blob.digest)?;
        }
        Ok(present)
    }
}
