//! Staged writes: files are written where no reader looks, and published at once by `commit`.
//!
//! | target | staging | publishing |
//! |---|---|---|
//! | a file | `.tidegate-<id>-<name>` beside it | rename |
//! | a new or empty directory | `.tidegate-<id>-<name>/data` beside it | rename |
//! | a directory, overwritten | the same | exchange, then the old one is removed |
//! | a directory, appended to | `_tidegate/<id>/data` inside it | intent, then renames |
//! | a pipe or device | none | bytes go straight through |
//!
//! Where the file system has no exchange, where the target is a mount point, or where the parent
//! is not writable, an overwrite takes the last-but-one way, its intent listing what to remove.
//! [`recover`] completes or undoes what a killed process left; locks tell the dead from the living.
//! A hard link to a replaced file keeps the old content; extended attributes are not carried over.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::error::{At, Error, Result};
use crate::vfs::{Kind, Metadata, Vfs, VfsFile, VfsLock, if_exists};
use names::FileName;

pub use recover::{Recovered, pending, recover};

mod beside;
mod file;
mod inside;
mod intent;
mod names;
mod recover;
mod target;
pub(crate) mod tree;

/// What to do when the target exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// An error when the target is a file, or a directory that is not empty.
    #[default]
    Error,
    /// Replace it. A directory is replaced only when all it holds looks like data, and never when
    /// it is `/`, the home directory, the working directory or a directory above these.
    Overwrite,
    /// Add files to the directory; an error for a file.
    Append,
    /// Write nothing when it exists: [`StagedWrite::file`] and [`StagedWrite::directory`] give `None`.
    Ignore,
}

/// A file that a commit published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedFile {
    /// Its name below the target directory; of a single file, the file's name.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What a commit published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Committed {
    /// The files, in order of their names.
    pub files: Vec<CommittedFile>,
    /// The sum of their sizes.
    pub bytes: u64,
    /// Something the user should know although the write succeeded, such as old files that could
    /// not be removed.
    pub notice: Option<String>,
}

/// What a commit is about to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intended {
    /// The directory that the files will be in, absolute.
    pub directory: PathBuf,
    /// The files.
    pub files: Vec<IntendedFile>,
    /// What gives way to them.
    pub replaces: Replaces,
}

/// What a commit replaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replaces {
    /// Nothing: the files are new.
    Nothing,
    /// A file of the same name, if there is one.
    #[default]
    File,
    /// Everything in the directory.
    Directory,
}

/// A file that is about to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntendedFile {
    /// Its name below the directory.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The BLAKE3 of its bytes in hexadecimal digits; empty if it was not asked for.
    pub blake3: String,
}

/// A write that nobody sees until it is committed. Dropped without [`StagedWrite::commit`], it
/// leaves nothing.
///
/// ```
/// use std::io::Write;
/// use std::sync::Arc;
/// use tidegate_checkpoint::{Mode, RealVfs, StagedWrite};
///
/// let dir = tempfile::tempdir()?;
/// let target = dir.path().join("out");
/// let write = StagedWrite::directory(Arc::new(RealVfs), &target, Mode::Error)?.expect("it is new");
/// let mut part = write.create("day=1/part-0.csv")?;
/// part.write_all(b"a,b\n")?;
/// part.finish()?;
/// assert!(!target.exists());
/// assert_eq!(write.commit()?.bytes, 4);
/// assert_eq!(std::fs::read(target.join("day=1/part-0.csv"))?, b"a,b\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StagedWrite {
    stage: Arc<Stage>,
}

/// Where the bytes go until the commit.
#[derive(Debug)]
enum Place {
    Stream,
    File(file::Staging),
    Beside(beside::Staging),
    Inside(inside::Staging),
    /// Committed, or past the point where it can be undone.
    Done,
}

/// The writes of this process whose staging is neither published nor removed yet.
struct Alive;

static ALIVE: Mutex<usize> = Mutex::new(0);
static ONE_ENDED: Condvar = Condvar::new();

impl Alive {
    fn new() -> Self {
        *ALIVE.lock() += 1;
        Self
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        *ALIVE.lock() -= 1;
        ONE_ENDED.notify_all();
    }
}

impl std::fmt::Debug for Alive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Alive")
    }
}

