//! Where files go: into a staged write on this machine, or into uploads of an object store. Calls
//! that may block (a full disk queue, a sync, a pipe nobody reads) run on threads of their own.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::ObjectStoreUrl;
use tidegate_checkpoint::staged::StagedWriter;
use tidegate_checkpoint::{Intended, RealVfs, StagedFile, StagedWrite, Vfs};

use super::error::{Error, Result};
use super::exec::CommitGate;
use super::remote::{Remote, RemoteFile};
use super::spec::{Layout, Place, WriteMode, WriteSpec};

/// The target of one write.
pub(super) enum Destination {
    Local(StagedWrite),
    Remote(Arc<Remote>),
}

/// One file or a directory of files, once the file system has been asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    File,
    Directory,
}

/// Makes files, from any task.
#[derive(Debug, Clone)]
pub(super) enum Maker {
    Local(StagedWriter),
    Remote(Arc<Remote>),
}

/// A file being written.
#[derive(Debug)]
pub(super) enum OpenFile {
    /// None while a thread writes to it.
    Local(Option<StagedFile>),
    Remote(RemoteFile),
}

/// Opens the target; `None` when it exists and the mode is to ignore that. `hashes`: of a single file too.
pub(super) async fn open(
    spec: &WriteSpec,
    context: &TaskContext,
    hashes: bool,
) -> Result<Option<(Destination, Shape)>> {
    match spec.place()? {
        Place::Local(path) => {
            let (layout, mode) = (spec.layout, spec.mode);
            let opened = blocking(move || open_local(&path, layout, mode)).await?;
            Ok(opened.map(|(write, shape)| {
                let write = match hashes {
                    true => write.hashing(),
                    false => write,
                };
                (Destination::Local(write), shape)
            }))
        }
        Place::Remote(store, path) => {
            let shape = match spec.layout {
                Layout::Directory => Shape::Directory,
                Layout::File | Layout::ByTarget => Shape::File,
            };
            let url = ObjectStoreUrl::parse(&store)?;
            let store = context.runtime_env().object_store(&url)?;
            let mode = spec.mode.unwrap_or(default_mode(shape));
            let remote =
                Remote::open(store, &path, &spec.target, shape == Shape::File, mode).await?;
            Ok(remote.map(|remote| (Destination::Remote(Arc::new(remote)), shape)))
        }
    }
}

fn open_local(
    path: &Path,
    layout: Layout,
    mode: Option<WriteMode>,
) -> Result<Option<(StagedWrite, Shape)>> {
    let shape = match layout {
        Layout::File => Shape::File,
        Layout::Directory => Shape::Directory,
        Layout::ByTarget if path.is_dir() => Shape::Directory,
        Layout::ByTarget => Shape::File,
    };
    let mode = mode.unwrap_or(default_mode(shape)).staged();
    let write = match shape {
        Shape::File => StagedWrite::file(Arc::new(RealVfs), path, mode)?,
        Shape::Directory => StagedWrite::directory(Arc::new(RealVfs), path, mode)?,
    };
    Ok(write.map(|write| (write, shape)))
}

fn default_mode(shape: Shape) -> WriteMode {
    match shape {
        Shape::File => WriteMode::Overwrite,
        Shape::Directory => WriteMode::Error,
    }
}

impl Destination {
    pub(super) fn maker(&self) -> Maker {
        match self {
            Self::Local(write) => Maker::Local(write.writer()),
            Self::Remote(remote) => Maker::Remote(Arc::clone(remote)),
        }
    }

    /// A word that no other write uses, for the names of files.
    pub(super) fn id(&self) -> String {
        match self {
            Self::Local(write) => write.writer().id().to_owned(),
            Self::Remote(_) => format!("{:016x}", RealVfs.unique()),
        }
    }

    /// Publishes all finished files, if the gate lets it; gives what the user should know nevertheless.
    pub(super) async fn commit(
        self,
        gate: Option<Arc<CommitGate>>,
        rows: u64,
    ) -> Result<Option<String>> {
        match self {
            Self::Local(write) => {
                let before = move |intended: &Intended| match &gate {
                    Some(gate) => (gate.0)(intended, rows),
                    None => Ok(()),
                };
                blocking(move || Ok(write.commit_after(before)?.notice)).await
            }
            Self::Remote(remote) => {
                let committed = remote.commit().await;
                if committed.is_err() {
                    remote.abort().await;
                }
                committed.map(|()| None)
            }
        }
    }

    pub(super) async fn abort(self) {
        match self {
            // Dropping it removes files.
            Self::Local(write) => {
                let removed = blocking(move || {
                    write.abort();
                    Ok(())
                });
                // The error that led here is the one to tell.
                let _ = removed.await;
            }
            Self::Remote(remote) => remote.abort().await,
        }
    }
}

impl Maker {
    pub(super) async fn create(&self, name: String) -> Result<OpenFile> {
        match self {
            Self::Local(writer) => {
                let writer = writer.clone();
                let file = blocking(move || Ok(writer.create(&name)?)).await?;
                Ok(OpenFile::Local(Some(file)))
            }
            Self::Remote(remote) => remote.create(&name).await.map(OpenFile::Remote),
        }
    }
}

impl OpenFile {
    pub(super) async fn write(&mut self, bytes: Vec<u8>) -> Result<()> {
        match self {
            Self::Local(slot) => {
                let Some(mut file) = slot.take() else {
                    return Err(Error::Encode {
                        format: "file",
                        why: "an earlier write failed".to_owned(),
                    });
                };
                let written = move || {
                    let written = file.write_all(&bytes);
                    let target = file.path().display().to_string();
                    written.map_err(|source| Error::Io { target, source })?;
                    Ok(file)
                };
                *slot = Some(blocking(written).await?);
                Ok(())
            }
            Self::Remote(file) => file.write(bytes).await,
        }
    }

    pub(super) async fn finish(self) -> Result<()> {
        match self {
            Self::Local(Some(file)) => blocking(move || Ok(file.finish().map(drop)?)).await,
            Self::Local(None) => Err(Error::Encode {
                format: "file",
                why: "an earlier write failed".to_owned(),
            }),
            Self::Remote(file) => file.finish().await,
        }
    }
}

/// Runs what may block on a thread of its own. Dropping the future does not stop it: a commit that
/// has begun goes on to its end.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = SpawnedTask::spawn_blocking(work).join().await;
    done.map_err(|error| Error::Encode {
        format: "file",
        why: format!("a thread of the write ended: {error}"),
    })?
}
