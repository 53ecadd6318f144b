//! The files that the statements of a job have read and written. A file that changed in between, or is gone, is an error:
//! what is computed from it would be a mixture.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_catalog::SnapshotFile;
use tidegate_checkpoint::job::{IntentFile, Job};
use tidegate_checkpoint::staged::Replaces;
use tidegate_plan::ScanFiles;

use super::step::{self, Spec};
use crate::error::{Error, ErrorKind, Result};

/// What to do when an input is not what it was.
pub(crate) const ANEW: &str = "begin the job anew with --restart";

/// A file that a statement reads, as its listing saw it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Input {
    /// With links above it followed, or the URL.
    path: PathBuf,
    pin: String,
}

/// The inputs of a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inputs {
    files: BTreeSet<Input>,
    /// Where files would belong to its tables.
    places: BTreeSet<Place>,
}

/// Where the files of a table are, on this machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Place {
    directory: PathBuf,
    /// Whether what lies deeper belongs to it.
    is_deep: bool,
    /// The end of their names.
    extension: Option<String>,
}

impl Place {
    fn holds(&self, path: &Path) -> bool {
        let is_within = match self.is_deep {
            true => path.starts_with(&self.directory),
            false => path.parent() == Some(&self.directory),
        };
        is_within && extension(path) == self.extension
    }
}

fn extension(path: &Path) -> Option<String> {
    let extension = path
        .extension()
        .map(|extension| extension.to_string_lossy());
    extension.map(Into::into)
}

/// What a statement has seen of a file.
#[derive(Debug, Clone)]
struct Known {
    statement: u32,
    pin: Option<String>,
    /// What it wrote, if it did.
    written: Option<IntentFile>,
}

/// What is known of files before a statement is planned.
#[derive(Debug, Default)]
pub(super) struct KnownFiles {
    /// The statements whose files are in it.
    statements: u32,
    of: BTreeMap<PathBuf, Known>,
}

impl Inputs {
    /// The files of some listings.
    pub(super) fn of(scans: &[ScanFiles]) -> Self {
        let mut inputs = Self::default();
        let mut directories = BTreeMap::new();
        for scan in scans {
            let files = scan.snapshot.files.iter();
            let files: Vec<Input> = files.map(|file| input(file, &mut directories)).collect();
            inputs.places.extend(places(scan, &files));
            inputs.files.extend(files);
        }
        inputs
    }
}

fn input(file: &SnapshotFile, directories: &mut BTreeMap<PathBuf, PathBuf>) -> Input {
    let path = Path::new(&file.url);
    let local = file.inode.and_then(|_| path.parent().zip(path.file_name()));
    let path = match local {
        Some((directory, name)) => {
            let entry = directories.entry(directory.to_path_buf());
            let path = entry.or_insert_with(|| followed(directory)).join(name);
            match std::fs::read_link(&path) {
                Ok(_) => followed(&path),
                Err(_) => path,
            }
        }
        None => path.to_path_buf(),
    };
    let pin = file.pin();
    Input { path, pin }
}

/// A path with links followed, as far as it is there.
fn followed(directory: &Path) -> PathBuf {
    let followed = std::fs::canonicalize(directory);
    followed.unwrap_or_else(|_| directory.to_path_buf())
}

/// Where files would belong to a table. What lies beside a file that was named is none of its own, and of what is not on
/// this machine nothing is known.
fn places(scan: &ScanFiles, files: &[Input]) -> BTreeSet<Place> {
    let is_local = scan.snapshot.files.iter().all(|file| file.inode.is_some());
    let place = |directory: &Path, is_deep, file: &Input| Place {
        directory: directory.to_path_buf(),
        is_deep,
        extension: extension(&file.path),
    };
    let is_one_file = !scan.is_directory && files.len() == 1;
    if !is_local || is_one_file {
        return BTreeSet::new();
    }
    let above = scan.is_directory.then(|| common_directory(files)).flatten();
    let of = |file: &Input| match &above {
        Some(above) => Some(place(above, true, file)),
        None => Some(place(file.path.parent()?, false, file)),
    };
    files.iter().filter_map(of).collect()
}

/// The deepest directory that all files are in.
fn common_directory(files: &[Input]) -> Option<PathBuf> {
    let (first, rest) = files.split_first()?;
    let above = first.path.parent()?.ancestors();
    let mut holding = above.filter(|dir| rest.iter().all(|file| file.path.starts_with(dir)));
    holding.next().map(Path::to_path_buf)
}

