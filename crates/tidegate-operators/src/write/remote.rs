//! Targets in object stores: every file is a multipart upload that is completed only when the
//! whole write is committed. Nothing is visible before; completing several files is not one step.

use std::sync::Arc;

use datafusion::common::runtime::JoinSet;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;

use super::error::{Error, Result};
use super::spec::WriteMode;

/// Some stores want all parts but the last of one size, at least 5 MiB.
pub(super) const PART_BYTES: usize = 8 << 20;
/// Uploads completed or aborted at the same time.
const COMPLETING_MAX: usize = 16;

/// A write into an object store.
#[derive(Debug)]
pub(super) struct Remote {
    store: Arc<dyn ObjectStore>,
    /// The object, or the prefix of all objects.
    base: Path,
    url: String,
    single: bool,
    mode: WriteMode,
    finished: Mutex<Vec<Upload>>,
}

/// An upload with all its parts but not completed.
#[derive(Debug)]
struct Upload {
    path: Path,
    /// None for an empty object: a multipart upload cannot be empty.
    parts: Option<Box<dyn MultipartUpload>>,
}

impl Remote {
    /// Checks the target; `None` when it exists and the mode is to ignore that.
    pub(super) async fn open(
        store: Arc<dyn ObjectStore>,
        path: &str,
        url: &str,
        single: bool,
        mode: WriteMode,
    ) -> Result<Option<Self>> {
        let base = Path::from_url_path(path).map_err(|error| refused(url, &error.to_string()))?;
        let exists = match single {
            true => exists(&*store, &base, url).await?,
            false => any_below(&*store, &base, url).await?,
        };
        match (mode, exists) {
            (WriteMode::Ignore, true) => return Ok(None),
            (WriteMode::Error, true) if single => return Err(refused(url, "it already exists")),
            (WriteMode::Error, true) => {
                return Err(refused(
                    url,
                    "it already exists and is not empty; use MODE append",
                ));
            }
            (WriteMode::Overwrite, true) if !single => {
                let why = "a directory in an object store cannot be replaced at once; remove its objects or write elsewhere";
                return Err(refused(url, why));
            }
            (WriteMode::Append, _) if single => {
                return Err(refused(
                    url,
                    "a single file cannot be appended to; write to a directory",
                ));
            }
            _ => {}
        }
        let url = url.to_owned();
        Ok(Some(Self {
            store,
            base,
            url,
            single,
            mode,
            finished: Mutex::default(),
        }))
    }

    pub(super) async fn create(self: &Arc<Self>, name: &str) -> Result<RemoteFile> {
        let path = match self.single {
            true => self.base.clone(),
            // The name is encoded already; joining it part by part would encode its percent signs.
            false => Path::parse(format!("{}/{name}", self.base))
                .map_err(|error| refused(&self.url, &error.to_string()))?,
        };
        Ok(RemoteFile {
            remote: Arc::clone(self),
            path,
            upload: None,
            kept: Vec::new(),
        })
    }

    /// Completes all uploads.
    pub(super) async fn commit(&self) -> Result<()> {
        if self.single
            && self.mode == WriteMode::Error
            && exists(&*self.store, &self.base, &self.url).await?
        {
            return Err(refused(&self.url, "it already exists"));
        }
        let uploads = std::mem::take(&mut *self.finished.lock());
        let mut completing = JoinSet::new();
        let mut waiting = uploads.into_iter();
        loop {
            let next = (completing.len() < COMPLETING_MAX)
                .then(|| waiting.next())
                .flatten();
            if let Some(upload) = next {
                completing.spawn(complete(Arc::clone(&self.store), upload));
                continue;
            }
            match completing.join_next().await {
                None => return Ok(()),
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => return Err(failed(&self.url, error)),
                Some(Err(_)) => return Err(refused(&self.url, "an upload was cancelled")),
            }
        }
    }

    /// Gives up all uploads; what the store does not answer to is left to its own rules.
    pub(super) async fn abort(&self) {
        let uploads = std::mem::take(&mut *self.finished.lock());
        let mut aborting = JoinSet::new();
        for mut parts in uploads.into_iter().filter_map(|upload| upload.parts) {
            aborting.spawn(async move { parts.abort().await });
            if aborting.len() >= COMPLETING_MAX {
                let _ = aborting.join_next().await;
            }
        }
        while aborting.join_next().await.is_some() {}
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        for upload in std::mem::take(self.finished.get_mut()) {
            abort_later(upload.parts);
        }
    }
}

/// An object being written.
#[derive(Debug)]
pub(super) struct RemoteFile {
    remote: Arc<Remote>,
    path: Path,
    upload: Option<Box<dyn MultipartUpload>>,
    /// Less than a part.
    kept: Vec<u8>,
}

impl RemoteFile {
    pub(super) async fn write(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.kept.extend_from_slice(&bytes);
        while self.kept.len() >= PART_BYTES {
            let rest = self.kept.split_off(PART_BYTES);
            let part = std::mem::replace(&mut self.kept, rest);
            self.send(part).await?;
        }
        Ok(())
    }

    async fn send(&mut self, part: Vec<u8>) -> Result<()> {
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => {
                let begun = self.remote.store.put_multipart(&self.path).await;
                self.upload
                    .insert(begun.map_err(|error| failed(&self.remote.url, error))?)
            }
        };
        let sent = upload.put_part(part.into()).await;
        sent.map_err(|error| failed(&self.remote.url, error))
    }

    pub(super) async fn finish(mut self) -> Result<()> {
        let last = std::mem::take(&mut self.kept);
        if !last.is_empty() {
            self.send(last).await?;
        }
        let upload = Upload {
            path: self.path.clone(),
            parts: self.upload.take(),
        };
        self.remote.finished.lock().push(upload);
        Ok(())
    }
}

impl Drop for RemoteFile {
    fn drop(&mut self) {
        abort_later(self.upload.take());
    }
}

/// Aborts an upload in the background: there is no waiting in a drop.
fn abort_later(upload: Option<Box<dyn MultipartUpload>>) {
    if let (Some(mut upload), Ok(runtime)) = (upload, tokio::runtime::Handle::try_current()) {
        drop(runtime.spawn(async move {
            let _ = upload.abort().await;
        }));
    }
}

async fn complete(store: Arc<dyn ObjectStore>, upload: Upload) -> object_store::Result<()> {
    match upload.parts {
        Some(mut parts) => parts.complete().await.map(drop),
        None => store.put(&upload.path, Vec::new().into()).await.map(drop),
    }
}

async fn exists(store: &dyn ObjectStore, path: &Path, url: &str) -> Result<bool> {
    match store.head(path).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(failed(url, error)),
    }
}

async fn any_below(store: &dyn ObjectStore, base: &Path, url: &str) -> Result<bool> {
    let first = store.list(Some(base)).next().await;
    first
        .transpose()
        .map(|first| first.is_some())
        .map_err(|error| failed(url, error))
}

fn refused(url: &str, why: &str) -> Error {
    Error::Target {
        target: url.to_owned(),
        why: why.to_owned(),
    }
}

fn failed(url: &str, source: object_store::Error) -> Error {
    Error::Store {
        target: url.to_owned(),
        source,
    }
}
