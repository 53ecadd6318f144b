//! Durable jobs: a directory for each, in which a killed job finds again what it had sealed.
//!
//! ```text
//! JOBS/NAME/lock                  who owns it: a lock that the kernel frees with the process
//! JOBS/NAME/request               what it is asked to do, with its hash; makes the directory a job
//! JOBS/NAME/journal               what has happened: records, chained by their hashes
//! JOBS/NAME/statement-00003.spec  the frozen spec of a statement
//! JOBS/NAME/sealed/…              the output of tasks: files of frames
//! JOBS/NAME/tables/…              the caller's own
//! ```
//!
//! Only the journal says what is so; [`derive()`] says what follows from it. What it does not name is garbage, and
//! the next owner removes it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{At, Error, Result};
use crate::staged::tree::{self, Descend};
use crate::vfs::{Kind, Vfs, if_exists};
use journal::{Chain, Journal, Replayed};
use owner::Owner;
use running::Book;

pub use journal::{JOURNAL_BYTES_MAX, RECORD_BYTES_MAX};
pub use name::{JobName, NAME_CHARACTERS_MAX, TaskKey};
pub use record::{IntentFile, Record};
pub use request::REQUEST_BYTES_MAX;
pub use running::{Job, SPEC_BYTES_MAX};
pub use state::{Done, Intent, Planned, Published, SealedFile, State, derive};
pub use verify::{Problem, SealedTasks};

mod journal;
mod name;
mod owner;
mod record;
mod request;
mod running;
mod state;
mod verify;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

/// How often a directory is made again that somebody removes at the same time.
const TRIES: usize = 16;

/// What time it is, in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A directory of jobs.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use tidegate_checkpoint::RealVfs;
/// use tidegate_checkpoint::frames::FrameWriter;
/// use tidegate_checkpoint::job::{Jobs, Open, TaskKey};
///
/// let dir = tempfile::tempdir()?;
/// let jobs = Jobs::new(Arc::new(RealVfs), dir.path().join("jobs"), Arc::new(|| 0));
/// let name = "nightly".parse()?;
/// let Open::New(job) = jobs.open(&name, b"SELECT 1")? else { unreachable!("it is new") };
/// job.put_spec(0, b"how to run it")?;
/// let key = TaskKey::default();
/// let place = job.place(key, 0);
/// let mut writer = FrameWriter::create_durable(Arc::new(RealVfs), &place, job.origin(key, 0))?;
/// writer.append(0, 1, b"a row")?;
/// job.seal(key, 0, writer.finish()?, Duration::from_millis(3))?;
/// drop(job); // Or killed.
///
/// let Open::Resumed(job) = jobs.open(&name, b"SELECT 1")? else { unreachable!("it is not") };
/// let (_, _, file) = job.sealed(0)?.good.remove(0);
/// let reader = file.open(&RealVfs)?;
/// assert_eq!(reader.read(&file.frames()[0])?, b"a row");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Jobs {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    now_ms: Clock,
}

/// A job that was asked for.
#[derive(Debug)]
pub enum Open {
    /// It was not there: begin it.
    New(Job),
    /// An earlier process has begun it: go on.
    Resumed(Job),
    /// It has ended: there is nothing to do.
    Finished(Seen),
    /// The name stands for another request: take another name, or remove that job.
    OtherRequest {
        /// What the job is asked to do.
        theirs: Vec<u8>,
    },
}

/// What is known of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// What it is asked to do.
    pub request: Vec<u8>,
    /// What has happened.
    pub records: Vec<Record>,
    /// Who runs it now.
    pub owner: Option<String>,
    /// Whether a torn record ends its journal, of which nothing is known.
    pub journal_cut: bool,
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Jobs").field(&self.dir).finish()
    }
}

impl Jobs {
    /// The jobs below `dir`, which is made when the first job is.
    pub fn new(vfs: Arc<dyn Vfs>, dir: PathBuf, now_ms: Clock) -> Self {
        Self { vfs, dir, now_ms }
    }

