//! What the journal of a job records.

use serde::{Deserialize, Serialize};

use super::TaskKey;
use crate::staged::Replaces;

/// One fact about a job. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A process took the job over.
    Epoch {
        /// Its number, from 1.
        epoch: u64,
        /// When.
        at_ms: i64,
        /// The process.
        pid: u32,
        /// When the process before it gave its last sign of life.
        last_beat_ms: Option<i64>,
    },
    /// The spec of a statement is frozen.
    Planned {
        /// Which statement.
        statement: u32,
        /// The hash of the spec.
        blake3: String,
        /// Its size.
        bytes: u64,
    },
    /// The output of a task is whole and on the disk: it is not computed again.
    Sealed {
        /// The task.
        key: TaskKey,
        /// The attempt that was first.
        attempt: u32,
        /// The file.
        file: String,
        /// Its size.
        bytes: u64,
        /// Its rows.
        rows: u64,
        /// Its hash.
        blake3: String,
        /// How long the attempt took.
        took_ms: u64,
        /// When.
        at_ms: i64,
    },
    /// The output of a task was damaged or gone: it is to be computed again.
    Lost {
        /// The task.
        key: TaskKey,
        /// What was wrong.
        why: String,
    },
    /// An attempt failed.
    Failed {
        /// The task.
        key: TaskKey,
        /// The attempt.
        attempt: u32,
        /// Its error.
        why: String,
    },
    /// An attempt begins: one that ends the process each time is told by this.
    Started {
        /// The task.
        key: TaskKey,
        /// The attempt.
        attempt: u32,
    },
    /// What a stage has sealed is used up and may go.
    Dropped {
        /// The statement.
        statement: u32,
        /// Its stage.
        stage: u32,
    },
    /// The output of a statement is whole, and is about to be published.
    Intent {
        /// The statement.
        statement: u32,
        /// Where.
        target: String,
        /// Which files.
        files: Vec<IntentFile>,
        /// Rows in them.
        rows: u64,
        /// What gives way to them.
        #[serde(default)]
        replaces: Replaces,
    },
    /// A statement has ended, its output published.
    Done {
        /// The statement.
        statement: u32,
        /// Rows of its answer.
        rows: u64,
        /// The hash of its answer.
        hash: Option<String>,
        /// For each of its files, in the order of its intent, what tells it from a changed one without reading it.
        #[serde(default)]
        pins: Vec<String>,
        /// When.
        at_ms: i64,
    },
    /// The job has ended.
    Ended {
        /// When.
        at_ms: i64,
    },
}

/// A file that is about to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntentFile {
    /// Its name below the target.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its hash.
    pub blake3: String,
}