/// Waits until no write of this process has staging left, at most so long; whether that is so. For
/// the end of a process: what is left then, only the next use of the directory removes.
pub fn settle(wait: Duration) -> bool {
    let until = Instant::now() + wait;
    let mut alive = ALIVE.lock();
    while *alive > 0 {
        if ONE_ENDED.wait_until(&mut alive, until).timed_out() {
            return *alive == 0;
        }
    }
    true
}

/// What the files of one write share. The last of them to be dropped takes the staging away, so
/// that no file is made where it was just removed.
#[derive(Debug)]
struct Stage {
    place: Mutex<Place>,
    vfs: Arc<dyn Vfs>,
    /// Absolute, links followed.
    target: PathBuf,
    id: String,
    mode: Mode,
    /// Where files are made: a directory, or of a single file its staged path.
    data: PathBuf,
    shape: Shape,
    /// Whether a single file is hashed too.
    hashes: AtomicBool,
    progress: Mutex<Progress>,
    /// Dropped after the staging is removed. A stream has none.
    _alive: Option<Alive>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Stream,
    File,
    Directory,
}

#[derive(Default)]
struct Progress {
    finished: Vec<FileEntry>,
    open: usize,
    /// Made below `data`, relative, parents first.
    dirs: Vec<String>,
    /// The finished single file, kept open because its lock tells that we live.
    single: Option<Box<dyn VfsFile>>,
    failed: bool,
    /// Committed or aborted: no more files.
    closed: bool,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress")
            .field("finished", &self.finished)
            .field("open", &self.open)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// A finished file, as the intent records it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct FileEntry {
    name: String,
    bytes: u64,
    blake3: String,
}

impl StagedWrite {
    /// Starts writing the single file `target`; `None` when it exists and the mode is `Ignore`.
    /// A link is followed: the file it points to is replaced. Pipes and devices are written
    /// directly.
    pub fn file(vfs: Arc<dyn Vfs>, target: &Path, mode: Mode) -> Result<Option<Self>> {
        let (target, found) = target::resolve(&*vfs, target)?;
        match found.map(|found| (found.kind, found)) {
            Some((Kind::Stream, _)) => return Self::stream(vfs, target).map(Some),
            Some((Kind::Directory, _)) => {
                return Err(refused(&target, "it is a directory, not a file"));
            }
            Some((Kind::Other | Kind::Symlink, _)) => {
                return Err(refused(&target, "it is neither a file nor a directory"));
            }
            Some((Kind::File, _)) if mode == Mode::Ignore => return Ok(None),
            Some((Kind::File, _)) if mode == Mode::Error => {
                return Err(Error::Exists {
                    path: target,
                    directory: false,
                });
            }
            Some((Kind::File, _)) => vfs.check_writable(&target).at("replace", &target)?,
            None => {}
        }
        if mode == Mode::Append {
            return Err(refused(
                &target,
                "a single file cannot be appended to; write to a directory",
            ));
        }
        let id = new_id(&*vfs);
        let staging = file::Staging::new(&*vfs, &target, &id, found)?;
        let data = staging.path.clone();
        let stage = Stage {
            place: Mutex::new(Place::File(staging)),
            vfs,
            target,
            id,
            mode,
            data,
            shape: Shape::File,
            hashes: AtomicBool::new(false),
            progress: Mutex::default(),
            _alive: Some(Alive::new()),
        };
        Ok(Some(Self {
            stage: Arc::new(stage),
        }))
    }

