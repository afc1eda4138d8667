//! A bucket, a container or a folder.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{ClientOptions, ObjectMeta, ObjectStore as Client, RetryConfig};

use super::SYSTEM;
use super::failure::Secrets;
use super::remote::Remote;
use crate::source::SourceInfo;
use crate::time::EventTime;
use crate::{Error, Result};

/// What a URL must be.
const URLS: &str =
    "file:///folder, s3://bucket/…, gs://bucket/… or az://container/…, without user, password, `?` or `#`";

/// A bucket of S3, Google Cloud Storage or Azure, or a local folder, by its URL. Clones share one client.
///
/// | URL | place |
/// |---|---|
/// | `file:///folder` | a folder of this machine; what is written there is durable when a commit returns |
/// | `s3://bucket/prefix` | S3 and what speaks its protocol (MinIO, Ceph, R2 …, by [`endpoint`](ObjectStoreBuilder::endpoint)) |
/// | `gs://bucket/prefix` | Google Cloud Storage |
/// | `az://container/prefix` | Azure Blob Storage |
///
/// Credentials come from the options or else from the environment, under the names that the providers' own tools use
/// (`AWS_ACCESS_KEY_ID`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_KEY` …). They never show in errors, `Debug` or
/// locations; URLs that hold any are refused. The URL decides which host is talked to, so it must come from the host
/// program, never from a request.
///
/// The client runs on one thread with its own runtime, which the first use of a remote store starts and the last clone ends; it
/// may be used within an async runtime, whose thread it then blocks.
///
/// # Examples
/// ```
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use mlops_core::source::{DataSource, ObjectStore, ScanRequest};
/// use mlops_core::Dataset;
///
/// let folder = tempfile::tempdir()?;
/// let store = ObjectStore::open(format!("file://{}", folder.path().display()))?;
/// let ids = std::sync::Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef;
/// let rows = Dataset::from_batches([RecordBatch::try_from_iter([("id", ids)])?])?;
/// rows.write_to(&store.sink("daily/ids.parquet")?)?;
/// assert_eq!(store.list("daily/*.parquet")?, ["daily/ids.parquet"]);
/// let back = Dataset::collect(store.source("daily/ids.parquet")?.scan(&ScanRequest::all())?)?;
/// assert_eq!(back.digest()?, rows.digest()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ObjectStore {
    pub(super) remote: Arc<Remote>,
    /// The folder, where it is one of this machine.
    pub(super) root: Option<PathBuf>,
}

impl fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStore").field("url", &self.remote.url).finish_non_exhaustive()
    }
}

/// Settings of an [`ObjectStore`].
#[derive(Clone)]
pub struct ObjectStoreBuilder {
    url: String,
    credentials: Option<(String, String)>,
    endpoint: Option<String>,
    region: Option<String>,
    options: Vec<(String, String)>,
    retries: usize,
    timeout: Duration,
}

impl fmt::Debug for ObjectStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.options.iter().map(|(name, _)| name).collect();
        f.debug_struct("ObjectStoreBuilder").field("options", &names).finish_non_exhaustive()
    }
}

impl ObjectStoreBuilder {
    /// Access key and secret of S3, or account and key of Azure. Default: from the environment.
    pub fn credentials(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.credentials = Some((id.into(), secret.into()));
        self
    }

