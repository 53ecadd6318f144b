//! What is known of stages, tasks and attempts, and what follows from it: which stages are needed,
//! which are open, how long the way from each to the end is.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};
use std::time::Duration;

use super::limits::Speculation;
use super::median::Median;
use super::messages::{AttemptId, Invalid, StageSpec, TaskId, WorkerId};
use super::policy::Place;

#[derive(Debug)]
pub(super) struct Graph {
    pub(super) stages: Vec<Stage>,
}

/// Stages by what has become of them.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Needed.
    pub(super) wanted: Vec<usize>,
    /// Open.
    pub(super) opened: Vec<usize>,
    /// No longer open, or no longer needed.
    pub(super) closed: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Stage {
    pub(super) inputs: Vec<usize>,
    pub(super) consumers: Vec<usize>,
    pub(super) tasks: Vec<Task>,
    /// How many of the tasks are sealed.
    pub(super) sealed: usize,
    /// It is not complete, and is a result or something needed waits for it.
    pub(super) needed: bool,
    /// Needed, with all inputs complete: its tasks may run.
    pub(super) open: bool,
    /// Made again, its output could be another.
    pub(super) varies: bool,
    /// The longest way from the end of one of its tasks to the end of the job.
    pub(super) tail: f64,
    /// How long its finished tasks took.
    pub(super) finished: Median,
    /// Tasks with one attempt that runs, by its start: those to look at for stragglers.
    pub(super) single: BTreeSet<(Duration, usize)>,
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) phase: Phase,
    pub(super) cost: f64,
    /// The number of the first of `attempts`: those before it were another run's.
    first: u32,
    attempts: Vec<Attempt>,
    /// Attempts that failed.
    pub(super) failures: u32,
    /// Times that its sealed output was lost.
    pub(super) losses: u32,
    /// It ran out of memory once: from then on it runs with nothing beside it.
    pub(super) alone: bool,
    /// Where it failed last.
    pub(super) avoid: Option<WorkerId>,
}

#[derive(Debug, Copy, Clone)]
pub(super) enum Phase {
    /// Until its stage is open.
    Waiting,
    /// Until this time, after a failure.
    BackingOff(Duration),
    /// In the queue.
    Ready(Place),
    /// At least one attempt runs.
    Running,
    /// Done, by this attempt, at this serial number.
    Sealed(AttemptId, u64),
}

#[derive(Debug, Copy, Clone)]
pub(super) struct Attempt {
    pub(super) state: AttemptState,
    pub(super) worker: WorkerId,
    pub(super) since: Duration,
    /// Its place among the starts and seals of the job.
    pub(super) serial: u64,
}

#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) enum AttemptState {
    /// As far as is known.
    Running,
    /// Given up, but it may have sealed before it heard of that: then it counts.
    Gone,
    /// Nothing it says counts: it failed, another one sealed, or what it read is not what is read now.
    Void,
    /// Its output is the task's.
    Sealed,
}

impl Task {
    fn new(cost: f64) -> Self {
        Self {
            phase: Phase::Waiting,
            cost,
            first: 0,
            attempts: Vec::new(),
            failures: 0,
            losses: 0,
            alone: false,
            avoid: None,
        }
    }

    pub(super) fn seal_by_earlier_run(&mut self, attempt: AttemptId) {
        self.phase = Phase::Sealed(attempt, 0);
        self.first = attempt.0.saturating_add(1);
    }

    pub(super) fn push(&mut self, attempt: Attempt) -> AttemptId {
        self.attempts.push(attempt);
        AttemptId(self.first + self.attempts.len() as u32 - 1)
    }

    pub(super) fn attempt(&self, id: AttemptId) -> Option<&Attempt> {
        self.attempts.get(id.0.checked_sub(self.first)? as usize)
    }

    pub(super) fn attempt_mut(&mut self, id: AttemptId) -> Option<&mut Attempt> {
        let index = id.0.checked_sub(self.first)? as usize;
        self.attempts.get_mut(index)
    }

    /// The attempts that run, or that may still turn out to have sealed.
    pub(super) fn in_state(&self, state: AttemptState) -> Vec<AttemptId> {
        let numbered = (self.first..).zip(&self.attempts);
        let of_state = numbered.filter(|(_, attempt)| attempt.state == state);
        of_state.map(|(id, _)| AttemptId(id)).collect()
    }

    pub(super) fn void_what_is_gone(&mut self) {
        for attempt in &mut self.attempts {
            if attempt.state == AttemptState::Gone {
                attempt.state = AttemptState::Void;
            }
        }
    }

    pub(super) fn sealed(&self) -> Option<AttemptId> {
        match self.phase {
            Phase::Sealed(attempt, _) => Some(attempt),
            _ => None,
        }
    }
}

impl Stage {
    pub(super) fn complete(&self) -> bool {
        self.sealed == self.tasks.len()
    }

    /// The age from which its attempts are stragglers; none while too few are finished to tell, or
    /// while an input is being made again, which a second attempt could not read.
    pub(super) fn straggler_after(&self, speculation: Speculation) -> Option<Duration> {
        let tells = self.open && self.sealed * 2 >= self.tasks.len();
        let median = self.finished.get().filter(|_| tells)?;
        Some(speculation.threshold(median))
    }
}