    /// Starts writing files into the directory `target`; `None` when it exists, is not empty and
    /// the mode is `Ignore`. Missing parents are made. First repairs what a killed process left.
    pub fn directory(vfs: Arc<dyn Vfs>, target: &Path, mode: Mode) -> Result<Option<Self>> {
        let (target, found) = target::resolve(&*vfs, target)?;
        match found.map(|found| found.kind) {
            Some(Kind::Directory) | None => {}
            Some(_) => return Err(refused(&target, "it is a file, not a directory")),
        }
        let content = match found {
            Some(_) => {
                recover::recover(&*vfs, &target)?;
                target::content(&*vfs, &target)?
            }
            None => target::Content::Nothing,
        };
        match (mode, content) {
            (Mode::Ignore, target::Content::Data) => return Ok(None),
            (Mode::Error, target::Content::Data) => {
                return Err(Error::Exists {
                    path: target,
                    directory: true,
                });
            }
            (Mode::Overwrite, target::Content::Data) => target::check_overwrite(&*vfs, &target)?,
            (Mode::Append, target::Content::Data) => target::check_append(&*vfs, &target)?,
            (_, target::Content::Nothing | target::Content::OnlyOurs) => {}
        }
        let id = new_id(&*vfs);
        let appends = content == target::Content::OnlyOurs
            || (mode == Mode::Append && content == target::Content::Data)
            || (found.is_some() && target::must_stay(&*vfs, &target));
        let place = if appends {
            Place::Inside(inside::Staging::new(&*vfs, &target, &id)?)
        } else {
            beside::start(&*vfs, &target, &id, found)?
        };
        let data = match &place {
            Place::Beside(staging) => staging.data(),
            Place::Inside(staging) => staging.data(),
            Place::Stream | Place::File(_) | Place::Done => target.clone(),
        };
        let stage = Stage {
            place: Mutex::new(place),
            vfs,
            target,
            id,
            mode,
            data,
            shape: Shape::Directory,
            hashes: AtomicBool::new(true),
            progress: Mutex::default(),
            _alive: Some(Alive::new()),
        };
        Ok(Some(Self {
            stage: Arc::new(stage),
        }))
    }

    fn stream(vfs: Arc<dyn Vfs>, target: PathBuf) -> Result<Self> {
        let (data, id) = (target.clone(), new_id(&*vfs));
        let stage = Stage {
            place: Mutex::new(Place::Stream),
            vfs,
            target,
            id,
            mode: Mode::Overwrite,
            data,
            shape: Shape::Stream,
            hashes: AtomicBool::new(false),
            progress: Mutex::default(),
            _alive: None,
        };
        Ok(Self {
            stage: Arc::new(stage),
        })
    }

    /// The target, absolute and with links followed.
    pub fn target(&self) -> &Path {
        &self.stage.target
    }

    /// Whether the bytes go straight to a pipe or a device, so that nothing can be taken back.
    pub fn is_stream(&self) -> bool {
        self.stage.shape == Shape::Stream
    }

    /// A file name that no other write, in any process, gives: `part-<id>-<number>.<suffix>`.
    pub fn part_name(&self, number: usize, suffix: &str) -> String {
        self.writer().part_name(number, suffix)
    }

    /// Makes a file of this write, to be filled and finished. `name` is relative to the target
    /// directory, with `/` between directories, which are made. A single file has no name of its
    /// own and is made once.
    pub fn create(&self, name: &str) -> Result<StagedFile> {
        self.writer().create(name)
    }

    /// A handle that makes files of this write and can be given to other threads.
    pub fn writer(&self) -> StagedWriter {
        StagedWriter {
            stage: Arc::clone(&self.stage),
        }
    }

    /// Publishes all finished files. When it fails the target is as it was, except for
    /// [`Error::Unfinished`], after which the next use of the directory completes the write.
    pub fn commit(self) -> Result<Committed> {
        self.commit_after(|_| Ok(()))
    }

    /// The same, once `before` has been told what is about to be published and has agreed: the place to write down
    /// the intent. Hashes are there for the files of a directory, and for a single file if [`StagedWrite::hashing`] was
    /// asked for.
    pub fn commit_after(self, before: impl FnOnce(&Intended) -> Result<()>) -> Result<Committed> {
        let files = self.stage.close()?;
        let stage = Arc::clone(&self.stage);
        if stage.shape != Shape::Stream {
            before(&stage.intended(&files))?;
        }
        let place = std::mem::replace(&mut *stage.place.lock(), Place::Done);
        let notice = match place {
            Place::Stream | Place::Done => None,
            Place::File(staging) => staging.publish(&stage)?,
            Place::Beside(staging) => staging.publish(&stage, &files)?,
            Place::Inside(staging) => staging.publish(&stage, &files)?,
        };
        let bytes = files.iter().map(|file| file.bytes).sum();
        let mut files: Vec<_> = files
            .into_iter()
            .map(|file| CommittedFile {
                name: file.name,
                bytes: file.bytes,
            })
            .collect();
        files.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(Committed {
            files,
            bytes,
            notice,
        })
    }