    /// Where they are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Opens a job for its one owner, and makes it when it is new. Of one that a killed process
    /// left, what it did not record is removed.
    pub fn open(&self, name: &JobName, request: &[u8]) -> Result<Open> {
        if request.len() as u64 > REQUEST_BYTES_MAX {
            return Err(running::misuse(
                name.as_str(),
                "a request has at most 64 MiB",
            ));
        }
        let dir = self.path(name);
        let is_other = |theirs: &Vec<u8>| theirs != request;
        // Before the lock: whoever owns it, it is another.
        if let Some(theirs) = request::read(&*self.vfs, &dir)?.filter(is_other) {
            return Ok(Open::OtherRequest { theirs });
        }
        let owner = self.own(&dir)?;
        // Whoever made them may have been killed before it did.
        self.sync_above()?;
        match request::read(&*self.vfs, &dir)? {
            Some(theirs) if is_other(&theirs) => Ok(Open::OtherRequest { theirs }),
            Some(_) => self.resume(name, request, owner),
            None => self.make(name, request, owner).map(Open::New),
        }
    }

    /// What is known of a job, which is not changed and may be running.
    pub fn look(&self, name: &JobName) -> Result<Option<Seen>> {
        let dir = self.path(name);
        let Some(request) = request::read(&*self.vfs, &dir)? else {
            return Ok(None);
        };
        let fingerprint = request::fingerprint(&request);
        let replayed = match journal::read(&*self.vfs, &dir, &fingerprint) {
            // It may have been removed between the two.
            Err(_) if request::read(&*self.vfs, &dir)?.is_none() => return Ok(None),
            replayed => replayed?.0,
        };
        let owner = owner::of(&*self.vfs, &dir)?;
        Ok(Some(Seen {
            request,
            records: replayed.records,
            // What its owner is writing at the moment is not torn.
            journal_cut: replayed.cut && owner.is_none(),
            owner,
        }))
    }

    /// The jobs, sorted.
    pub fn names(&self) -> Result<Vec<JobName>> {
        let held = if_exists(self.vfs.list(&self.dir)).at("list", &self.dir)?;
        let names = held.unwrap_or_default().into_iter();
        let names = names.filter_map(|name| JobName::parse(name.to_str()?).ok());
        let is_job = |name: &JobName| {
            let path = self.path(name).join(name::REQUEST);
            let found = self.vfs.link_metadata(&path);
            found.is_ok_and(|found| found.kind == Kind::File)
        };
        let mut names: Vec<JobName> = names.filter(is_job).collect();
        names.sort();
        Ok(names)
    }

    /// Removes a job; whether there was one. An error when somebody owns it, or when there is more in
    /// its directory than a job.
    pub fn remove(&self, name: &JobName) -> Result<bool> {
        let vfs = &*self.vfs;
        self.sweep();
        let dir = self.path(name);
        let held = if_exists(vfs.list(&dir)).at("list", &dir)?;
        let Some(held) = held else {
            return Ok(false);
        };
        let is_foreign = |name: &&std::ffi::OsString| !name.to_str().is_some_and(is_of_job);
        if let Some(foreign) = held.iter().find(is_foreign) {
            return Err(Error::Refused {
                path: dir,
                why: format!("`{}` in it is of no job", foreign.to_string_lossy()),
            });
        }
        let Some(_owner) = owner::take(vfs, &dir)? else {
            return Ok(false);
        };
        let gone = format!("{}{:016x}", name::REMOVED, vfs.unique());
        let gone = self.dir.join(gone);
        vfs.rename_new(&dir, &gone).at("remove", &dir)?;
        vfs.sync_dir(&self.dir).at("sync", &self.dir)?;
        tree::remove(vfs, &gone)?;
        Ok(held.iter().any(|name| name == name::REQUEST))
    }

    /// Bytes of a job on the disk; 0 when there is none.
    pub fn bytes(&self, name: &JobName) -> Result<u64> {
        let mut bytes = 0;
        tree::walk(&*self.vfs, &self.path(name), &mut |_, found| {
            if found.kind == Kind::File {
                bytes += found.bytes;
            }
            Ok(Descend::Yes)
        })?;
        Ok(bytes)
    }

