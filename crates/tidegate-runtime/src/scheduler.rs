//! The scheduler: which task runs when and where, what is tried again, and when a job has ended.
//!
//! A pure state machine: [`Scheduler::step`] takes the time and what happened, and returns what to do.
//! It knows no clock, no IO and no data; whoever runs tasks hands events in and carries actions out.
//!
//! 1. A stage is *needed* while it is not complete and is a result or something needed reads it. It is
//!    *open* when it is needed and all its inputs are complete: then its tasks are queued. So lost
//!    output is made again only if something still waits for it, with whatever that needs.
//! 2. A policy picks from the queue while a slot is free ([`Policy`]).
//! 3. The first attempt of a task to seal wins; the others are cancelled, and what they say no longer
//!    counts. An attempt given up on, but not by its own word, may still turn out to have won.
//! 4. An attempt that fails is followed by another after a pause, or alone if memory ran out.
//!
//! Rejected: to remember for each task whether its inputs are there (a stage is enough, and quicker),
//! and to cancel the readers of lost output (they may have read it all).

mod limits;
mod median;
mod messages;
mod policy;
mod state;
#[cfg(test)]
mod tests;
mod workers;

use std::collections::BTreeSet;
use std::time::Duration;

pub use limits::{Limits, Speculation, TaskTimeout};
pub use messages::{
    Action, AttemptId, Event, FailureClass, Invalid, StageSpec, TaskId, Why, WorkerId,
};
use policy::{Assign, Ready, ReadyTask};
pub use policy::{Policy, UnknownPolicy};
use state::{Attempt, AttemptState, Changes, Graph, Phase};
use workers::Workers;

/// Runs one job, a graph of stages.
///
/// ```
/// # use std::time::Duration;
/// # use tidegate_runtime::scheduler::*;
/// let scan = StageSpec { inputs: vec![], tasks: 1, cost: 1.0 };
/// let sum = StageSpec { inputs: vec![0], tasks: 1, cost: 1.0 };
/// let mut scheduler = Scheduler::new(vec![scan, sum], Limits::default(), Policy::Fifo)?;
/// let (worker, attempt) = (WorkerId(0), AttemptId(0));
/// scheduler.step(Duration::ZERO, Event::WorkerJoined { worker, slots: 1 });
///
/// let task = TaskId { stage: 0, partition: 0 };
/// let actions = scheduler.step(Duration::ZERO, Event::Begin);
/// assert_eq!(actions, [Action::Run { task, attempt, worker }]);
///
/// let next = TaskId { stage: 1, partition: 0 };
/// let actions = scheduler.step(Duration::from_secs(1), Event::Sealed { task, attempt });
/// assert_eq!(actions, [Action::Run { task: next, attempt, worker }]);
///
/// let actions = scheduler.step(Duration::from_secs(2), Event::Sealed { task: next, attempt });
/// assert_eq!(actions, [Action::Finished]);
/// # Ok::<(), Invalid>(())
/// ```
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    policy: Box<dyn Assign>,
    graph: Graph,
    workers: Workers,
    ready: Ready,
    /// Ready tasks that run with nothing beside them, in the order they came.
    ready_alone: Ready,
    /// The attempt that runs with nothing beside it.
    alone: Option<(TaskId, AttemptId)>,
    timers: BTreeSet<(Duration, Timer)>,
    /// When the next running attempt becomes a straggler, while a slot is free.
    straggler_at: Option<Duration>,
    /// When the job fails unless a worker comes.
    workers_by: Option<Duration>,
    /// What was last asked for by [`Action::WakeAt`].
    wake_at: Option<Duration>,
    /// Counts starts and seals.
    serial: u64,
    now: Duration,
    begun: bool,
    over: bool,
    actions: Vec<Action>,
}

#[derive(Debug, Copy, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Retry(TaskId),
    Timeout(TaskId, AttemptId),
    NoWorkers,
}

impl Scheduler {
    /// A scheduler for these stages, before their begin.
    pub fn new(stages: Vec<StageSpec>, limits: Limits, policy: Policy) -> Result<Self, Invalid> {
        limits.check()?;
        Ok(Self {
            limits,
            policy: policy.assign(),
            graph: Graph::new(stages)?,
            workers: Workers::default(),
            ready: Ready::default(),
            ready_alone: Ready::default(),
            alone: None,
            timers: BTreeSet::new(),
            straggler_at: None,
            workers_by: None,
            wake_at: None,
            serial: 0,
            now: Duration::ZERO,
            begun: false,
            over: false,
            actions: Vec::new(),
        })
    }

