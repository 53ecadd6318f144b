//! What follows from a journal: a pure function of its records, which recovery, the running job and the checks of the
//! protocol share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::name::{self, TaskKey};
use super::record::{IntentFile, Record};
use crate::staged::Replaces;

/// What is so after some records.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The incarnation that wrote last; 0 before the first.
    pub epoch: u64,
    /// When that incarnation began.
    pub epoch_at_ms: i64,
    /// The frozen specs.
    pub planned: BTreeMap<u32, Planned>,
    /// What is sealed now.
    pub sealed: BTreeMap<TaskKey, SealedFile>,
    /// Stages that were dropped, as statement and stage.
    pub dropped: BTreeSet<(u32, u32)>,
    /// What was about to be published, by statement.
    pub intents: BTreeMap<u32, Intent>,
    /// The statements that have ended.
    pub done: BTreeMap<u32, Done>,
    /// The epochs in which a task was started and neither failed nor was sealed: it may have ended
    /// the process.
    pub started: BTreeMap<TaskKey, BTreeSet<u64>>,
    /// Whether the job has ended.
    pub ended: bool,
}

/// A frozen spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its hash.
    pub blake3: String,
    /// Its size.
    pub bytes: u64,
}

/// Where the output of a task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedFile {
    /// The attempt that sealed it.
    pub attempt: u32,
    /// The incarnation that sealed it.
    pub epoch: u64,
    /// The file below `sealed`.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// Its hash.
    pub blake3: [u8; 32],
    /// How long the attempt took.
    pub took_ms: u64,
}

/// What was about to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Where.
    pub target: String,
    /// Which files.
    pub files: Vec<IntentFile>,
    /// Rows in them.
    pub rows: u64,
    /// What gives way to them.
    pub replaces: Replaces,
}

/// A file that a statement has published and no later one has replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published<'a> {
    /// The last statement that published it.
    pub statement: u32,
    /// What was published.
    pub file: &'a IntentFile,
    /// What tells it from a changed file, if that was noted.
    pub pin: Option<&'a str>,
}

/// The end of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Rows of its answer.
    pub rows: u64,
    /// The hash of its answer.
    pub hash: Option<String>,
    /// What tells its files from changed ones, in the order of its intent.
    pub pins: Vec<String>,
    /// When.
    pub at_ms: i64,
}

/// What follows from records; an error, which says why, when they cannot be the history of a job.
///
/// ```
/// use tidegate_checkpoint::job::{Record, derive};
///
/// let epoch = |epoch| Record::Epoch { epoch, at_ms: 0, pid: 1, last_beat_ms: None };
/// assert_eq!(derive(&[epoch(1), epoch(2)])?.epoch, 2);
/// assert!(derive(&[epoch(2), epoch(1)]).is_err());
/// # Ok::<(), String>(())
/// ```
pub fn derive(records: &[Record]) -> Result<State, String> {
    let mut state = State::default();
    for (number, record) in records.iter().enumerate() {
        let applied = state.apply(record);
        applied.map_err(|why| format!("record {number} cannot be: {why}"))?;
    }
    Ok(state)
}

impl State {
    /// Adds one record; an error, and no change, when it cannot be the next one.
    pub fn apply(&mut self, record: &Record) -> Result<(), String> {
        self.check(record)?;
        match record.clone() {
            Record::Epoch { epoch, at_ms, .. } => {
                self.epoch = epoch;
                self.epoch_at_ms = at_ms;
            }
            Record::Planned {
                statement,
                blake3,
                bytes,
            } => drop(self.planned.insert(statement, Planned { blake3, bytes })),
            Record::Sealed { key, .. } => {
                self.sealed.insert(key, self.sealed_file(record)?);
                self.started.remove(&key);
            }
            Record::Lost { key, .. } => drop(self.sealed.remove(&key)),
            Record::Failed { key, .. } => self.failed(key),
            Record::Started { key, .. } => {
                self.started.entry(key).or_default().insert(self.epoch);
            }
            Record::Dropped { statement, stage } => {
                let is_its = |key: &TaskKey| (key.statement, key.stage) == (statement, stage);
                self.sealed.retain(|key, _| !is_its(key));
                self.dropped.insert((statement, stage));
            }
            Record::Intent {
                statement,
                target,
                files,
                rows,
                replaces,
            } => {
                let intent = Intent {
                    target,
                    files,
                    rows,
                    replaces,
                };
                self.intents.insert(statement, intent);
            }
            Record::Done {
                statement,
                rows,
                hash,
                pins,
                at_ms,
            } => {
                let done = Done {
                    rows,
                    hash,
                    pins,
                    at_ms,
                };
                self.done.insert(statement, done);
            }
            Record::Ended { .. } => self.ended = true,
        }
        Ok(())
    }

