//! The objects of one store, over whatever client it has.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore as Client, ObjectStoreExt};

use super::SYSTEM;
use super::failure::{Secrets, failed};
use super::runner::{Answer, Runner};
use crate::{Error, Result};

/// Keys that one listing gives at the most.
const LISTED_MAX: usize = 1_000_000;

/// A client and what it is run with.
#[derive(Debug)]
pub(super) struct Remote {
    client: Arc<dyn Client>,
    runner: Runner,
    /// In front of every key.
    prefix: Key,
    pub(super) url: String,
    secrets: Secrets,
}

/// One object that was there a moment ago.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) meta: ObjectMeta,
}

impl Remote {
    pub(super) fn new(client: Arc<dyn Client>, url: String, prefix: Key, secrets: Secrets, timeout: Duration) -> Self {
        Self { client, runner: Runner::new(timeout.saturating_mul(4)), prefix, url, secrets }
    }

    pub(super) fn full(&self, key: &Key) -> Key {
        self.prefix.parts().chain(key.parts()).collect()
    }

    pub(super) fn url_of(&self, key: &Key) -> String {
        format!("{}/{key}", self.url)
    }

    fn told(&self, key: &Key, error: object_store::Error) -> Error {
        failed(&self.url_of(key), &self.secrets, &error)
    }

    pub(super) fn head(&self, key: &Key) -> Result<Found> {
        let (client, full) = (self.client.clone(), self.full(key));
        let meta = self.runner.run(async move { client.head(&full).await })?.map_err(|e| self.told(key, e))?;
        Ok(Found { meta })
    }

    /// Starts to read bytes `range` of an object, which must still be the one that was found.
    pub(super) fn start_range(self: &Arc<Self>, key: &Key, found: &Found, range: Range<u64>) -> Result<Pending> {
        let (client, full) = (self.client.clone(), self.full(key));
        let etag = found.meta.e_tag.clone();
        let expected = range.end - range.start;
        let answer = self.runner.start(async move { fetch(&*client, &full, etag, range).await })?;
        Ok(Pending { answer, remote: self.clone(), key: key.clone(), expected })
    }

    /// Reads several ranges of an object; neighbours in one request, requests side by side.
    pub(super) fn ranges(&self, key: &Key, found: &Found, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>> {
        let (client, full) = (self.client.clone(), self.full(key));
        let etag = found.meta.e_tag.clone();
        let lengths: Vec<u64> = ranges.iter().map(|range| range.end - range.start).collect();
        let work = async move {
            let fetch = |range| fetch(&*client, &full, etag.clone(), range);
            object_store::coalesce_ranges(&ranges, fetch, object_store::OBJECT_STORE_COALESCE_DEFAULT).await
        };
        let pieces = self.runner.run(work)?.map_err(|e| self.told(key, e))?;
        if pieces.iter().map(|piece| piece.len() as u64).eq(lengths) { Ok(pieces) } else { Err(self.short(key)) }
    }

    fn short(&self, key: &Key) -> Error {
        Error::invalid_data(self.url_of(key), "it became shorter while it was read")
    }

    /// Keys below `below`, folder by folder.
    pub(super) fn keys(&self, below: Key) -> Result<Vec<(String, ObjectMeta)>> {
        let client = self.client.clone();
        let strip = self.prefix.parts_count();
        let listed = self.runner.run_long(async move {
            let (mut folders, mut keys) = (vec![below], Vec::new());
            while let Some(folder) = folders.pop().filter(|_| keys.len() <= LISTED_MAX) {
                let prefix = (!folder.is_root()).then_some(&folder);
                let found = client.list_with_delimiter(prefix).await?;
                folders.extend(found.common_prefixes);
                let key = |meta: &ObjectMeta| meta.location.parts().skip(strip).collect::<Key>().to_string();
                keys.extend(found.objects.into_iter().map(|meta| (key(&meta), meta)));
            }
            Ok(keys)
        })?;
        let keys: Vec<(String, ObjectMeta)> = listed.map_err(|e| self.told(&Key::default(), e))?;
        if keys.len() > LISTED_MAX {
            return Err(Error::external(SYSTEM, format!("{}: more than {LISTED_MAX} keys", self.url)));
        }
        Ok(keys)
    }

    /// Runs an upload with the client and the full key; failures are told of `key`.
    pub(super) fn upload<F>(&self, key: &Key, work: impl FnOnce(Arc<dyn Client>, Key) -> F) -> Result<()>
    where
        F: Future<Output = object_store::Result<()>> + Send + 'static,
    {
        self.runner.run_long(work(self.client.clone(), self.full(key)))?.map_err(|e| self.told(key, e))
    }
}

async fn fetch(client: &dyn Client, key: &Key, etag: Option<String>, range: Range<u64>) -> object_store::Result<Bytes> {
    let options = GetOptions { range: Some(GetRange::Bounded(range)), if_match: etag, ..GetOptions::default() };
    client.get_opts(key, options).await?.bytes().await
}

/// Bytes that are under way.
#[derive(Debug)]
pub(super) struct Pending {
    answer: Answer<object_store::Result<Bytes>>,
    remote: Arc<Remote>,
    key: Key,
    expected: u64,
}

impl Pending {
    pub(super) fn get(self) -> Result<Bytes> {
        let bytes = self.answer.get()?.map_err(|e| self.remote.told(&self.key, e))?;
        if bytes.len() as u64 == self.expected { Ok(bytes) } else { Err(self.remote.short(&self.key)) }
    }
}
