//! What a job has done, told from its journal.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tidegate_checkpoint::job::{Record, Seen, TaskKey, derive};

/// One job in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobStatus {
    /// Its name.
    pub name: String,
    /// `running`, `resumable` or `finished`.
    pub state: &'static str,
    /// Who runs it, if anybody does.
    pub owner: Option<String>,
    /// The process that runs it, if one does.
    pub pid: Option<u32>,
    /// Statements that are done.
    pub statements_done: usize,
    /// Tasks that are sealed.
    pub tasks_sealed: usize,
    /// Bytes on the disk.
    pub bytes: u64,
    /// When something last happened to it.
    pub changed: Option<DateTime<Utc>>,
}

/// What a job has done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobReport {
    /// Its name.
    pub name: String,
    /// `running`, `resumable` or `finished`.
    pub state: &'static str,
    /// How often a process began to work on it.
    pub starts: usize,
    /// Seconds between the last sign of progress and the death of each process that was killed.
    pub seconds_lost: Vec<f64>,
    /// Tasks that were running more than once when a process ended: one of them may be why.
    pub suspects: Vec<Suspect>,
    /// What each statement has done.
    pub statements: Vec<StatementReport>,
}

/// A task that was running when processes ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suspect {
    /// Its statement, from 1.
    pub statement: u32,
    /// Its stage.
    pub stage: u32,
    /// Its number in the stage.
    pub task: u32,
    /// How many processes ended while it ran.
    pub ends: usize,
}

/// What a statement of a job has done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatementReport {
    /// Its number, from 1.
    pub statement: u32,
    /// The rows that it gave or wrote, once it is done.
    pub rows: Option<u64>,
    /// What each of its stages has done.
    pub stages: Vec<StageReport>,
}

/// What a stage of a statement has done.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct StageReport {
    /// Its number.
    pub stage: u32,
    /// Tasks that were sealed, again where their output was lost.
    pub tasks_run: usize,
    /// Tasks that a later process found sealed, and did not lose again, counted for each such process.
    pub tasks_reused: usize,
    /// Tries of its tasks that are known.
    pub attempts: usize,
    /// Bytes that were sealed.
    pub bytes_sealed: u64,
    /// Bytes that later processes found sealed.
    pub bytes_reused: u64,
    /// Seconds that the sealed tasks took.
    pub seconds: f64,
}

impl JobStatus {
    pub(super) fn of(name: String, seen: &Seen, bytes: u64) -> Self {
        let count = |is: fn(&Record) -> bool| seen.records.iter().filter(|r| is(r)).count();
        Self {
            name,
            state: state(seen),
            owner: seen.owner.clone(),
            pid: seen.owner.as_ref().and_then(|_| pid(seen)),
            statements_done: count(|record| matches!(record, Record::Done { .. })),
            tasks_sealed: count(|record| matches!(record, Record::Sealed { .. })),
            bytes,
            changed: seen.records.iter().rev().find_map(at),
        }
    }
}

impl JobReport {
    pub(super) fn of(name: String, seen: &Seen) -> Self {
        let mut stages: BTreeMap<(u32, u32), StageReport> = BTreeMap::new();
        let mut rows: BTreeMap<u32, Option<u64>> = BTreeMap::new();
        let mut sealed: BTreeMap<TaskKey, u64> = BTreeMap::new();
        let mut done = BTreeSet::new();
        // What this process found sealed and has not lost.
        let mut found: BTreeSet<TaskKey> = BTreeSet::new();
        let (mut starts, mut lost) = (0, Vec::new());
        let mut last: Option<i64> = None;
        for record in &seen.records {
            match record {
                Record::Epoch {
                    at_ms,
                    last_beat_ms,
                    ..
                } => {
                    starts += 1;
                    if let (Some(last), Some(beat)) = (last, *last_beat_ms) {
                        lost.push((beat - last).max(0) as f64 / 1e3);
                    }
                    last = Some(*at_ms);
                    found.clear();
                    for (key, bytes) in &sealed {
                        if !done.contains(&key.statement) {
                            let stage = stages.entry((key.statement, key.stage)).or_default();
                            found.insert(*key);
                            stage.tasks_reused += 1;
                            stage.bytes_reused += bytes;
                        }
                    }
                }
                Record::Planned { statement, .. } => {
                    rows.entry(*statement).or_default();
                }
                Record::Sealed {
                    key,
                    bytes,
                    took_ms,
                    ..
                } => {
                    sealed.insert(*key, *bytes);
                    let stage = stages.entry((key.statement, key.stage)).or_default();
                    stage.tasks_run += 1;
                    stage.attempts += 1;
                    stage.bytes_sealed += bytes;
                    stage.seconds += *took_ms as f64 / 1e3;
                }
                Record::Lost { key, .. } => {
                    let bytes = sealed.remove(key);
                    if found.remove(key) {
                        let stage = stages.entry((key.statement, key.stage)).or_default();
                        stage.tasks_reused -= 1;
                        stage.bytes_reused -= bytes.unwrap_or_default();
                    }
                }
                Record::Failed { key, .. } => {
                    stages
                        .entry((key.statement, key.stage))
                        .or_default()
                        .attempts += 1;
                }
                Record::Dropped { statement, stage } => {
                    sealed.retain(|key, _| key.statement != *statement || key.stage != *stage);
                }
                Record::Done {
                    statement, rows: n, ..
                } => {
                    rows.insert(*statement, Some(*n));
                    done.insert(*statement);
                }
                _ => {}
            }
            last = at(record).map(|at| at.timestamp_millis()).or(last);
        }
        Self {
            name,
            state: state(seen),
            starts,
            seconds_lost: lost,
            suspects: suspects(seen),
            statements: statements(rows, stages),
        }
    }