    /// Everything that is wrong with the files of a job, which is not changed; `None` when there is
    /// none. With `every_byte`, all that is sealed is read.
    pub fn verify(&self, name: &JobName, every_byte: bool) -> Result<Option<Vec<Problem>>> {
        let seen = match self.look(name) {
            Ok(Some(seen)) => seen,
            Ok(None) => return Ok(None),
            Err(Error::Corrupt { path, why }) => return Ok(Some(vec![Problem::of(path, &why)])),
            Err(error) => return Err(error),
        };
        let (vfs, dir) = (&*self.vfs, self.path(name));
        let state = derived(&dir, &seen.records)?;
        let fingerprint = request::fingerprint(&seen.request);
        let mut problems = verify::all(vfs, &dir, &fingerprint, &state, every_byte)?;
        if seen.journal_cut {
            let path = dir.join(name::JOURNAL);
            problems.push(Problem::of(path, "its last record is torn"));
        }
        Ok(Some(problems))
    }

    fn path(&self, name: &JobName) -> PathBuf {
        self.dir.join(name.as_str())
    }

    /// Takes the lock of a directory, which is made when missing.
    fn own(&self, dir: &Path) -> Result<Owner> {
        for _ in 0..TRIES {
            self.make_all(&self.dir)?;
            match self.vfs.make_dir(dir, 0o700) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(error).at("make", dir);
                }
                _ => {}
            }
            if let Some(owner) = owner::take(&*self.vfs, dir)? {
                return Ok(owner);
            }
        }
        Err(Error::Busy {
            path: dir.to_path_buf(),
        })
    }

    /// Makes a directory and those above it.
    fn make_all(&self, dir: &Path) -> Result<()> {
        if if_exists(self.vfs.metadata(dir))
            .at("look at", dir)?
            .is_some()
        {
            return Ok(());
        }
        if let Some(parent) = dir.parent().filter(|parent| *parent != Path::new("")) {
            self.make_all(parent)?;
        }
        match self.vfs.make_dir(dir, 0o777) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(error).at("make", dir)
            }
            _ => Ok(()),
        }
    }

    /// Makes a job. It is one when its request has its name, with a journal beside it.
    fn make(&self, name: &JobName, request: &[u8], owner: Owner) -> Result<Job> {
        let (vfs, dir) = (&*self.vfs, self.path(name));
        self.check_unmade(&dir)?;
        self.clean(&dir, &State::default())?;
        let draft = dir.join(name::unfinished(vfs, name::REQUEST));
        request::write(vfs, &draft, request)?;
        let fingerprint = request::fingerprint(request);
        let replayed = Replayed {
            records: Vec::new(),
            kept: Journal::EMPTY.len(),
            chain: Chain::new(&fingerprint),
            cut: false,
        };
        let held = (replayed, Journal::EMPTY.to_vec());
        let job = self.begin(name, fingerprint, held, State::default(), owner)?;
        let path = dir.join(name::REQUEST);
        vfs.rename_new(&draft, &path).at("rename", &draft)?;
        vfs.sync_dir(&dir).at("sync", &dir)?;
        Ok(job)
    }

    /// An error when a directory without a request holds what a job had done.
    fn check_unmade(&self, dir: &Path) -> Result<()> {
        let held = self.vfs.list(dir).at("list", dir)?;
        let sealed = if_exists(self.vfs.list(&dir.join(name::SEALED))).at("list", dir)?;
        let has_spec = held
            .iter()
            .filter_map(|name| name.to_str())
            .any(name::is_spec);
        match has_spec || sealed.is_some_and(|held| !held.is_empty()) {
            true => Err(corrupt(&dir.join(name::REQUEST), "it is gone")),
            false => Ok(()),
        }
    }

    /// Forces the names of the directories to the disk that lead to a job.
    fn sync_above(&self) -> Result<()> {
        for dir in self.dir.ancestors() {
            let dir = match dir == Path::new("") {
                true => Path::new("."),
                false => dir,
            };
            match self.vfs.sync_dir(dir) {
                // Not ours to look into, and not made by us.
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
                synced => synced.at("sync", dir)?,
            }
        }
        Ok(())
    }

    fn resume(&self, name: &JobName, request: &[u8], owner: Owner) -> Result<Open> {
        let dir = self.path(name);
        let fingerprint = request::fingerprint(request);
        let (replayed, bytes) = journal::read(&*self.vfs, &dir, &fingerprint)?;
        let state = derived(&dir, &replayed.records)?;
        if state.ended {
            return Ok(Open::Finished(Seen {
                request: request.to_vec(),
                records: replayed.records,
                owner: None,
                journal_cut: replayed.cut,
            }));
        }
        // Before anything is written: it makes room on a full disk.
        self.clean(&dir, &state)?;
        let held = (replayed, bytes);
        let job = self.begin(name, fingerprint, held, state, owner)?;
        Ok(Open::Resumed(job))
    }

    /// Begins the next epoch of a job.
    fn begin(
        &self,
        name: &JobName,
        fingerprint: [u8; 32],
        (replayed, bytes): (Replayed, Vec<u8>),
        mut state: State,
        owner: Owner,
    ) -> Result<Job> {
        let dir = self.path(name);
        let now_ms = (self.now_ms)();
        let last_beat_ms = owner.last_beat_ms.max(state.epoch_at_ms);
        let epoch = Record::Epoch {
            epoch: state.epoch.saturating_add(1),
            at_ms: now_ms,
            pid: std::process::id(),
            last_beat_ms: (state.epoch > 0).then_some(last_beat_ms),
        };
        let impossible = |why: String| corrupt(&dir.join(name::JOURNAL), &why);
        state.apply(&epoch).map_err(impossible)?;
        let kept = &bytes[..replayed.kept];
        let journal = Journal::start(&self.vfs, &dir, kept, replayed.chain, &epoch)?;
        owner.beat(now_ms);
        let mut records = replayed.records;
        records.push(epoch);
        Ok(Job {
            vfs: Arc::clone(&self.vfs),
            now_ms: Arc::clone(&self.now_ms),
            dir,
            name: name.clone(),
            fingerprint,
            epoch: state.epoch,
            cut: replayed.cut,
            book: Mutex::new(Book {
                journal,
                records,
                state,
            }),
            owner,
        })
    }

    /// Removes what no record names: what was not whole, not sealed, or is sealed no more.
    fn clean(&self, dir: &Path, state: &State) -> Result<()> {
        let vfs = &*self.vfs;
        let remove = |path: PathBuf| {
            // What stays is garbage still, and wrong for nobody.
            let _ = vfs.remove_file(&path);
        };
        let planned: Vec<String> = state.planned.keys().map(|of| name::spec(*of)).collect();
        for name in vfs.list(dir).at("list", dir)? {
            let text = name.to_string_lossy();
            let is_spec = name::is_spec(&text) && !planned.iter().any(|planned| *planned == text);
            if text.ends_with(name::UNFINISHED) || is_spec {
                remove(dir.join(&name));
            }
        }
        let sealed = dir.join(name::SEALED);
        let Some(held) = if_exists(vfs.list(&sealed)).at("list", &sealed)? else {
            return vfs.make_dir(&sealed, 0o700).at("make", &sealed);
        };
        let used = state.files();
        for name in held {
            let text = name.to_string_lossy();
            let whole = text.strip_suffix(name::UNFINISHED).unwrap_or(&text);
            if name::parse_rows(whole).is_some() && !used.contains(&*text) {
                remove(sealed.join(&name));
            }
        }
        Ok(())
    }

    /// Removes what killed processes did not remove to the end.
    fn sweep(&self) {
        let held = self.vfs.list(&self.dir).unwrap_or_default();
        let is_removed = |name: &&std::ffi::OsString| {
            name.to_str()
                .is_some_and(|name| name.starts_with(name::REMOVED))
        };
        for name in held.iter().filter(is_removed) {
            // Whoever comes next tries again.
            let _ = tree::remove(&*self.vfs, &self.dir.join(name));
        }
    }
}

/// Whether a file or directory of this name belongs to a job.
fn is_of_job(name: &str) -> bool {
    let fixed = [
        name::LOCK,
        name::REQUEST,
        name::JOURNAL,
        name::SEALED,
        name::TABLES,
    ];
    fixed.contains(&name) || name::is_spec(name) || name.ends_with(name::UNFINISHED)
}

fn derived(dir: &Path, records: &[Record]) -> Result<State> {
    derive(records).map_err(|why| corrupt(&dir.join(name::JOURNAL), &why))
}

fn corrupt(path: &Path, why: &str) -> Error {
    Error::Corrupt {
        path: path.to_path_buf(),
        why: why.to_owned(),
    }
}