    /// The same write, which also hashes a single file.
    pub fn hashing(self) -> Self {
        self.stage.hashes.store(true, Ordering::Relaxed);
        self
    }

    /// Removes what was staged, when the last file and writer of it is dropped. Dropping does the
    /// same.
    pub fn abort(self) {}
}

impl Drop for StagedWrite {
    fn drop(&mut self) {
        self.stage.progress.lock().closed = true;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        match std::mem::replace(self.place.get_mut(), Place::Done) {
            Place::Stream | Place::Done => {}
            Place::File(staging) => staging.abort(&*self.vfs),
            Place::Beside(staging) => staging.abort(&*self.vfs),
            Place::Inside(staging) => staging.abort(&*self.vfs),
        }
    }
}

/// Makes files of one [`StagedWrite`] from any thread. What it makes after the write was
/// committed or aborted fails.
#[derive(Debug, Clone)]
pub struct StagedWriter {
    stage: Arc<Stage>,
}

impl StagedWriter {
    /// As [`StagedWrite::create`].
    pub fn create(&self, name: &str) -> Result<StagedFile> {
        let stage = Arc::clone(&self.stage);
        if stage.progress.lock().closed {
            return Err(misuse(name, "the write it belongs to has ended"));
        }
        let (name, file) = match stage.shape {
            Shape::Stream => (String::new(), stage.open_stream()?),
            Shape::File => (stage.single_name(), stage.create_single()?),
            Shape::Directory => {
                let name = FileName::parse(name)?;
                let file = stage.create_part(&name)?;
                (name.into(), file)
            }
        };
        let hashes = stage.hashes.load(Ordering::Relaxed);
        let hasher = hashes.then(|| Box::new(blake3::Hasher::new()));
        stage.progress.lock().open += 1;
        Ok(StagedFile {
            stage,
            name,
            file: Some(file),
            hasher,
            bytes: 0,
            failed: false,
        })
    }

    /// The random part of [`StagedWrite::part_name`].
    pub fn id(&self) -> &str {
        &self.stage.id
    }

    /// As [`StagedWrite::part_name`].
    pub fn part_name(&self, number: usize, suffix: &str) -> String {
        format!("part-{}-{number:05}.{suffix}", self.stage.id)
    }
}

/// A file of a staged write. Dropped without [`StagedFile::finish`], it is no part of the write.
pub struct StagedFile {
    stage: Arc<Stage>,
    name: String,
    file: Option<Box<dyn VfsFile>>,
    hasher: Option<Box<blake3::Hasher>>,
    bytes: u64,
    failed: bool,
}

impl std::fmt::Debug for StagedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StagedFile")
            .field("name", &self.name)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Write for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        match file.write(bytes) {
            Ok(written) => {
                if let Some(hasher) = &mut self.hasher {
                    hasher.update(&bytes[..written]);
                }
                self.bytes += written as u64;
                Ok(written)
            }
            Err(error) => {
                self.failed |= error.kind() != io::ErrorKind::Interrupted;
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.flush(),
            None => Ok(()),
        }
    }
}

impl StagedFile {
    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its name below the target.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it will be once it is published.
    pub fn path(&self) -> PathBuf {
        match self.stage.shape {
            Shape::Stream | Shape::File => self.stage.target.clone(),
            Shape::Directory => self.stage.target.join(&self.name),
        }
    }

    /// Forces the file to the disk and makes it part of the write; gives its size in bytes. After
    /// a failed write or sync the whole write can only be aborted.
    pub fn finish(mut self) -> Result<u64> {
        let Some(mut file) = self.file.take() else {
            return Err(misuse(&self.name, "it is finished already"));
        };
        let synced = match self.stage.shape {
            _ if self.failed => Err(io::Error::other("an earlier write to it failed")),
            Shape::Stream => file.flush(),
            Shape::File | Shape::Directory => file.sync(),
        };
        let blake3 = self
            .hasher
            .as_ref()
            .map(|hasher| hasher.finalize().to_string());
        let entry = FileEntry {
            name: std::mem::take(&mut self.name),
            bytes: self.bytes,
            blake3: blake3.unwrap_or_default(),
        };
        let mut progress = self.stage.progress.lock();
        progress.open -= 1;
        if let Err(error) = synced {
            progress.failed = true;
            let path = match self.stage.shape {
                Shape::Stream | Shape::File => self.stage.target.clone(),
                Shape::Directory => self.stage.target.join(&entry.name),
            };
            return Err(error).at("write", &path);
        }
        progress.finished.push(entry);
        if self.stage.shape == Shape::File {
            progress.single = Some(file);
        }
        Ok(self.bytes)
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if self.file.take().is_none() {
            return;
        }
        self.stage.progress.lock().open -= 1;
        let staged = match self.stage.shape {
            Shape::Stream => return,
            Shape::File => self.stage.data.clone(),
            Shape::Directory => self.stage.data.join(&self.name),
        };
        // What cannot be removed now goes with the staging directory.
        if self.stage.vfs.remove_file(&staged).is_err() && self.stage.shape == Shape::Directory {
            self.stage.progress.lock().failed = true;
        }
    }
}