    /// Says why a record cannot be the next one.
    pub fn check(&self, record: &Record) -> Result<(), String> {
        if self.ended {
            return Err("the job has ended before".into());
        }
        if self.epoch == 0 && !matches!(record, Record::Epoch { .. }) {
            return Err("no process had the job".into());
        }
        match record {
            Record::Epoch { epoch, .. } if *epoch <= self.epoch => {
                Err(format!("epoch {epoch} after epoch {}", self.epoch))
            }
            Record::Planned { statement, .. } if self.planned.contains_key(statement) => {
                Err(format!("statement {statement} is planned twice"))
            }
            Record::Planned { blake3, .. } => hash_of(blake3).map(drop),
            Record::Sealed { .. } => self.sealed_file(record).map(drop),
            Record::Lost { key, .. } if !self.sealed.contains_key(key) => {
                Err(format!("task {key} is lost and was not sealed"))
            }
            _ => Ok(()),
        }
    }

    /// Why the output of this task may not be sealed, if so: a sealed one is final, and nothing
    /// runs before its spec is frozen.
    pub fn refuses(&self, key: TaskKey) -> Option<&'static str> {
        if self.sealed.contains_key(&key) {
            return Some("another attempt has sealed this task");
        }
        let is_planned = self.planned.contains_key(&key.statement);
        (!is_planned).then_some("its statement has no spec")
    }

    /// The files below `sealed` that are in use.
    pub fn files(&self) -> BTreeSet<&str> {
        let files = self.sealed.values();
        files.map(|sealed| sealed.file.as_str()).collect()
    }

    /// What the statements that are done have published, by directory and name: what a later one replaced is not in it.
    pub fn published(&self) -> BTreeMap<(&str, &str), Published<'_>> {
        let mut published = BTreeMap::new();
        for (statement, done) in &self.done {
            let Some(intent) = self.intents.get(statement) else {
                continue;
            };
            if intent.replaces == Replaces::Directory {
                let within = |of: &str| Path::new(of).starts_with(&intent.target);
                published.retain(|(of, _): &(&str, &str), _| !within(of));
            }
            for (number, file) in intent.files.iter().enumerate() {
                let published_file = Published {
                    statement: *statement,
                    file,
                    pin: done.pins.get(number).map(String::as_str),
                };
                let place = (intent.target.as_str(), file.name.as_str());
                published.insert(place, published_file);
            }
        }
        published
    }

    fn failed(&mut self, key: TaskKey) {
        if let Some(epochs) = self.started.get_mut(&key) {
            epochs.remove(&self.epoch);
            if epochs.is_empty() {
                self.started.remove(&key);
            }
        }
    }

    fn sealed_file(&self, record: &Record) -> Result<SealedFile, String> {
        let Record::Sealed {
            key,
            attempt,
            file,
            bytes,
            rows,
            blake3,
            took_ms,
            ..
        } = record
        else {
            return Err("it seals nothing".into());
        };
        if let Some(why) = self.refuses(*key) {
            return Err(format!("task {key} is sealed, but {why}"));
        }
        if name::parse_rows(file) != Some((*key, *attempt)) {
            return Err(format!(
                "task {key} is sealed in a file that is not its own"
            ));
        }
        Ok(SealedFile {
            attempt: *attempt,
            epoch: self.epoch,
            file: file.clone(),
            bytes: *bytes,
            rows: *rows,
            blake3: hash_of(blake3)?,
            took_ms: *took_ms,
        })
    }
}