    /// Gives each task of a stage a cost of its own, where more is known than one for all.
    pub fn with_costs(mut self, stage: usize, costs: &[f64]) -> Result<Self, Invalid> {
        self.graph.set_costs(stage, costs)?;
        Ok(self)
    }

    /// Names a stage that may give another output when it is run again. If some of it must be made
    /// again after something computed from it was sealed, the job fails: a mixture would be wrong.
    pub fn with_varying(mut self, stage: usize) -> Result<Self, Invalid> {
        let found = self.graph.stages.get_mut(stage);
        found.ok_or(Invalid::Stage { stage })?.varies = true;
        Ok(self)
    }

    /// Names a task that an earlier run of this job has sealed, and by which attempt. Further attempts
    /// are counted from there.
    pub fn with_sealed(mut self, task: TaskId, attempt: AttemptId) -> Result<Self, Invalid> {
        let found = self.graph.task(task).ok_or(Invalid::Task { task })?;
        if found.sealed().is_none() {
            self.graph.stages[task.stage].sealed += 1;
        }
        self.graph[task].seal_by_earlier_run(attempt);
        Ok(self)
    }

    /// The attempt whose sealed output is the task's; none while there is none.
    pub fn sealed(&self, task: TaskId) -> Option<AttemptId> {
        self.graph.task(task)?.sealed()
    }

    /// Whether the task ran out of memory before: what runs it next splits its input.
    pub fn runs_alone(&self, task: TaskId) -> bool {
        self.graph.task(task).is_some_and(|task| task.alone)
    }