impl Stage {
    fn single_name(&self) -> String {
        let name = self.target.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    fn open_stream(&self) -> Result<Box<dyn VfsFile>> {
        self.vfs.open_stream(&self.target).at("open", &self.target)
    }

    fn create_single(&self) -> Result<Box<dyn VfsFile>> {
        let progress = self.progress.lock();
        if progress.open > 0 || !progress.finished.is_empty() {
            return Err(misuse(
                &self.single_name(),
                "it is one file and was made already",
            ));
        }
        file::create_locked(&*self.vfs, &self.data, &self.target)
    }

    fn create_part(&self, name: &FileName) -> Result<Box<dyn VfsFile>> {
        let mut progress = self.progress.lock();
        for dir in name.dirs() {
            if !progress.dirs.contains(&dir) {
                let path = self.data.join(&dir);
                self.vfs.make_dir(&path, 0o777).at("make", &path)?;
                progress.dirs.push(dir);
            }
        }
        drop(progress);
        let path = self.data.join(name.as_str());
        self.vfs.create(&path).at("create", &path)
    }

    /// Checks that everything is finished and forces the staged directories to the disk.
    fn close(&self) -> Result<Vec<FileEntry>> {
        let mut progress = self.progress.lock();
        progress.closed = true;
        let name = self.single_name();
        if progress.failed {
            return Err(misuse(&name, "an earlier write to it failed"));
        }
        if progress.open > 0 {
            return Err(misuse(&name, "a file of it is not finished"));
        }
        if self.shape == Shape::File && progress.finished.len() != 1 {
            return Err(misuse(&name, "nothing was written"));
        }
        if self.shape == Shape::Directory {
            for dir in &progress.dirs {
                let path = self.data.join(dir);
                self.vfs.sync_dir(&path).at("sync", &path)?;
            }
            self.vfs.sync_dir(&self.data).at("sync", &self.data)?;
        }
        Ok(progress.finished.clone())
    }

    fn parent(&self) -> &Path {
        parent(&self.target)
    }

    fn intended(&self, files: &[FileEntry]) -> Intended {
        let directory = match self.shape {
            Shape::Directory => &self.target,
            Shape::File | Shape::Stream => self.parent(),
        };
        let files = files.iter().map(|file| IntendedFile {
            name: file.name.clone(),
            bytes: file.bytes,
            blake3: file.blake3.clone(),
        });
        let replaces = match (self.mode, self.shape) {
            (Mode::Overwrite, Shape::Directory) => Replaces::Directory,
            (Mode::Overwrite | Mode::Append, Shape::File | Shape::Stream) => Replaces::File,
            (Mode::Error | Mode::Ignore | Mode::Append, _) => Replaces::Nothing,
        };
        Intended {
            directory: directory.to_path_buf(),
            files: files.collect(),
            replaces,
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn new_id(vfs: &dyn Vfs) -> String {
    format!("{:016x}", vfs.unique())
}

fn refused(path: &Path, why: impl Into<String>) -> Error {
    Error::Refused {
        path: path.to_path_buf(),
        why: why.into(),
    }
}

fn misuse(name: &str, why: &'static str) -> Error {
    Error::Misuse {
        name: name.to_owned(),
        why,
    }
}

fn exists(vfs: &dyn Vfs, path: &Path) -> Result<Option<Metadata>> {
    if_exists(vfs.link_metadata(path)).at("look at", path)
}

type Lock = Box<dyn VfsLock>;
