//! What tasks have sealed, for the tasks that read it.

use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use parking_lot::Mutex;
use tidegate_checkpoint::Vfs;
use tidegate_operators::shuffle::{Edges, Sealed, Unreadable};
use tidegate_plan::{Stage, StageId};

use crate::scheduler::{AttemptId, TaskId};

/// The outputs of all tasks, by stage. What nobody reads any more is removed.
pub(super) struct Outputs {
    of: Mutex<Vec<Vec<Option<Arc<Sealed>>>>>,
    vfs: Arc<dyn Vfs>,
}

impl Outputs {
    /// Room for stages of so many tasks.
    pub(super) fn new(tasks: Vec<usize>, vfs: Arc<dyn Vfs>) -> Self {
        let of = tasks.into_iter().map(|tasks| vec![None; tasks]).collect();
        Self {
            of: Mutex::new(of),
            vfs,
        }
    }

    pub(super) fn put(&self, task: TaskId, sealed: Sealed) {
        self.of.lock()[task.stage][task.partition] = Some(Arc::new(sealed));
    }

    pub(super) fn take(&self, task: TaskId) {
        self.of.lock()[task.stage][task.partition] = None;
    }

    /// What there is, and by which attempts.
    pub(super) fn there(&self) -> Vec<(TaskId, AttemptId)> {
        let of = self.of.lock();
        let mut found = Vec::new();
        for (stage, tasks) in of.iter().enumerate() {
            for (partition, sealed) in tasks.iter().enumerate() {
                let task = TaskId { stage, partition };
                let attempt = sealed.as_ref().map(|sealed| sealed.file().origin().attempt);
                found.extend(attempt.map(|attempt| (task, AttemptId(attempt))));
            }
        }
        found
    }

    /// Whether all tasks of a stage have sealed.
    pub(super) fn are_complete(&self, stage: usize) -> bool {
        is_complete(&self.of.lock(), stage)
    }

    /// Lets go of the inputs of a stage that is complete, unless another stage still reads them; gives their stages.
    pub(super) fn forget_what_is_read(&self, stages: &[Stage], stage: usize) -> Vec<usize> {
        let mut of = self.of.lock();
        let mut forgotten = Vec::new();
        if !is_complete(&of, stage) {
            return forgotten;
        }
        for edge in &stages[stage].inputs {
            let mut readers = stages
                .iter()
                .enumerate()
                .filter(|(_, reader)| reader.inputs.iter().any(|input| input.from == edge.from));
            if readers.all(|(reader, _)| is_complete(&of, reader)) {
                of[edge.from.0].fill(None);
                forgotten.push(edge.from.0);
            }
        }
        forgotten
    }

    fn sealed(&self, stage: StageId) -> Result<Vec<Arc<Sealed>>> {
        let of = self.of.lock();
        let tasks = of.get(stage.0).map_or(&[][..], Vec::as_slice).iter();
        let found = tasks.enumerate().map(|(task, sealed)| {
            sealed.clone().ok_or_else(|| {
                let gone = Unreadable::gone(stage.0 as u32, task as u32);
                DataFusionError::External(Box::new(gone))
            })
        });
        found.collect()
    }
}

fn is_complete(of: &[Vec<Option<Arc<Sealed>>>], stage: usize) -> bool {
    of.get(stage)
        .is_some_and(|tasks| tasks.iter().all(Option::is_some))
}

/// The outputs that one stage reads, in the order of its edges.
pub(super) struct EdgesOfStage {
    pub(super) outputs: Arc<Outputs>,
    pub(super) inputs: Vec<StageId>,
}

impl Edges for EdgesOfStage {
    fn read(
        &self,
        edge: usize,
        partition: usize,
        _: &TaskContext,
    ) -> Result<Vec<SendableRecordBatchStream>> {
        let Some(stage) = self.inputs.get(edge) else {
            return Err(DataFusionError::Internal(format!(
                "a stage has no edge {edge}"
            )));
        };
        let sealed = self.outputs.sealed(*stage)?.into_iter();
        let vfs = &self.outputs.vfs;
        Ok(sealed.map(|task| task.rows(vfs, partition)).collect())
    }
}
