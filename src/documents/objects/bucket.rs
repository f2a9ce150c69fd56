//! Objects in a bucket of an S3 server.
//!
//! A put creates under a condition (`If-None-Match: *`): when an answer got lost and the put comes again, the server says that
//! the object is there, and its length decides. Time-outs and broken connections are tried again until the time for the whole
//! put is over, since the client of a mail waits for it. Failure: cause and fix, as one error; nothing names the object yet.

use std::time::Duration;

use futures_util::StreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig,
};
use tokio::time::Instant;
use tracing::warn;

use super::{Found, KINDS, LISTED_MAX, Listed, Removed, found, head, location, named};
use crate::config::BucketConfig;
use crate::documents::{DocumentsError, Result};
use crate::store::ObjectName;

/// Objects removed at once.
const REMOVALS_MAX: usize = 16;
/// Longest text of a server's error that people are shown.
const CAUSE_CHARS_MAX: usize = 300;

/// How long a bucket is waited for.
#[derive(Debug, Clone, Copy)]
pub struct BucketTimes {
    /// For a connection.
    pub connect: Duration,
    /// For one request with its answer.
    pub request: Duration,
    /// For a put or a check with all its tries: a client of SMTP waits meanwhile.
    pub put: Duration,
    /// For a get with all its tries: nobody outside waits.
    pub get: Duration,
}

impl Default for BucketTimes {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            request: Duration::from_secs(10),
            put: Duration::from_secs(20),
            get: Duration::from_secs(45),
        }
    }
}

/// A bucket, or what lies below a prefix in it.
pub(in crate::documents) struct Bucket {
    store: AmazonS3,
    shown: String,
    prefix: Path,
    times: BucketTimes,
}