impl Graph {
    pub(super) fn new(specs: Vec<StageSpec>) -> Result<Self, Invalid> {
        if specs.is_empty() {
            return Err(Invalid::NoStage);
        }
        let mut stages: Vec<Stage> = Vec::with_capacity(specs.len());
        for (number, spec) in specs.into_iter().enumerate() {
            let stage = Stage::new(number, spec)?;
            for input in &stage.inputs {
                stages[*input].consumers.push(number);
            }
            stages.push(stage);
        }
        let mut graph = Self { stages };
        graph.measure();
        Ok(graph)
    }

    /// Gives each task of a stage its own cost.
    pub(super) fn set_costs(&mut self, stage: usize, costs: &[f64]) -> Result<(), Invalid> {
        let found = self.stages.get_mut(stage);
        let tasks = &mut found.ok_or(Invalid::Stage { stage })?.tasks;
        if costs.len() != tasks.len() {
            return Err(Invalid::Costs {
                stage,
                tasks: tasks.len(),
                costs: costs.len(),
            });
        }
        for (task, cost) in tasks.iter_mut().zip(costs) {
            task.cost = check_cost(stage, *cost)?;
        }
        self.measure();
        Ok(())
    }

    /// The longest way from each stage to the end.
    fn measure(&mut self) {
        for number in (0..self.stages.len()).rev() {
            let ways = self.stages[number].consumers.iter().map(|consumer| {
                let consumer = &self.stages[*consumer];
                let costs = consumer.tasks.iter().map(|task| task.cost);
                consumer.tail + costs.fold(0.0, f64::max)
            });
            self.stages[number].tail = ways.fold(0.0, f64::max);
        }
    }

    pub(super) fn task(&self, id: TaskId) -> Option<&Task> {
        self.stages.get(id.stage)?.tasks.get(id.partition)
    }

    /// Whether every result is complete.
    pub(super) fn complete(&self) -> bool {
        let mut results = self
            .stages
            .iter()
            .filter(|stage| stage.consumers.is_empty());
        results.all(Stage::complete)
    }

    /// Looks again which stages are needed and open, and returns what is so now and was not.
    pub(super) fn look_again(&mut self) -> Changes {
        let before: Vec<_> = self.stages.iter().map(|s| (s.needed, s.open)).collect();
        for number in (0..self.stages.len()).rev() {
            let stage = &self.stages[number];
            let mut readers = stage.consumers.iter().map(|c| &self.stages[*c]);
            let wanted = stage.consumers.is_empty() || readers.any(|reader| reader.needed);
            self.stages[number].needed = wanted && !stage.complete();
        }
        let mut changes = Changes::default();
        for (number, (was_needed, was_open)) in before.into_iter().enumerate() {
            let stage = &self.stages[number];
            let mut inputs = stage.inputs.iter().map(|i| &self.stages[*i]);
            let (needed, open) = (stage.needed, stage.needed && inputs.all(Stage::complete));
            self.stages[number].open = open;
            if needed && !was_needed {
                changes.wanted.push(number);
            }
            if open && !was_open {
                changes.opened.push(number);
            }
            if was_open && !open || was_needed && !needed {
                changes.closed.push(number);
            }
        }
        changes
    }

    /// Everything that is computed from a stage, in order.
    pub(super) fn downstream(&self, stage: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open = vec![stage];
        while let Some(stage) = open.pop() {
            let new = self.stages[stage].consumers.iter();
            open.extend(new.filter(|consumer| found.insert(**consumer)));
        }
        found
    }

    pub(super) fn tasks_of(&self, stage: usize) -> impl Iterator<Item = TaskId> + use<> {
        (0..self.stages[stage].tasks.len()).map(move |partition| TaskId { stage, partition })
    }
}

impl Stage {
    fn new(number: usize, spec: StageSpec) -> Result<Self, Invalid> {
        if spec.tasks == 0 {
            return Err(Invalid::NoTask { stage: number });
        }
        if let Some(input) = spec.inputs.iter().copied().find(|input| *input >= number) {
            return Err(Invalid::Input {
                stage: number,
                input,
            });
        }
        let cost = check_cost(number, spec.cost)?;
        // A stage may read another twice, as a self-join does.
        let inputs: BTreeSet<usize> = spec.inputs.into_iter().collect();
        Ok(Self {
            inputs: inputs.into_iter().collect(),
            consumers: Vec::new(),
            tasks: (0..spec.tasks).map(|_| Task::new(cost)).collect(),
            sealed: 0,
            needed: false,
            open: false,
            varies: false,
            tail: 0.0,
            finished: Median::default(),
            single: BTreeSet::new(),
        })
    }
}

fn check_cost(stage: usize, cost: f64) -> Result<f64, Invalid> {
    match cost.is_finite() && cost >= 0.0 {
        true => Ok(cost),
        false => Err(Invalid::Cost { stage, cost }),
    }
}

impl Index<TaskId> for Graph {
    type Output = Task;

    fn index(&self, id: TaskId) -> &Task {
        &self.stages[id.stage].tasks[id.partition]
    }
}

impl IndexMut<TaskId> for Graph {
    fn index_mut(&mut self, id: TaskId) -> &mut Task {
        &mut self.stages[id.stage].tasks[id.partition]
    }
}
