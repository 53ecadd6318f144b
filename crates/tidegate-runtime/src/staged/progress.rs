//! How far a staged query is: by the tasks that are sealed, each with its share of the work.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;
use tidegate_plan::{Measured, Stage};

use crate::progress::{counters, totals};
use crate::scheduler::{AttemptId, TaskId};

/// Bytes that a row of unknown size counts as.
const ROW_BYTES: u64 = 64;

/// Counts that only grow, for whoever watches.
#[derive(Debug, Default)]
pub struct TaskProgress {
    /// What the operators of its tasks did.
    pub measured: Measured,
    /// The work of one task of each stage, once it is known.
    shares: OnceLock<Vec<u64>>,
    work: AtomicU64,
    work_done: AtomicU64,
    /// What runs now, and its share of the work.
    running: Mutex<HashMap<(TaskId, AttemptId), Watched>>,
}

/// An attempt that runs.
#[derive(Debug)]
struct Watched {
    plan: Arc<dyn ExecutionPlan>,
    bytes: u64,
    share: u64,
}

/// Watches an attempt until it is dropped.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    progress: &'a TaskProgress,
    of: (TaskId, AttemptId),
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.progress.running.lock().remove(&self.of);
    }
}

impl TaskProgress {
    /// The share of the work that is done, from 0 to 1; none before it is known how much there is.
    pub fn fraction(&self) -> Option<f64> {
        match self.work.load(Ordering::Relaxed) {
            0 => None,
            work => {
                let done = self.work_done.load(Ordering::Relaxed) + self.half_done();
                Some(done.min(work) as f64 / work as f64)
            }
        }
    }

    /// The work done of what runs, as far as its scans tell.
    fn half_done(&self) -> u64 {
        let running = self.running.lock();
        let of = |watched: &Watched| {
            let passed = counters(&watched.plan).passed.min(watched.bytes);
            (watched.share as f64 * passed as f64 / watched.bytes.max(1) as f64) as u64
        };
        running.values().map(of).sum()
    }

    /// Watches the plan of an attempt.
    pub(super) fn watch(
        &self,
        of: (TaskId, AttemptId),
        plan: &Arc<dyn ExecutionPlan>,
    ) -> Watch<'_> {
        let watched = Watched {
            plan: Arc::clone(plan),
            bytes: totals(plan).bytes,
            share: self.share_of(of.0.stage),
        };
        self.running.lock().insert(of, watched);
        Watch { progress: self, of }
    }

    /// Says what there is to do.
    pub(super) fn begin(&self, stages: &[Stage]) {
        let work: Vec<u64> = (0..stages.len()).map(|at| work_of(stages, at)).collect();
        self.work.store(work.iter().sum(), Ordering::Relaxed);
        let each = work.iter().zip(stages);
        self.shares.get_or_init(|| {
            each.map(|(work, stage)| work / stage.tasks().max(1) as u64)
                .collect()
        });
    }

    /// A task of a stage is sealed.
    pub(super) fn sealed(&self, stage: usize) {
        let share = self.share_of(stage);
        self.work_done.fetch_add(share, Ordering::Relaxed);
    }

    /// The work of one task of a stage.
    fn share_of(&self, stage: usize) -> u64 {
        let share = self.shares.get().and_then(|shares| shares.get(stage));
        share.copied().unwrap_or(0)
    }
}

/// What a stage reads, in bytes of files and of estimated rows.
fn work_of(stages: &[Stage], stage: usize) -> u64 {
    let inputs = stages[stage].inputs.iter().map(|edge| {
        let estimate = stages[edge.from.0].estimate;
        let rows = estimate.rows.unwrap_or(0);
        estimate.bytes.unwrap_or(rows.saturating_mul(ROW_BYTES))
    });
    let read = totals(&stages[stage].plan).bytes;
    1 + inputs.fold(read, u64::saturating_add)
}
