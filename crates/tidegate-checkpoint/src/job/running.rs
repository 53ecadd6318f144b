//! A job that this process owns: what it seals and records.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::journal::{self, Force, Journal};
use super::name::{self, JobName, TaskKey};
use super::owner::Owner;
use super::record::Record;
use super::state::State;
use super::verify::{self, Problem, SealedTasks};
use super::{Clock, request};
use crate::error::{At, Error, Result};
use crate::frames::{FrameFile, Origin};
use crate::vfs::Vfs;

/// A frozen spec larger than this is refused.
pub const SPEC_BYTES_MAX: u64 = 256 << 20;
/// Characters of a reason that are recorded.
const WHY_CHARACTERS_MAX: usize = 4000;

/// A job whose lock this process holds, until it is dropped.
pub struct Job {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) now_ms: Clock,
    pub(super) dir: PathBuf,
    pub(super) name: JobName,
    pub(super) fingerprint: [u8; 32],
    pub(super) epoch: u64,
    pub(super) cut: bool,
    pub(super) book: Mutex<Book>,
    // Last, so that nothing is written when the lock is free.
    pub(super) owner: Owner,
}

/// What is recorded, on the disk and here.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) journal: Journal,
    pub(super) records: Vec<Record>,
    /// INVARIANT: `derive(records)`.
    pub(super) state: State,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("dir", &self.dir)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Job {
    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its name.
    pub fn name(&self) -> &JobName {
        &self.name
    }

    /// Which process of the job this is, from 1.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Stands for the request in every file of the job.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Whether a record that a crash had torn was cut off when the job was opened.
    pub fn journal_cut(&self) -> bool {
        self.cut
    }

    /// Everything recorded so far, by earlier processes too.
    pub fn records(&self) -> Vec<Record> {
        self.book.lock().records.clone()
    }

    /// What follows from the records so far.
    pub fn state(&self) -> State {
        self.book.lock().state.clone()
    }

    /// Gives a sign of life, which the next owner finds in its `Epoch`.
    pub fn beat(&self) {
        self.owner.beat((self.now_ms)());
    }

    /// Freezes the spec of a statement; an error when it has one.
    pub fn put_spec(&self, statement: u32, bytes: &[u8]) -> Result<()> {
        let name = name::spec(statement);
        if bytes.len() as u64 > SPEC_BYTES_MAX {
            return Err(misuse(&name, "a spec has at most 256 MiB"));
        }
        let record = Record::Planned {
            statement,
            blake3: blake3::hash(bytes).to_string(),
            bytes: bytes.len() as u64,
        };
        let mut book = self.book.lock();
        book.journal.check()?;
        if book.state.planned.contains_key(&statement) {
            return Err(misuse(&name, "the statement has a spec"));
        }
        let draft = self.dir.join(name::unfinished(&*self.vfs, &name));
        if let Err(error) = self.write_spec(&draft, &self.dir.join(name), bytes) {
            // What cannot be removed goes with the next owner.
            let _ = self.vfs.remove_file(&draft);
            return Err(error);
        }
        self.record(&mut book, record, Force::Now)
    }

    /// The frozen spec of a statement, which is what was frozen.
    pub fn spec(&self, statement: u32) -> Result<Option<Vec<u8>>> {
        let planned = self.book.lock().state.planned.get(&statement).cloned();
        let Some(planned) = planned else {
            return Ok(None);
        };
        verify::spec(&*self.vfs, &self.dir, statement, &planned).map(Some)
    }

    /// Where an attempt writes: a new name each time.
    pub fn place(&self, key: TaskKey, attempt: u32) -> PathBuf {
        let name = name::rows(&*self.vfs, key, attempt);
        let unfinished = format!("{name}{}", name::UNFINISHED);
        self.dir.join(name::SEALED).join(unfinished)
    }

    /// What the file of an attempt says of where it comes from.
    pub fn origin(&self, key: TaskKey, attempt: u32) -> Origin {
        Origin {
            job: self.fingerprint,
            statement: key.statement,
            stage: key.stage,
            task: key.task,
            attempt,
            epoch: self.epoch,
        }
    }

    /// Seals the output of a task: `file` was written durably at a [`Job::place`] with the
    /// [`Job::origin`] of the attempt. The first attempt to seal wins; the file of another is
    /// removed, and its seal an error. Gives the file at its place for good.
    pub fn seal(
        &self,
        key: TaskKey,
        attempt: u32,
        file: FrameFile,
        took: Duration,
    ) -> Result<FrameFile> {
        let mut book = self.book.lock();
        book.journal.check()?;
        let (name, blake3) = self.named(key, attempt, &file)?;
        let sealed = Record::Sealed {
            key,
            attempt,
            file: name.clone(),
            bytes: file.bytes(),
            rows: file.rows(),
            blake3: blake3::Hash::from(blake3).to_string(),
            took_ms: took.as_millis().try_into().unwrap_or(u64::MAX),
            at_ms: (self.now_ms)(),
        };
        let dir = self.dir.join(name::SEALED);
        let path = dir.join(name);
        if let Err(error) = self.publish(&book, key, &file, &path) {
            // Not recorded, so nobody reads it; what cannot be removed goes with the next owner.
            let _ = self.vfs.remove_file(file.path());
            return Err(error);
        }
        self.vfs.sync_dir(&dir).at("sync", &dir)?;
        // From here on the record may be on the disk although an error says it is not.
        self.record(&mut book, sealed, Force::Now)?;
        Ok(file.moved(path))
    }

    /// Says that the output of a task is damaged or gone: it is sealed no more, and can be sealed
    /// again. Does nothing when it is not sealed.
    pub fn lose(&self, key: TaskKey, why: &str) -> Result<()> {
        let mut book = self.book.lock();
        let Some(sealed) = book.state.sealed.get(&key) else {
            return Ok(());
        };
        let path = self.dir.join(name::SEALED).join(&sealed.file);
        let why = shortened(why);
        self.record(&mut book, Record::Lost { key, why }, Force::Now)?;
        let _ = self.vfs.remove_file(&path);
        Ok(())
    }

    /// Lets go of everything a stage has sealed.
    pub fn drop_stage(&self, statement: u32, stage: u32) -> Result<()> {
        let mut book = self.book.lock();
        let before = book.state.files().into_iter().map(str::to_owned);
        let before: Vec<String> = before.collect();
        self.record(&mut book, Record::Dropped { statement, stage }, Force::Now)?;
        let kept = book.state.files();
        for file in before.iter().filter(|file| !kept.contains(file.as_str())) {
            // The next owner removes what stays.
            let _ = self
                .vfs
                .remove_file(&self.dir.join(name::SEALED).join(file));
        }
        Ok(())
    }

    /// What is sealed of a statement, each file looked at: its size, header and trailer.
    pub fn sealed(&self, statement: u32) -> Result<SealedTasks> {
        let state = self.state();
        verify::sealed(&*self.vfs, &self.dir, &self.fingerprint, &state, statement)
    }

    /// Records something. What seals, freezes and drops is recorded by the calls that do it.
    /// After a failure of the journal nothing is recorded any more, and the error is the same.
    pub fn append(&self, record: Record) -> Result<()> {
        let record = match record {
            Record::Epoch { .. }
            | Record::Planned { .. }
            | Record::Sealed { .. }
            | Record::Lost { .. }
            | Record::Dropped { .. } => {
                let name = name::JOURNAL;
                return Err(misuse(name, "the record belongs to a call of its own"));
            }
            Record::Failed { key, attempt, why } => Record::Failed {
                key,
                attempt,
                why: shortened(&why),
            },
            other => other,
        };
        let force = match record {
            // It tells which task ended the process, and the system keeps it then.
            Record::Started { .. } => Force::Later,
            _ => Force::Now,
        };
        self.record(&mut self.book.lock(), record, force)
    }

    /// Everything that is wrong with the files of the job; with `every_byte`, all that is sealed is
    /// read.
    pub fn verify(&self, every_byte: bool) -> Result<Vec<Problem>> {
        let state = self.state();
        let mut found = verify::all(&*self.vfs, &self.dir, &self.fingerprint, &state, every_byte)?;
        found.extend(self.verify_journal()?);
        let path = self.dir.join(name::REQUEST);
        let request = request::read(&*self.vfs, &self.dir);
        let is_same = |request: &Vec<u8>| request::fingerprint(request) == self.fingerprint;
        match request {
            Ok(request) if request.as_ref().is_some_and(is_same) => {}
            Ok(_) => found.push(Problem::of(path, "it is gone or another one")),
            Err(error) => found.push(Problem::of(path, &error.to_string())),
        }
        Ok(found)
    }

    fn write_spec(&self, draft: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut file = self.vfs.create(draft).at("make", draft)?;
        file.write_all(bytes).at("write", draft)?;
        file.sync().at("sync", draft)?;
        // It may replace one that a killed process did not record: nothing ran by that.
        self.vfs.rename(draft, path).at("rename", draft)?;
        self.vfs.sync_dir(&self.dir).at("sync", &self.dir)
    }

    /// What is wrong with the journal on the disk: it says something else than this process wrote.
    fn verify_journal(&self) -> Result<Option<Problem>> {
        // Nothing is written meanwhile.
        let book = self.book.lock();
        let path = self.dir.join(name::JOURNAL);
        match journal::read(&*self.vfs, &self.dir, &self.fingerprint) {
            Ok((replayed, _)) if replayed.records == book.records => Ok(None),
            Ok(_) => Ok(Some(Problem::of(path, "it is another one"))),
            Err(Error::Corrupt { why, .. }) => Ok(Some(Problem::of(path, &why))),
            Err(error) => Err(error),
        }
    }

    /// Checks a file that is to be sealed; its name for good, and its hash.
    fn named(&self, key: TaskKey, attempt: u32, file: &FrameFile) -> Result<(String, [u8; 32])> {
        let path = file.path();
        let refused = |why| misuse(&path.display().to_string(), why);
        if file.origin() != self.origin(key, attempt) {
            return Err(refused("it was written by another attempt"));
        }
        let blake3 = file.blake3();
        let blake3 = blake3.ok_or_else(|| refused("it was not written durably"))?;
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.and_then(|name| name.strip_suffix(name::UNFINISHED));
        let name = name.filter(|name| name::parse_rows(name) == Some((key, attempt)));
        match name {
            Some(name) if path.parent() == Some(&self.dir.join(name::SEALED)) => {
                Ok((name.to_owned(), blake3))
            }
            _ => Err(refused("it is not at a place for its attempt")),
        }
    }

    /// Gives a whole file its name for good.
    fn publish(&self, book: &Book, key: TaskKey, file: &FrameFile, to: &Path) -> Result<()> {
        let from = file.path();
        if let Some(why) = book.state.refuses(key) {
            return Err(misuse(&from.display().to_string(), why));
        }
        let found = self.vfs.link_metadata(from).at("look at", from)?;
        if found.bytes != file.bytes() {
            return Err(Error::Corrupt {
                path: from.to_path_buf(),
                why: "it is not as long as it was written".into(),
            });
        }
        self.vfs.rename_new(from, to).at("rename", from)
    }

    fn record(&self, book: &mut Book, record: Record, force: Force) -> Result<()> {
        book.journal.check()?;
        let possible = book.state.check(&record);
        possible.map_err(|why| Error::Refused {
            path: self.dir.join(name::JOURNAL),
            why,
        })?;
        if let Err(error) = self.owner.check(&*self.vfs) {
            return Err(match error {
                Error::Corrupt { .. } => book.journal.end(error),
                other => other,
            });
        }
        book.journal.append(&record, force)?;
        let applied = book.state.apply(&record);
        debug_assert_eq!(applied, Ok(()), "it was checked before it was written");
        book.records.push(record);
        Ok(())
    }
}

fn shortened(why: &str) -> String {
    why.chars().take(WHY_CHARACTERS_MAX).collect()
}

pub(super) fn misuse(name: &str, why: &'static str) -> Error {
    Error::Misuse {
        name: name.to_owned(),
        why,
    }
}
