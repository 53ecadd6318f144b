//! What a durable job adds to a staged query: outputs go into the job's directory, what is sealed is journalled, and what
//! an earlier process has sealed is not made again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datafusion::error::{DataFusionError, Result};
use tidegate_checkpoint::frames::{FrameFile, Origin};
use tidegate_checkpoint::job::{Job, Record, TaskKey};
use tidegate_checkpoint::temp::TempRoot;
use tidegate_operators::shuffle::Sealed;
use tidegate_plan::{Repeats, Stage};

use super::external;
use crate::scheduler::{AttemptId, TaskId};

/// A statement of a job.
#[derive(Clone)]
pub struct Durable {
    /// The job, whose lock this process holds.
    pub job: Arc<Job>,
    /// The statement's number.
    pub statement: u32,
}

impl Durable {
    fn key(&self, task: TaskId) -> TaskKey {
        TaskKey {
            statement: self.statement,
            stage: task.stage as u32,
            task: task.partition as u32,
        }
    }

    /// Where an attempt writes, and who it says it is.
    pub(super) fn place(&self, task: TaskId, attempt: AttemptId) -> (PathBuf, Origin) {
        let key = self.key(task);
        let origin = self.job.origin(key, attempt.0);
        (self.job.place(key, attempt.0), origin)
    }

    /// Makes the output of an attempt permanent; it is sealed once this has returned.
    pub(super) async fn seal(
        &self,
        task: TaskId,
        attempt: AttemptId,
        sealed: Sealed,
        took: Duration,
    ) -> Result<Sealed> {
        let (job, key) = (Arc::clone(&self.job), self.key(task));
        // It waits for the disk, and a thread that computes should not.
        let kept = tokio::task::spawn_blocking(move || {
            sealed.kept(|file| {
                let kept = job.seal(key, attempt.0, file, took);
                match kept.is_err() && job.state().sealed.contains_key(&key) {
                    // Whose news is on its way: this attempt is about to be stopped.
                    true => Err(DataFusionError::IoError(std::io::Error::other(
                        "another attempt has sealed this task",
                    ))),
                    false => kept.map_err(external),
                }
            })
        });
        kept.await.map_err(external)?
    }

    /// The output of a task is damaged or gone.
    pub(super) fn lose(&self, task: TaskId, why: &str) -> Result<()> {
        self.job.lose(self.key(task), why).map_err(external)
    }

    /// Tells the job's report of an attempt that begins: should it end the process, that is seen.
    pub(super) fn started(&self, task: TaskId, attempt: AttemptId) -> Result<()> {
        let record = Record::Started {
            key: self.key(task),
            attempt: attempt.0,
        };
        self.job.append(record).map_err(external)
    }

    /// Tells the job's report of an attempt that failed.
    pub(super) fn failed(&self, task: TaskId, attempt: AttemptId, why: &str) -> Result<()> {
        let record = Record::Failed {
            key: self.key(task),
            attempt: attempt.0,
            why: why.into(),
        };
        self.job.append(record).map_err(external)
    }

    /// The outputs of a stage may go: whoever reads it is complete.
    pub(super) fn drop_stage(&self, stage: usize) -> Result<()> {
        let dropped = self.job.drop_stage(self.statement, stage as u32);
        dropped.map_err(external)
    }

    /// What is sealed already. Damaged outputs are lost; what was computed from one that could be another when it is
    /// made again is lost with it.
    pub(super) fn earlier(&self, stages: &[Stage]) -> Result<Vec<(TaskId, FrameFile)>> {
        let found = self.job.sealed(self.statement).map_err(external)?;
        let mut lost = Vec::new();
        for (key, why) in &found.bad {
            self.job.lose(*key, why).map_err(external)?;
            lost.push(key.stage as usize);
        }
        let varying = lost
            .into_iter()
            .filter(|stage| {
                let stage = stages.get(*stage);
                stage.is_some_and(|stage| stage.repeats == Repeats::Varies)
            })
            .collect();
        let stale = downstream(stages, varying);
        let mut tasks = Vec::new();
        for (key, _, file) in found.good {
            let task = TaskId {
                stage: key.stage as usize,
                partition: key.task as usize,
            };
            let exists = stages
                .get(task.stage)
                .is_some_and(|stage| task.partition < stage.tasks());
            if !exists {
                return Err(DataFusionError::External(Box::new(NotOfThisPlan(task))));
            }
            match stale.contains(&task.stage) {
                true => self.lose(task, "what it was computed from is made again")?,
                false => tasks.push((task, file)),
            }
        }
        Ok(tasks)
    }

    /// The outputs that an earlier process has sealed, counted in the space for temporary files.
    pub(super) fn recovered(
        &self,
        stage: &Stage,
        file: FrameFile,
        temp: &TempRoot,
    ) -> Result<Sealed> {
        let disk = temp.reserve(file.bytes()).map_err(external)?;
        Ok(Sealed::of_job(stage.plan.schema(), file, disk))
    }
}

/// The journal names a task that the plan does not have.
#[derive(Debug, thiserror::Error)]
#[error("the job has sealed task {0}, which its plan does not have")]
struct NotOfThisPlan(TaskId);

/// Everything that is computed from these stages.
fn downstream(stages: &[Stage], from: Vec<usize>) -> Vec<usize> {
    let mut lost = from.clone();
    let mut found = Vec::new();
    for (number, stage) in stages.iter().enumerate() {
        let reads = |input: &tidegate_plan::Edge| lost.contains(&input.from.0);
        if stage.inputs.iter().any(reads) {
            lost.push(number);
            found.push(number);
        }
    }
    found
}
