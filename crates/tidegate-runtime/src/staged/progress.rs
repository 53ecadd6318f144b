//! How far a staged query is: by the tasks that are sealed, each with its share of the work.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;
use tidegate_plan::Stage;

use crate::progress::{counters, totals};
use crate::scheduler::{AttemptId, TaskId};

/// Bytes that a row of unknown size counts as.
const ROW_BYTES: u64 = 64;

/// Counts that only grow, for whoever watches.
#[derive(Debug, Default)]
pub struct TaskProgress {
    work: AtomicU64,
    work_done: AtomicU64,
    tasks: AtomicU64,
    tasks_done: AtomicU64,
    tasks_reused: AtomicU64,
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
        stages: &[Stage],
        of: (TaskId, AttemptId),
        plan: &Arc<dyn ExecutionPlan>,
    ) -> Watch<'_> {
        let watched = Watched {
            plan: Arc::clone(plan),
            bytes: totals(plan).bytes,
            share: share_of(stages, of.0.stage),
        };
        self.running.lock().insert(of, watched);
        Watch { progress: self, of }
    }

    /// All tasks.
    pub fn tasks(&self) -> u64 {
        self.tasks.load(Ordering::Relaxed)
    }

    /// The tasks that are sealed.
    pub fn tasks_done(&self) -> u64 {
        self.tasks_done.load(Ordering::Relaxed)
    }

    /// Of these, the ones that an earlier process has sealed.
    pub fn tasks_reused(&self) -> u64 {
        self.tasks_reused.load(Ordering::Relaxed)
    }

    /// Says what there is to do.
    pub(super) fn begin(&self, stages: &[Stage]) {
        let work = (0..stages.len()).map(|stage| work_of(stages, stage)).sum();
        self.work.store(work, Ordering::Relaxed);
        let tasks = stages.iter().map(|stage| stage.tasks() as u64).sum();
        self.tasks.store(tasks, Ordering::Relaxed);
    }

    /// A task is sealed.
    pub(super) fn sealed(&self, stages: &[Stage], stage: usize, reused: bool) {
        let share = share_of(stages, stage);
        self.work_done.fetch_add(share, Ordering::Relaxed);
        self.tasks_done.fetch_add(1, Ordering::Relaxed);
        if reused {
            self.tasks_reused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The work of one task of a stage.
fn share_of(stages: &[Stage], stage: usize) -> u64 {
    work_of(stages, stage) / stages[stage].tasks().max(1) as u64
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