    /// The server in place of the provider's. Plain `http://` is taken for this machine only, unless the option
    /// `allow_http` is set.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// The region of S3. Default: from the environment, else `us-east-1`.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Any other option of the provider, by the name that the crate `object_store` documents, such as
    /// `aws_session_token`, `azure_storage_sas_token`, `google_service_account` or `allow_http`.
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.push((name.into(), value.into()));
        self
    }

    /// Failures of one request after which it is given up; at most 100. Default 5. Pauses grow from 100 ms to 15 s.
    pub fn retries(mut self, retries: usize) -> Self {
        self.retries = retries;
        self
    }

    /// How long one request may take; with all its retries it may take four times as long. Default 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Checks the settings; no request is made.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a URL of another kind or one that holds credentials, an option that the provider does not know, more
    /// than 100 retries or a timeout of 0; [`Error::NotFound`] for a local folder that is not there.
    pub fn build(self) -> Result<ObjectStore> {
        if self.retries > 100 {
            return Err(Error::invalid("retries", self.retries, "at most 100"));
        }
        if self.timeout.is_zero() {
            return Err(Error::invalid("timeout", "0", "above 0"));
        }
        let (scheme, rest) = split(&self.url)?;
        if scheme == "file" {
            return ObjectStore::folder(Path::new(rest));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(Error::invalid("url", &self.url, URLS));
        }
        let prefix = key_of(prefix.trim_end_matches('/'))?;
        let url =
            if prefix.is_root() { format!("{scheme}://{bucket}") } else { format!("{scheme}://{bucket}/{prefix}") };
        let client = self.client(scheme, &format!("{scheme}://{bucket}"))?;
        let secrets = self.secrets();
        Ok(ObjectStore { remote: Arc::new(Remote::new(client, url, prefix, secrets, self.timeout)), root: None })
    }

    fn client(&self, scheme: &str, bucket: &str) -> Result<Arc<dyn Client>> {
        let retry = RetryConfig {
            max_retries: self.retries,
            retry_timeout: self.timeout.saturating_mul(3),
            ..RetryConfig::default()
        };
        let limits = ClientOptions::new().with_timeout(self.timeout).with_connect_timeout(self.timeout);
        let limits = limits.with_allow_http(self.allow_http());
        let built = match scheme {
            "s3" => {
                let base = AmazonS3Builder::from_env().with_url(bucket).with_client_options(limits).with_retry(retry);
                let set = self.named(scheme, &S3)?.into_iter().fold(base, |b, (key, value)| b.with_config(key, value));
                set.build().map(|client| Arc::new(client) as Arc<dyn Client>)
            }
            "az" => {
                let base = MicrosoftAzureBuilder::from_env().with_url(bucket);
                let base = base.with_client_options(limits).with_retry(retry);
                let set =
                    self.named(scheme, &AZURE)?.into_iter().fold(base, |b, (key, value)| b.with_config(key, value));
                set.build().map(|client| Arc::new(client) as _)
            }
            _ => {
                let base = GoogleCloudStorageBuilder::from_env().with_url(bucket);
                let base = base.with_client_options(limits).with_retry(retry);
                let set =
                    self.named(scheme, &GOOGLE)?.into_iter().fold(base, |b, (key, value)| b.with_config(key, value));
                set.build().map(|client| Arc::new(client) as _)
            }
        };
        built.map_err(|e| Error::external(SYSTEM, self.secrets().scrub(&e.to_string())))
    }

    fn secrets(&self) -> Secrets {
        let values = self.options.iter().map(|(_, value)| value).chain(self.credentials.iter().map(|(_, s)| s));
        Secrets::new(values.cloned())
    }

    /// All options by the provider's names.
    fn named<K: FromStr>(&self, scheme: &str, names: &Names) -> Result<Vec<(K, String)>> {
        let mut all = Vec::new();
        let mut set = |setting: &'static str, name: Option<&str>, value: Option<&String>| match (name, value) {
            (_, None) => Ok(()),
            (Some(name), Some(value)) => {
                all.push((name.to_owned(), value.clone()));
                Ok(())
            }
            (None, Some(_)) => Err(Error::invalid(setting, scheme, "a provider that has it")),
        };
        set("credentials", names.id, self.credentials.as_ref().map(|(id, _)| id))?;
        set("credentials", names.secret, self.credentials.as_ref().map(|(_, secret)| secret))?;
        set("endpoint", names.endpoint, self.endpoint.as_ref())?;
        set("region", names.region, self.region.as_ref())?;
        // Was heard already, as a limit of the client.
        all.extend(self.options.iter().filter(|(name, _)| name != "allow_http").cloned());
        let known = |(name, value): (String, String)| match name.parse() {
            Ok(key) => Ok((key, value)),
            Err(_) => Err(Error::invalid("option", name, "an option that this provider knows")),
        };
        all.into_iter().map(known).collect()
    }

    fn allow_http(&self) -> bool {
        let host = self.endpoint.as_deref().and_then(|url| url.strip_prefix("http://")).unwrap_or_default();
        let host = host.split('/').next().unwrap_or_default();
        let host = if host.starts_with('[') { host } else { host.split(':').next().unwrap_or_default() };
        let here = matches!(host, "localhost" | "127.0.0.1") || host.starts_with("[::1]");
        here || self.options.iter().any(|(name, value)| name == "allow_http" && value == "true")
    }
}

/// What a provider calls its credentials, endpoint and region, where it has them.
struct Names {
    id: Option<&'static str>,
    secret: Option<&'static str>,
    endpoint: Option<&'static str>,
    region: Option<&'static str>,
}

const S3: Names = Names {
    id: Some("aws_access_key_id"),
    secret: Some("aws_secret_access_key"),
    endpoint: Some("aws_endpoint"),
    region: Some("aws_region"),
};
const AZURE: Names = Names {
    id: Some("azure_storage_account_name"),
    secret: Some("azure_storage_account_key"),
    endpoint: Some("azure_endpoint"),
    region: None,
};
const GOOGLE: Names = Names { id: None, secret: None, endpoint: Some("google_base_url"), region: None };

