//! Looking at the files of a job: whether they are those that its journal names.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::name::{self, TaskKey};
use super::state::{Planned, SealedFile, State};
use crate::error::{At, Error, Result};
use crate::frames::{Expected, FrameFile, Origin};
use crate::vfs::{Vfs, if_exists};

/// What is sealed of a statement, in order of its tasks.
#[derive(Debug, Default)]
pub struct SealedTasks {
    /// What can be read, with the attempt that sealed it. Frames are found when the file is first
    /// opened: see [`FrameFile::load`].
    pub good: Vec<(TaskKey, u32, FrameFile)>,
    /// What is damaged or gone, and how.
    pub bad: Vec<(TaskKey, String)>,
}

/// Something wrong with a file of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// Whose output it is, if it is a task's.
    pub key: Option<TaskKey>,
    /// What is wrong.
    pub why: String,
}

impl Problem {
    pub(super) fn of(path: PathBuf, why: &str) -> Self {
        Self {
            path,
            key: None,
            why: why.to_owned(),
        }
    }
}

/// What is sealed of one statement.
pub(super) fn sealed(
    vfs: &dyn Vfs,
    dir: &Path,
    fingerprint: &[u8; 32],
    state: &State,
    statement: u32,
) -> Result<SealedTasks> {
    let mut tasks = SealedTasks::default();
    let of_statement = |key: &TaskKey| key.statement == statement;
    for (key, sealed) in state.sealed.iter().filter(|(key, _)| of_statement(key)) {
        match find(vfs, dir, fingerprint, *key, sealed) {
            Ok(file) => tasks.good.push((*key, sealed.attempt, file)),
            Err(error) if is_damage(&error) => tasks.bad.push((*key, error.to_string())),
            Err(error) => return Err(error),
        }
    }
    Ok(tasks)
}

/// The spec of a statement, which is the one that was frozen.
pub(super) fn spec(
    vfs: &dyn Vfs,
    dir: &Path,
    statement: u32,
    planned: &Planned,
) -> Result<Vec<u8>> {
    let path = dir.join(name::spec(statement));
    let corrupt = |why: &str| Error::Corrupt {
        path: path.clone(),
        why: why.into(),
    };
    let bytes = match vfs.read(&path, planned.bytes) {
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            return Err(corrupt("it is longer than it was"));
        }
        read => if_exists(read).at("read", &path)?,
    };
    let bytes = bytes.ok_or_else(|| corrupt("it is gone"))?;
    match blake3::hash(&bytes).to_string() == planned.blake3 {
        true => Ok(bytes),
        false => Err(corrupt("its hash does not agree with its bytes")),
    }
}

/// Everything that is wrong with what a job has frozen and sealed.
pub(super) fn all(
    vfs: &dyn Vfs,
    dir: &Path,
    fingerprint: &[u8; 32],
    state: &State,
    every_byte: bool,
) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for (statement, planned) in &state.planned {
        let found = spec(vfs, dir, *statement, planned);
        note(&mut problems, dir.join(name::spec(*statement)), None, found)?;
    }
    for (key, sealed) in &state.sealed {
        let path = dir.join(name::SEALED).join(&sealed.file);
        let found = find(vfs, dir, fingerprint, *key, sealed);
        let found = found.and_then(|file| match every_byte {
            true => file.verify(vfs),
            false => Ok(()),
        });
        note(&mut problems, path, Some(*key), found)?;
    }
    Ok(problems)
}

fn note<T>(
    problems: &mut Vec<Problem>,
    path: PathBuf,
    key: Option<TaskKey>,
    found: Result<T>,
) -> Result<()> {
    match found {
        Err(error) if is_damage(&error) => {
            let why = error.to_string();
            problems.push(Problem { path, key, why });
            Ok(())
        }
        other => other.map(drop),
    }
}

fn find(
    vfs: &dyn Vfs,
    dir: &Path,
    fingerprint: &[u8; 32],
    key: TaskKey,
    sealed: &SealedFile,
) -> Result<FrameFile> {
    let expected = Expected {
        origin: Origin {
            job: *fingerprint,
            statement: key.statement,
            stage: key.stage,
            task: key.task,
            attempt: sealed.attempt,
            epoch: sealed.epoch,
        },
        bytes: sealed.bytes,
        rows: sealed.rows,
        blake3: Some(sealed.blake3),
    };
    FrameFile::find(vfs, &dir.join(name::SEALED).join(&sealed.file), &expected)
}

/// Whether an error says that a file is lost, and not that it could not be looked at: a bad place
/// on a disk stays bad.
fn is_damage(error: &Error) -> bool {
    let eio = rustix::io::Errno::IO.raw_os_error();
    match error {
        Error::Corrupt { .. } => true,
        Error::Io { source, .. } => {
            source.kind() == ErrorKind::NotFound || source.raw_os_error() == Some(eio)
        }
        _ => false,
    }
}
