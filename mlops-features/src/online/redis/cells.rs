//! Single values on the server that are changed by comparing: definitions of views, positions of materializations.

use std::sync::Arc;

use mlops_core::Name;

use super::client::{Call, Client};
use super::script::{Run, SWAP, Script};
use super::wire::{Malformed, Request};
use crate::error::{Core, Error, Result};
use crate::offline::Watermark;
use crate::online::sealed;

/// How often a value is put down anew because another writer was faster.
pub(super) const SWAPS_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Cells {
    pub(super) client: Arc<Client>,
    swap: Script,
}

impl Cells {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { client, swap: Script::new(SWAP) }
    }

    /// Other writers were faster every time.
    pub(super) fn outrun(&self, view: &Name) -> Error {
        Core::Busy { what: format!("{}: view `{view}`", self.client.address()) }.into()
    }

    pub(super) async fn get(&self, call: Call, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut request = Request::default();
        request.push(&[b"GET", key]);
        let answer = self.client.ask(call, &Arc::new(request)).await?;
        Ok(answer.value().map_err(|m| self.client.malformed(m))?.map(<[u8]>::to_vec))
    }

    /// Puts `next` in the place of `stored`; says whether that was still there.
    pub(super) async fn swap(&self, call: Call, key: &[u8], stored: Option<&[u8]>, next: &[u8]) -> Result<bool> {
        let mut run = Run::default();
        run.key(key);
        run.argument(stored.unwrap_or_default());
        run.argument(next);
        let answer = self.swap.run(&self.client, call, &[run]).await?;
        let done = answer.integers().next().unwrap_or(Err(Malformed("nothing")));
        Ok(done.map_err(|m| self.client.malformed(m))? == 1)
    }

    /// Stores a position at `key`, unless one that is further is there. A damaged one is replaced.
    pub(super) async fn mark(&self, call: Call, key: &[u8], view: &Name, reached: Watermark) -> Result<()> {
        let name = view.as_str().as_bytes();
        let next = sealed::watermark_bytes(name, reached);
        for _ in 0..SWAPS_MAX {
            let stored = self.get(call, key).await?;
            let before = stored.as_deref().and_then(|stored| sealed::watermark(name, stored).ok());
            if before.is_some_and(|before| before >= reached) || self.swap(call, key, stored.as_deref(), &next).await? {
                return Ok(());
            }
        }
        Err(self.outrun(view))
    }

    /// The position at `key`.
    pub(super) async fn watermark(&self, call: Call, key: &[u8], view: &Name) -> Result<Option<Watermark>> {
        let stored = self.get(call, key).await?;
        let read = |stored: Vec<u8>| sealed::watermark(view.as_str().as_bytes(), &stored);
        let corrupt = |reason| Core::corrupt(self.client.address().to_string(), reason).into();
        stored.map(read).transpose().map_err(corrupt)
    }
}