impl KnownFiles {
    /// Takes in what the statements before this one have read and written.
    pub(super) fn before(&mut self, job: &Job, statement: u32) -> Result<()> {
        let state = job.state();
        for number in self.statements..statement {
            if let Some(spec) = Spec::of(job, number)? {
                for input in spec.inputs.files {
                    // It was compared with what is known when it was planned.
                    let written = self.of.remove(&input.path).and_then(|known| known.written);
                    let known = Known {
                        statement: number,
                        pin: Some(input.pin),
                        written,
                    };
                    self.of.insert(input.path, known);
                }
            }
            let (Some(intent), Some(done)) = (state.intents.get(&number), state.done.get(&number))
            else {
                continue;
            };
            if intent.replaces == Replaces::Directory {
                self.of.retain(|path, _| !path.starts_with(&intent.target));
            }
            for (at, file) in intent.files.iter().enumerate() {
                let known = Known {
                    statement: number,
                    pin: done.pins.get(at).cloned(),
                    written: Some(file.clone()),
                };
                self.of
                    .insert(Path::new(&intent.target).join(&file.name), known);
            }
        }
        self.statements = self.statements.max(statement);
        Ok(())
    }

    /// An error that names the file, if one of these inputs is not what it was to an earlier statement, or one beside
    /// them is gone.
    pub(super) fn check(&self, job: &Job, inputs: &Inputs) -> Result<()> {
        let tables = followed(&step::tables(job));
        for input in &inputs.files {
            match self.of.get(&input.path) {
                Some(known) if known.is(input) => {}
                Some(known) => return Err(known.broken(job, &input.path, "has changed")),
                None if input.path.starts_with(&tables) => {
                    return Err(foreign(job, &input.path));
                }
                None => {}
            }
        }
        let read: BTreeSet<&Path> = inputs.files.iter().map(|input| &*input.path).collect();
        let is_beside = |path: &Path| {
            let mut places = inputs.places.iter();
            path.starts_with(&tables) || places.any(|place| place.holds(path))
        };
        for (path, known) in &self.of {
            if is_beside(path)
                && !read.contains(&**path)
                && let Some(what) = known.missing(path)
            {
                return Err(known.broken(job, path, what));
            }
        }
        Ok(())
    }
}

impl Known {
    /// Whether it is the same file: it looks so, or its content is what was written.
    fn is(&self, input: &Input) -> bool {
        if self.pin.as_ref() == Some(&input.pin) {
            return true;
        }
        let written = self.written.as_ref();
        written.is_some_and(|file| step::wrong_at(&input.path, file).is_none())
    }

    /// How a file that is not listed is missing. A listing leaves out empty files.
    fn missing(&self, path: &Path) -> Option<&'static str> {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        let was_empty = self.written.as_ref().is_some_and(|file| file.bytes == 0);
        match std::fs::metadata(path) {
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Some("is gone"),
            Ok(found) if !found.is_file() => Some("is no file any more"),
            Ok(found) if found.len() == 0 && !was_empty => Some("has been emptied"),
            _ => None,
        }
    }

    fn broken(&self, job: &Job, path: &Path, what: &str) -> Error {
        let message = format!(
            "`{}` {what} since statement {} of the job `{}` used it",
            path.display(),
            self.statement + 1,
            job.name()
        );
        Error::new(ErrorKind::InputChanged, "input_changed", message).with_hint(ANEW)
    }
}

fn foreign(job: &Job, path: &Path) -> Error {
    let message = format!(
        "`{}` is among the tables of the job `{}`, and no statement of it has written it",
        path.display(),
        job.name()
    );
    Error::new(ErrorKind::InputChanged, "input_changed", message).with_hint("remove it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Vec<Input> {
        let input = |path: &&str| Input {
            path: path.into(),
            pin: String::new(),
        };
        paths.iter().map(input).collect()
    }

    #[test]
    fn the_common_directory_holds_all_files() {
        for (paths, expected) in [
            (&["/a/b/1", "/a/b/2"][..], Some("/a/b")),
            (&["/a/b/1", "/a/c/2"], Some("/a")),
            (&["/a/b/1", "/a/bb/2"], Some("/a")),
            (&["/a/b/x/1", "/a/b/2"], Some("/a/b")),
            (&["/1"], Some("/")),
            (&[], None),
        ] {
            assert_eq!(
                common_directory(&files(paths)),
                expected.map(PathBuf::from),
                "{paths:?}"
            );
        }
    }
}