fn hash_of(hex: &str) -> Result<[u8; 32], String> {
    let hash = blake3::Hash::from_hex(hex);
    hash.map(|hash| *hash.as_bytes())
        .map_err(|error| format!("a hash is none: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const KEY: TaskKey = TaskKey {
        statement: 0,
        stage: 1,
        task: 2,
    };

    fn epoch(epoch: u64) -> Record {
        Record::Epoch {
            epoch,
            at_ms: 5,
            pid: 1,
            last_beat_ms: None,
        }
    }

    fn hash() -> String {
        blake3::hash(b"x").to_string()
    }

    fn planned(statement: u32) -> Record {
        Record::Planned {
            statement,
            blake3: hash(),
            bytes: 1,
        }
    }

    fn sealed(key: TaskKey, attempt: u32) -> Record {
        let file = format!(
            "{}-{}-{}-{attempt}-0123456789abcdef.rows",
            key.statement, key.stage, key.task
        );
        Record::Sealed {
            key,
            attempt,
            file,
            bytes: 10,
            rows: 3,
            blake3: hash(),
            took_ms: 1,
            at_ms: 1,
        }
    }

    fn lost(key: TaskKey) -> Record {
        let why = "gone".into();
        Record::Lost { key, why }
    }

    fn check(records: &[Record], expected: Result<&[TaskKey], &str>) {
        match (derive(records), expected) {
            (Ok(state), Ok(keys)) => {
                let found: Vec<TaskKey> = state.sealed.keys().copied().collect();
                assert_eq!(found, keys);
            }
            (Err(why), Err(expected)) => assert!(why.contains(expected), "{why}"),
            (found, expected) => unreachable!("{found:?} for {expected:?}"),
        }
    }

    #[test]
    fn a_sealed_task_stays_sealed_until_it_is_lost_or_dropped() {
        let start = [epoch(1), planned(0)];
        let with = |more: &[Record]| [&start[..], more].concat();
        let other = TaskKey { stage: 2, ..KEY };
        let dropped = Record::Dropped {
            statement: 0,
            stage: 1,
        };
        check(&with(&[sealed(KEY, 0)]), Ok(&[KEY]));
        check(&with(&[sealed(KEY, 0), epoch(2)]), Ok(&[KEY]));
        check(&with(&[sealed(KEY, 0), lost(KEY)]), Ok(&[]));
        check(
            &with(&[sealed(KEY, 0), lost(KEY), sealed(KEY, 1)]),
            Ok(&[KEY]),
        );
        check(
            &with(&[sealed(KEY, 0), sealed(other, 0), dropped.clone()]),
            Ok(&[other]),
        );
        check(&with(&[dropped, sealed(KEY, 0)]), Ok(&[KEY]));
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        check(&[planned(0)], Err("no process"));
        check(&[epoch(1), epoch(1)], Err("epoch 1 after epoch 1"));
        check(&[epoch(1), planned(0), planned(0)], Err("planned twice"));
        check(&[epoch(1), sealed(KEY, 0)], Err("no spec"));
        let start = [epoch(1), planned(0), sealed(KEY, 0)];
        let with = |record| [&start[..], &[record]].concat();
        check(&with(sealed(KEY, 1)), Err("another attempt"));
        check(&with(lost(TaskKey::default())), Err("was not sealed"));
        let Record::Sealed {
            attempt,
            bytes,
            rows,
            blake3,
            ..
        } = sealed(KEY, 0)
        else {
            unreachable!("it is one");
        };
        let of = |file: &str, blake3: &str| Record::Sealed {
            key: KEY,
            attempt,
            file: file.into(),
            bytes,
            rows,
            blake3: blake3.into(),
            took_ms: 0,
            at_ms: 0,
        };
        let start = [epoch(1), planned(0)];
        let with = |record| [&start[..], &[record]].concat();
        check(&with(of("../../etc/passwd", &blake3)), Err("not its own"));
        check(
            &with(of("0-1-3-0-0123456789abcdef.rows", &blake3)),
            Err("not its own"),
        );
        check(
            &with(of("0-1-2-0-0123456789abcdef.rows", "xyz")),
            Err("a hash is none"),
        );
        let ended = Record::Ended { at_ms: 0 };
        check(&[epoch(1), ended, epoch(2)], Err("has ended"));
    }

    #[test]
    fn a_task_that_was_begun_and_never_ended_is_told_by_its_epochs() {
        let started = Record::Started {
            key: KEY,
            attempt: 1,
        };
        let failed = Record::Failed {
            key: KEY,
            attempt: 1,
            why: "x".into(),
        };
        let epochs = |more: &[Record]| {
            let state = derive(&[&[epoch(1), planned(0)], more].concat()).unwrap();
            state.started.get(&KEY).map_or(0, BTreeSet::len)
        };
        let (two, three) = (epoch(2), epoch(3));
        assert_eq!(epochs(&[two.clone(), started.clone()]), 1);
        let twice = [two.clone(), started.clone(), three.clone(), started.clone()];
        assert_eq!(epochs(&twice), 2);
        assert_eq!(epochs(&[two.clone(), started.clone(), failed]), 0);
        assert_eq!(epochs(&[two, started, three, sealed(KEY, 2)]), 0);
    }
}