/// Scheme and rest of a URL that holds nothing but a place.
fn split(url: &str) -> Result<(&str, &str)> {
    // What is refused may hold a password, so only the scheme is shown.
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    let known = matches!(scheme, "file" | "s3" | "gs" | "az");
    let shown = if known { format!("{scheme}://…") } else { "a URL of another kind".to_owned() };
    let authority = if scheme == "file" { "" } else { rest.split('/').next().unwrap_or_default() };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let holds_more = rest.contains(['?', '#']) || !authority.chars().all(plain);
    if !known || holds_more || (scheme == "file" && !rest.starts_with('/')) {
        return Err(Error::invalid("url", shown, URLS));
    }
    Ok((scheme, rest))
}

/// A key without tricks: no empty segment, no `.` or `..`, nothing that would have to be escaped.
pub(super) fn key_of(key: &str) -> Result<Key> {
    const DOMAIN: &str = "segments between `/`, none empty, `.` or `..`";
    if key.starts_with('/') || key.ends_with('/') || key.contains('\\') {
        return Err(Error::invalid("key", format!("{key:?}"), DOMAIN));
    }
    Key::parse(key).map_err(|_| Error::invalid("key", format!("{key:?}"), DOMAIN))
}

impl ObjectStore {
    /// The store at `url`, with credentials from the environment.
    ///
    /// # Errors
    /// What [`ObjectStoreBuilder::build`] says.
    pub fn open(url: impl Into<String>) -> Result<Self> {
        Self::builder(url).build()
    }

    /// Settings for the store at `url`.
    pub fn builder(url: impl Into<String>) -> ObjectStoreBuilder {
        ObjectStoreBuilder {
            url: url.into(),
            credentials: None,
            endpoint: None,
            region: None,
            options: Vec::new(),
            retries: 5,
            timeout: Duration::from_secs(30),
        }
    }

    /// An empty store in memory, for tests; `name` is for messages.
    pub fn memory(name: &str) -> Self {
        Self::over(Arc::new(InMemory::new()), format!("memory://{name}"))
    }

    /// A store over any client.
    pub(super) fn over(client: Arc<dyn Client>, url: String) -> Self {
        let remote = Remote::new(client, url, Key::default(), Secrets::default(), Duration::from_secs(30));
        Self { remote: Arc::new(remote), root: None }
    }

    fn folder(root: &Path) -> Result<Self> {
        if !root.is_dir() {
            return Err(Error::not_found("folder", root.display().to_string()));
        }
        let client = LocalFileSystem::new_with_prefix(root).map_err(|e| Error::external(SYSTEM, e.to_string()))?;
        let url = format!("file://{}", root.display());
        let store = Self::over(Arc::new(client), url);
        Ok(Self { root: Some(root.to_owned()), ..store })
    }

    /// The URL, without anything that must not be seen.
    pub fn url(&self) -> &str {
        &self.remote.url
    }

    /// Keys that fit `pattern` (`*` within a segment, `**` across them, `?`, `[…]`), in order.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a pattern that cannot be understood, [`Error::External`] when the store fails or there are more than a
    /// million keys.
    pub fn list(&self, pattern: &str) -> Result<Vec<String>> {
        let keys = self.matching(pattern)?.into_iter();
        Ok(keys.map(|(key, _)| key).collect())
    }

    /// As [`list`](Self::list), with sizes and last changes.
    pub(super) fn listed(&self, pattern: &str) -> Result<Vec<(PathBuf, SourceInfo)>> {
        let info = |(key, meta): (String, ObjectMeta)| {
            let modified = EventTime::from_micros(meta.last_modified.timestamp_micros());
            let known = SourceInfo::new("file", format!("{}/{key}", self.url()));
            (PathBuf::from(key), SourceInfo { size_bytes: Some(meta.size), modified: Some(modified), ..known })
        };
        Ok(self.matching(pattern)?.into_iter().map(info).collect())
    }

    fn matching(&self, pattern: &str) -> Result<Vec<(String, ObjectMeta)>> {
        let glob = glob::Pattern::new(pattern)
            .map_err(|_| Error::invalid("pattern", format!("{pattern:?}"), "a pattern of `*`, `**`, `?` and `[…]`"))?;
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        // Only what lies below the segments without a special character is asked for.
        let special = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
        let fixed = pattern[..special].rfind('/').map_or("", |end| &pattern[..end]);
        let below = self.remote.full(&key_of(fixed)?);
        let mut keys = self.remote.keys(below)?;
        keys.retain(|(key, _)| glob.matches_with(key, options));
        keys.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(keys)
    }
}
