//! The workers that are there: their slots and what runs on them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::messages::{AttemptId, TaskId, WorkerId};

#[derive(Debug, Default)]
pub(super) struct Workers {
    present: BTreeMap<WorkerId, Worker>,
    /// Those that were lost, so that a late word of their coming is not believed.
    lost: BTreeSet<WorkerId>,
    /// Those with free slots, most of them first.
    free: BTreeSet<(Reverse<usize>, WorkerId)>,
    running: usize,
    slots: usize,
}

#[derive(Debug, Default)]
struct Worker {
    slots: usize,
    running: BTreeSet<(TaskId, AttemptId)>,
}

impl Worker {
    fn free(&self) -> usize {
        self.slots.saturating_sub(self.running.len())
    }
}

impl Workers {
    pub(super) fn join(&mut self, id: WorkerId, slots: usize) {
        if self.lost.contains(&id) {
            return;
        }
        // Bounded, so that no sum of them overflows.
        let slots = slots.min(u32::MAX as usize);
        self.change(id, |worker| worker.slots = slots);
    }

    /// Takes it away, and returns what ran there.
    pub(super) fn lose(&mut self, id: WorkerId) -> Vec<(TaskId, AttemptId)> {
        self.lost.insert(id);
        let Some(worker) = self.present.get(&id) else {
            return Vec::new();
        };
        let running = worker.running.iter().copied().collect();
        self.change(id, |worker| *worker = Worker::default());
        self.present.remove(&id);
        running
    }

    pub(super) fn start(&mut self, id: WorkerId, task: TaskId, attempt: AttemptId) {
        self.change(id, |worker| {
            worker.running.insert((task, attempt));
        });
    }

    pub(super) fn stop(&mut self, id: WorkerId, task: TaskId, attempt: AttemptId) {
        if self.present.contains_key(&id) {
            self.change(id, |worker| {
                worker.running.remove(&(task, attempt));
            });
        }
    }

    /// The worker with the most free slots, rather another than `avoid`.
    pub(super) fn freest(&self, avoid: Option<WorkerId>) -> Option<WorkerId> {
        let mut free = self.free.iter().map(|(_, id)| *id);
        let first = free.next()?;
        match Some(first) == avoid {
            true => Some(free.next().unwrap_or(first)),
            false => Some(first),
        }
    }

    /// Every attempt that runs.
    pub(super) fn attempts(&self) -> Vec<(TaskId, AttemptId)> {
        let running = self.present.values().flat_map(|worker| &worker.running);
        running.copied().collect()
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// The slots of all, taken or free.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Changes a worker, and what is counted over all of them with it.
    fn change(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker)) {
        let worker = self.present.entry(id).or_default();
        self.free.remove(&(Reverse(worker.free()), id));
        self.running -= worker.running.len();
        self.slots -= worker.slots;
        change(worker);
        self.running += worker.running.len();
        self.slots += worker.slots;
        if worker.free() > 0 {
            self.free.insert((Reverse(worker.free()), id));
        }
    }
}