    /// Tasks that were run, and tasks that were found sealed, of all statements.
    pub fn tasks(&self) -> (usize, usize) {
        self.stages().fold((0, 0), |(run, reused), stage| {
            (run + stage.tasks_run, reused + stage.tasks_reused)
        })
    }

    /// Bytes that were found sealed, of all statements.
    pub fn bytes_reused(&self) -> u64 {
        self.stages().map(|stage| stage.bytes_reused).sum()
    }

    fn stages(&self) -> impl Iterator<Item = &StageReport> {
        let statements = self.statements.iter();
        statements.flat_map(|statement| &statement.stages)
    }
}

/// Tasks that more than one process did not survive.
fn suspects(seen: &Seen) -> Vec<Suspect> {
    let Ok(state) = derive(&seen.records) else {
        return Vec::new();
    };
    let runs = seen.owner.is_some();
    let ended = |epochs: &BTreeSet<u64>| {
        let ended = epochs.iter().filter(|epoch| !runs || **epoch < state.epoch);
        ended.count()
    };
    let counted = state.started.iter().map(|(key, epochs)| Suspect {
        statement: key.statement + 1,
        stage: key.stage,
        task: key.task,
        ends: ended(epochs),
    });
    counted.filter(|suspect| suspect.ends > 1).collect()
}

fn statements(
    rows: BTreeMap<u32, Option<u64>>,
    stages: BTreeMap<(u32, u32), StageReport>,
) -> Vec<StatementReport> {
    let statement = |(statement, rows): (u32, Option<u64>)| {
        let own = stages.iter().filter(|((of, _), _)| *of == statement);
        StatementReport {
            statement: statement + 1,
            rows,
            stages: own
                .map(|((_, stage), report)| StageReport {
                    stage: *stage,
                    ..report.clone()
                })
                .collect(),
        }
    };
    rows.into_iter().map(statement).collect()
}

/// When a job ended.
pub(super) fn ended_at(seen: &Seen) -> DateTime<Utc> {
    let ended = seen.records.iter().rev().find_map(|record| match record {
        Record::Ended { .. } => at(record),
        _ => None,
    });
    ended.unwrap_or_default()
}

fn pid(seen: &Seen) -> Option<u32> {
    seen.records.iter().rev().find_map(|record| match record {
        Record::Epoch { pid, .. } => Some(*pid),
        _ => None,
    })
}

fn state(seen: &Seen) -> &'static str {
    let ended = |record: &Record| matches!(record, Record::Ended { .. });
    match (seen.records.iter().any(ended), &seen.owner) {
        (true, _) => "finished",
        (false, Some(_)) => "running",
        (false, None) => "resumable",
    }
}

fn at(record: &Record) -> Option<DateTime<Utc>> {
    let at_ms = match record {
        Record::Epoch { at_ms, .. }
        | Record::Sealed { at_ms, .. }
        | Record::Done { at_ms, .. }
        | Record::Ended { at_ms } => *at_ms,
        _ => return None,
    };
    DateTime::from_timestamp_millis(at_ms)
}