impl Bucket {
    pub(super) fn open(config: &BucketConfig, times: BucketTimes) -> Result<Self> {
        let in_the_clear = config.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let client = ClientOptions::new()
            .with_allow_http(in_the_clear)
            .with_connect_timeout(times.connect)
            .with_timeout(times.request);
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: 6,
            retry_timeout: times.put / 2,
        };
        // What is not said comes from the environment, as for every other program that talks to S3.
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(&config.bucket);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &config.region {
            builder = builder.with_region(region);
        }
        // A host whose name begins with the bucket's is for Amazon alone.
        builder = builder.with_virtual_hosted_style_request(config.endpoint.is_none());
        if let Some(key) = &config.access_key {
            builder = builder.with_access_key_id(key);
        }
        if let Some(key) = &config.secret_key {
            builder = builder.with_secret_access_key(key);
        }
        let shown = config.to_string();
        let unusable = |e: object_store::Error| {
            DocumentsError::Unavailable(format!("cannot use {shown}: {e}; fix: see store.documents and store.s3"))
        };
        let store = builder.with_client_options(client).with_retry(retry).build().map_err(unusable)?;
        Ok(Self { store, shown, prefix: Path::from(config.prefix.as_str()), times })
    }

    fn at(&self, name: &ObjectName) -> Path {
        self.below(location(name).as_ref())
    }

    fn below(&self, text: &str) -> Path {
        Path::from_iter(self.prefix.parts().chain(Path::from(text).parts()))
    }

    pub(super) async fn create(&self, name: &ObjectName, bytes: Vec<u8>) -> Result<()> {
        let size_bytes = bytes.len() as u64;
        let (at, payload) = (self.at(name), PutPayload::from(bytes));
        self.within(self.times.put, self.try_create(name, &at, &payload, size_bytes)).await
    }

    async fn try_create(&self, name: &ObjectName, at: &Path, payload: &PutPayload, size_bytes: u64) -> Result<()> {
        let mut wait = Duration::from_millis(100);
        // Ends with the time for the whole put at the latest.
        loop {
            let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.store.put_opts(at, payload.clone(), create).await {
                Ok(_) => return Ok(()),
                Err(object_store::Error::AlreadyExists { .. }) => {
                    // The name is ours alone: an earlier try was answered too late, or not at all.
                    let stored = head(&self.store, at, |e| self.meaning(e)).await?;
                    match stored {
                        Some(stored) if stored.size_bytes == size_bytes => return Ok(()),
                        Some(stored) => {
                            let found = stored.size_bytes;
                            warn!(document = %name, found, expected = size_bytes, "a damaged document is replaced");
                            self.store.put(at, payload.clone()).await.map_err(|e| self.meaning(e))?;
                            return Ok(());
                        }
                        None => {}
                    }
                }
                Err(other) if may_pass(&other) => warn!(error = %self.meaning(other), "a document is put once more"),
                Err(other) => return Err(self.meaning(other)),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(2));
        }
    }

    pub(super) async fn replace(&self, name: &ObjectName, bytes: Vec<u8>) -> Result<()> {
        let at = self.at(name);
        self.within(self.times.put, async {
            self.store.put(&at, PutPayload::from(bytes)).await.map(drop).map_err(|e| self.meaning(e))
        })
        .await
    }

    pub(super) async fn find(&self, name: &ObjectName) -> Result<Option<Found>> {
        let at = self.at(name);
        self.within(self.times.put, head(&self.store, &at, |e| self.meaning(e))).await
    }

    pub(super) async fn read(&self, name: &ObjectName) -> Result<Option<Vec<u8>>> {
        let at = self.at(name);
        self.within(self.times.get, async {
            let mut tries_left = 3;
            loop {
                let found = match self.store.get(&at).await {
                    Ok(found) => found,
                    Err(object_store::Error::NotFound { .. }) => return self.missing().await,
                    Err(other) => return Err(self.meaning(other)),
                };
                match found.bytes().await {
                    Ok(bytes) => return Ok(Some(bytes.into())),
                    // The connection broke in the middle of the answer.
                    Err(_) if tries_left > 0 => tries_left -= 1,
                    Err(error) => return Err(self.meaning(error)),
                }
            }
        })
        .await
    }

    /// A bucket that is not there answers as an object that is not there does: a document would seem to be lost.
    async fn missing(&self) -> Result<Option<Vec<u8>>> {
        match self.store.list(Some(&self.below("none"))).next().await {
            Some(Err(error)) => Err(self.meaning(error)),
            _ => Ok(None),
        }
    }

    pub(super) async fn remove(&self, names: &[ObjectName], since: std::time::SystemTime) -> Result<Removed> {
        let mut removed = Removed::default();
        for some in names.chunks(REMOVALS_MAX) {
            let all = some.iter().map(|name| async move {
                let Some(found) = self.find(name).await?.filter(|found| found.at < since) else { return Ok(None) };
                match self.store.delete(&self.at(name)).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(Some(found.size_bytes)),
                    Err(other) => Err(self.meaning(other)),
                }
            });
            for size_bytes in futures_util::future::join_all(all).await {
                removed.add(size_bytes?);
            }
        }
        Ok(removed)
    }

    /// In pages, as the server gives them. `after` is the last name before.
    pub(super) async fn list(&self, folder: u8, after: Option<&str>, old: std::time::SystemTime) -> Result<Listed> {
        let mut listed = Listed::default();
        let mut seen = 0;
        for (place, kind) in KINDS.into_iter().enumerate() {
            let (place, folder) = (place.to_string(), self.below(&format!("{kind}/{folder:02x}")));
            let offset = after.and_then(|after| after.split_at_checked(1));
            let mut objects = match offset {
                Some((before, _)) if before > place.as_str() => continue,
                Some((before, name)) if before == place => {
                    self.store.list_with_offset(Some(&folder), &Path::from(name))
                }
                _ => self.store.list(Some(&folder)),
            };
            while let Some(meta) = objects.next().await {
                let meta = meta.map_err(|e| self.meaning(e))?;
                let name = meta.location.filename().and_then(|text| named(kind, text));
                listed.old.extend(name.filter(|_| found(&meta).at < old));
                seen += 1;
                if seen >= LISTED_MAX {
                    listed.next = Some(format!("{place}{}", meta.location));
                    return Ok(listed);
                }
            }
        }
        Ok(listed)
    }

    pub(super) async fn check(&self) -> Result<()> {
        let at = self.below("check");
        let written = async {
            let put = self.store.put(&at, PutPayload::from_static(b"the gateway can write here\n")).await;
            put.map(drop).map_err(|e| self.meaning(e))
        };
        self.within(self.times.put, written).await
    }

    async fn within<T>(&self, time: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
        let began = Instant::now();
        match tokio::time::timeout(time, work).await {
            Ok(done) => done,
            Err(_) => {
                let waited_s = began.elapsed().as_secs();
                let fix = "fix: see whether the server is overloaded or its answers are lost on the way";
                Err(DocumentsError::Unavailable(format!("{} has not answered within {waited_s} s; {fix}", self.shown)))
            }
        }
    }

    fn meaning(&self, error: object_store::Error) -> DocumentsError {
        let text = every_cause(&error);
        let (why, fix) = match &error {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                ("the server refuses these credentials", "see store.s3, and what its user may do in the bucket")
            }
            object_store::Error::NotFound { .. } if text.contains("NoSuchBucket") => {
                ("there is no such bucket", "make the bucket, or correct its name in store.documents")
            }
            _ if text.contains("NoSuchBucket") => {
                ("there is no such bucket", "make the bucket, or correct its name in store.documents")
            }
            _ if text.contains("Connect") || text.contains("connect") || text.contains("dns") => {
                ("the server cannot be reached", "see whether it runs, and the endpoint in store.documents")
            }
            _ => ("the server does not do what it was asked", "see the server's log and the cause"),
        };
        let text: String = text.chars().take(CAUSE_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
        DocumentsError::Unavailable(format!("{}: {why}: {text}; fix: {fix}", self.shown))
    }
}

/// Whether trying again may help: never where the server has understood and refused.
fn may_pass(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { .. }) && !every_cause(error).contains("NoSuchBucket")
}

fn every_cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}