    /// Whether the job has ended, one way or the other.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Takes what happened, at this time since the start, and returns what to do, in order. A time
    /// before the last one is taken as the last one.
    pub fn step(&mut self, now: Duration, event: Event) -> Vec<Action> {
        self.now = self.now.max(now);
        if !self.over {
            self.hear(event);
        }
        self.watch_workers();
        self.ring();
        self.dispatch();
        self.wake(event);
        std::mem::take(&mut self.actions)
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Begin => self.begin(),
            Event::WorkerJoined { worker, slots } => self.workers.join(worker, slots),
            Event::WorkerLost { worker } => self.lose_worker(worker),
            Event::Sealed { task, attempt } => self.seal(task, attempt),
            Event::Failed {
                task,
                attempt,
                class,
            } => self.hear_failure(task, attempt, class),
            Event::OutputLost { task } if self.sealed(task).is_some() => self.lose_output(task),
            Event::OutputLost { .. } | Event::Woken => {}
        }
    }

    fn begin(&mut self) {
        if self.begun {
            return;
        }
        self.begun = true;
        match self.graph.complete() {
            true => self.finish(),
            false => self.look_again(),
        }
    }

    fn lose_worker(&mut self, worker: WorkerId) {
        for (task, attempt) in self.workers.lose(worker) {
            self.stop(task, attempt, AttemptState::Gone);
            self.count_failure(task, worker, Retry::AfterPause, Why::WorkerLost);
            if self.over {
                return;
            }
        }
    }

    /// The first to seal wins.
    fn seal(&mut self, id: TaskId, attempt: AttemptId) {
        let Some(found) = self.graph.task(id).and_then(|task| task.attempt(attempt)) else {
            return;
        };
        match found.state {
            AttemptState::Running => {
                let took = self.now.saturating_sub(found.since);
                self.graph.stages[id.stage].finished.add(took);
                self.stop(id, attempt, AttemptState::Sealed);
            }
            AttemptState::Gone => self.set_state(id, attempt, AttemptState::Sealed),
            AttemptState::Void | AttemptState::Sealed => return,
        }
        self.cancel_task(id, AttemptState::Void);
        self.graph[id].void_what_is_gone();
        self.leave_queues(id);
        self.serial += 1;
        self.graph[id].phase = Phase::Sealed(attempt, self.serial);
        let stage = &mut self.graph.stages[id.stage];
        stage.sealed += 1;
        if !stage.complete() {
            return;
        }
        match self.graph.complete() {
            true => self.finish(),
            false => self.look_again(),
        }
    }

    /// What an attempt says of its failure counts only while it runs: one that was told to stop may
    /// call that a failure of any kind.
    fn hear_failure(&mut self, id: TaskId, attempt: AttemptId, class: FailureClass) {
        let found = self.graph.task(id).and_then(|task| task.attempt(attempt));
        let Some(found) = found.filter(|found| found.state == AttemptState::Running) else {
            return;
        };
        let (worker, began) = (found.worker, found.serial);
        self.stop(id, attempt, AttemptState::Void);
        match class {
            FailureClass::Fatal => self.fail(Some(id), Why::Fatal),
            FailureClass::Repartition => {
                self.graph[id].alone = true;
                self.count_failure(id, worker, Retry::AtOnce, Why::Exhausted);
            }
            FailureClass::Corrupt { input } if self.reads(id, input) => {
                self.lose_corrupt(input, began);
                self.queue(id);
            }
            // What it says it could not read is nothing that it reads.
            FailureClass::Retryable | FailureClass::Corrupt { .. } => {
                self.count_failure(id, worker, Retry::AfterPause, Why::Exhausted);
            }
        }
    }

    fn reads(&self, task: TaskId, input: TaskId) -> bool {
        self.graph.task(input).is_some()
            && self.graph.stages[task.stage].inputs.contains(&input.stage)
    }

    /// Output that was sealed after the attempt began is not what the attempt read.
    fn lose_corrupt(&mut self, input: TaskId, began: u64) {
        match self.graph[input].phase {
            Phase::Sealed(_, serial) if serial < began => self.lose_output(input),
            _ => {}
        }
    }

    /// The output of a sealed task is there no more.
    fn lose_output(&mut self, id: TaskId) {
        let task = &mut self.graph[id];
        task.losses += 1;
        let too_often = task.losses > self.limits.losses_max;
        if let Some(attempt) = task.sealed().and_then(|id| task.attempt_mut(id)) {
            attempt.state = AttemptState::Void;
        }
        task.phase = Phase::Waiting;
        let stage = &mut self.graph.stages[id.stage];
        let was_complete = stage.complete();
        stage.sealed -= 1;
        if too_often {
            return self.fail(Some(id), Why::OutputLost);
        }
        match was_complete {
            true => self.look_again(),
            false => self.queue(id),
        }
    }

    /// Gives up every attempt at what is computed from a stage; false if some of it is sealed.
    fn void_downstream(&mut self, stage: usize) -> bool {
        let downstream = self.graph.downstream(stage);
        if downstream
            .iter()
            .any(|stage| self.graph.stages[*stage].sealed > 0)
        {
            return false;
        }
        let tasks = downstream
            .iter()
            .flat_map(|stage| self.graph.tasks_of(*stage));
        for id in tasks.collect::<Vec<_>>() {
            self.cancel_task(id, AttemptState::Void);
            self.graph[id].void_what_is_gone();
        }
        true
    }

    /// Counts a failed attempt, and arranges for the next one or ends the job.
    fn count_failure(&mut self, id: TaskId, worker: WorkerId, retry: Retry, why: Why) {
        let task = &mut self.graph[id];
        task.failures += 1;
        task.avoid = Some(worker);
        if !task.in_state(AttemptState::Running).is_empty() {
            return;
        }
        if task.failures >= self.limits.attempts_max {
            return self.fail(Some(id), why);
        }
        match retry {
            Retry::AtOnce => self.queue(id),
            Retry::AfterPause => {
                let until = self.now.saturating_add(self.limits.pause(task.failures));
                task.phase = Phase::BackingOff(until);
                self.timers.insert((until, Timer::Retry(id)));
            }
        }
    }

    /// Does what it is time for.
    fn ring(&mut self) {
        while let Some((at, timer)) = self.timers.first().copied()
            && at <= self.now
            && !self.over
        {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Retry(task) => {
                    self.graph[task].phase = Phase::Waiting;
                    self.queue(task);
                }
                Timer::Timeout(task, attempt) => {
                    let Some(worker) = self.cancel(task, attempt, AttemptState::Gone) else {
                        continue;
                    };
                    self.count_failure(task, worker, Retry::AfterPause, Why::Stuck);
                }
                Timer::NoWorkers => self.fail(None, Why::NoWorkers),
            }
        }
    }

    /// A job without any slot waits for so long, and no longer.
    fn watch_workers(&mut self) {
        let alive = self.workers.slots() > 0 || !self.begun || self.over;
        match (alive, self.workers_by) {
            (false, None) => {
                let by = self.now.saturating_add(self.limits.workers_wait);
                self.workers_by = Some(by);
                self.timers.insert((by, Timer::NoWorkers));
            }
            (true, Some(by)) => {
                self.timers.remove(&(by, Timer::NoWorkers));
                self.workers_by = None;
            }
            _ => {}
        }
    }

    /// Opens and closes stages after one became complete, or is no more.
    fn look_again(&mut self) {
        let Changes {
            wanted,
            opened,
            closed,
        } = self.graph.look_again();
        for stage in wanted {
            // Only after a loss there is something computed from it already.
            if self.graph.stages[stage].varies && !self.void_downstream(stage) {
                let missing = self.graph.tasks_of(stage);
                let missing = missing.into_iter().find(|id| self.sealed(*id).is_none());
                return self.fail(missing, Why::Varies);
            }
        }
        for stage in closed {
            let needed = self.graph.stages[stage].needed;
            for id in self.graph.tasks_of(stage) {
                if let Phase::Ready(_) = self.graph[id].phase {
                    self.leave_queues(id);
                    self.graph[id].phase = Phase::Waiting;
                }
                if !needed {
                    self.cancel_task(id, AttemptState::Gone);
                }
            }
        }
        for stage in opened {
            for id in self.graph.tasks_of(stage) {
                self.queue(id);
            }
        }
    }

    /// Queues a task that waits for nothing any more: its stage is open, it does not pause.
    fn queue(&mut self, id: TaskId) {
        if self.over {
            return;
        }
        let open = self.graph.stages[id.stage].open;
        let tail = self.graph.stages[id.stage].tail;
        let task = &mut self.graph[id];
        if !matches!(task.phase, Phase::Waiting) || !open {
            return;
        }
        // The last failure was of one of two attempts, and the other came to nothing.
        if task.failures >= self.limits.attempts_max {
            return self.fail(Some(id), Why::Exhausted);
        }
        let ready = ReadyTask {
            task: id,
            cost: task.cost,
            tail,
            avoid: task.avoid,
        };
        task.phase = Phase::Ready(match task.alone {
            true => self.ready_alone.insert(0.0, ready),
            false => self.ready.insert(self.policy.rank(&ready), ready),
        });
    }

    fn leave_queues(&mut self, id: TaskId) {
        let task = &self.graph[id];
        match task.phase {
            Phase::Ready(place) if task.alone => self.ready_alone.remove(place),
            Phase::Ready(place) => self.ready.remove(place),
            Phase::BackingOff(until) => {
                self.timers.remove(&(until, Timer::Retry(id)));
            }
            Phase::Waiting | Phase::Running | Phase::Sealed(..) => {}
        }
    }

    /// Fills the free slots.
    fn dispatch(&mut self) {
        self.straggler_at = None;
        if !self.begun || self.over || self.alone.is_some() {
            return;
        }
        if let Some((_, task)) = self.ready_alone.first() {
            // What runs ends first, and nothing new begins: else it might wait for ever.
            if self.workers.running() == 0
                && let Some(worker) = self.workers.freest(task.avoid)
            {
                let attempt = self.start(task.task, worker);
                self.alone = Some((task.task, attempt));
            }
            return;
        }
        while let Some((task, worker)) = self.policy.assign(&self.ready, &self.workers) {
            self.start(task, worker);
        }
        if self.ready.is_empty() {
            self.speculate();
        }
    }

    /// Tries stragglers a second time on slots that have nothing else to do.
    fn speculate(&mut self) {
        let Some(speculation) = self.limits.speculation else {
            return;
        };
        for stage in 0..self.graph.stages.len() {
            let Some(threshold) = self.graph.stages[stage].straggler_after(speculation) else {
                continue;
            };
            while let Some((since, partition)) = self.graph.stages[stage].single.first().copied() {
                let task = TaskId { stage, partition };
                let running = self.graph[task].in_state(AttemptState::Running);
                let attempt = running.first().and_then(|id| self.graph[task].attempt(*id));
                let Some(worker) = self.workers.freest(attempt.map(|a| a.worker)) else {
                    return;
                };
                let at = since.saturating_add(threshold);
                if at > self.now {
                    let earlier = self.straggler_at.unwrap_or(Duration::MAX);
                    self.straggler_at = Some(earlier.min(at));
                    break;
                }
                self.start(task, worker);
            }
        }
    }

    fn start(&mut self, id: TaskId, worker: WorkerId) -> AttemptId {
        self.leave_queues(id);
        self.serial += 1;
        let task = &mut self.graph[id];
        task.phase = Phase::Running;
        let attempt = task.push(Attempt {
            state: AttemptState::Running,
            worker,
            since: self.now,
            serial: self.serial,
        });
        let running = task.in_state(AttemptState::Running);
        let first = running.first().and_then(|first| task.attempt(*first));
        let since = first.map_or(self.now, |first| first.since);
        let single = &mut self.graph.stages[id.stage].single;
        match running.len() {
            1 => single.insert((since, id.partition)),
            _ => single.remove(&(since, id.partition)),
        };
        if let Some(deadline) = self.deadline(id, attempt) {
            self.timers.insert((deadline, Timer::Timeout(id, attempt)));
        }
        self.workers.start(worker, id, attempt);
        self.actions.push(Action::Run {
            task: id,
            attempt,
            worker,
        });
        attempt
    }

    /// When a running attempt counts as stuck.
    fn deadline(&self, id: TaskId, attempt: AttemptId) -> Option<Duration> {
        let task = &self.graph[id];
        let since = task.attempt(attempt)?.since;
        Some(since.saturating_add(self.limits.timeout(task.cost)?))
    }

    /// An attempt runs no more.
    fn stop(&mut self, id: TaskId, attempt: AttemptId, state: AttemptState) {
        if let Some(deadline) = self.deadline(id, attempt) {
            self.timers.remove(&(deadline, Timer::Timeout(id, attempt)));
        }
        if let Some(found) = self.graph[id].attempt(attempt).copied() {
            self.workers.stop(found.worker, id, attempt);
            let single = &mut self.graph.stages[id.stage].single;
            single.remove(&(found.since, id.partition));
        }
        if self.alone == Some((id, attempt)) {
            self.alone = None;
        }
        self.set_state(id, attempt, state);
        let task = &mut self.graph[id];
        if task.in_state(AttemptState::Running).is_empty() {
            task.phase = Phase::Waiting;
        }
    }

    fn set_state(&mut self, id: TaskId, attempt: AttemptId, state: AttemptState) {
        if let Some(found) = self.graph[id].attempt_mut(attempt) {
            found.state = state;
        }
    }

    /// Stops an attempt that runs, and returns where it did.
    fn cancel(&mut self, id: TaskId, attempt: AttemptId, state: AttemptState) -> Option<WorkerId> {
        let worker = self.graph[id].attempt(attempt)?.worker;
        self.stop(id, attempt, state);
        self.actions.push(Action::Cancel {
            task: id,
            attempt,
            worker,
        });
        Some(worker)
    }

    fn cancel_task(&mut self, id: TaskId, state: AttemptState) {
        for attempt in self.graph[id].in_state(AttemptState::Running) {
            self.cancel(id, attempt, state);
        }
    }

    /// Asks to be woken, if not already asked for then or earlier. What has passed or came early is
    /// asked for anew, so a wake-up that is lost costs no more than the time to the next event.
    fn wake(&mut self, event: Event) {
        if event == Event::Woken || self.wake_at.is_some_and(|at| at <= self.now) {
            self.wake_at = None;
        }
        if self.over {
            return;
        }
        let timer = self.timers.first().map(|(at, _)| *at);
        let next = timer.into_iter().chain(self.straggler_at).min();
        if let Some(at) = next
            && self.wake_at.is_none_or(|asked| at < asked)
        {
            self.wake_at = Some(at);
            self.actions.push(Action::WakeAt { at });
        }
    }

    fn finish(&mut self) {
        self.end(Action::Finished);
    }

    fn fail(&mut self, task: Option<TaskId>, why: Why) {
        self.end(Action::Fail { task, why });
    }

    fn end(&mut self, last: Action) {
        if self.over {
            return;
        }
        for (task, attempt) in self.workers.attempts() {
            self.cancel(task, attempt, AttemptState::Void);
        }
        self.actions.push(last);
        self.over = true;
    }
}

/// When a failed task is tried again.
#[derive(Debug, Copy, Clone)]
enum Retry {
    AtOnce,
    AfterPause,
}
