//! What must be so after every step, reckoned from the messages alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidegate_runtime::scheduler::{
    Action, AttemptId, Event, FailureClass, Limits, Scheduler, StageSpec, TaskId, TaskTimeout, Why,
    WorkerId,
};

macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(format!($($what)+));
        }
    };
}

pub(crate) struct Model {
    stages: Vec<StageSpec>,
    limits: Limits,
    pub(crate) costs: Vec<Vec<f64>>,
    pub(crate) varying: BTreeSet<usize>,
    begun: bool,
    /// How the job ended.
    pub(crate) end: Option<String>,
    slots: BTreeMap<WorkerId, usize>,
    lost: BTreeSet<WorkerId>,
    /// Since when there is no slot.
    bare_since: Option<Duration>,
    /// What runs, where, since when.
    running: BTreeMap<(TaskId, AttemptId), (WorkerId, Duration)>,
    /// Those that must run alone, of what runs.
    alone: Option<(TaskId, AttemptId)>,
    tasks: BTreeMap<TaskId, Task>,
    /// Attempts whose seal must not count.
    dead: BTreeSet<(TaskId, AttemptId)>,
    /// Steps so far.
    steps: u64,
    /// The step in which each attempt began.
    began: BTreeMap<(TaskId, AttemptId), u64>,
}

#[derive(Debug, Default)]
struct Task {
    sealed: Option<AttemptId>,
    /// The step in which it was.
    sealed_in: u64,
    /// The number of the next attempt.
    next: u32,
    /// The number of the first.
    first: u32,
    failures: u32,
    losses: u32,
    out_of_memory: bool,
}

impl Model {
    pub(crate) fn new(stages: Vec<StageSpec>, limits: Limits) -> Self {
        let ids = |(stage, spec): (usize, &StageSpec)| {
            (0..spec.tasks).map(move |partition| TaskId { stage, partition })
        };
        let tasks = stages.iter().enumerate().flat_map(ids);
        Self {
            tasks: tasks.map(|id| (id, Task::default())).collect(),
            costs: stages.iter().map(|s| vec![s.cost; s.tasks]).collect(),
            stages,
            limits,
            varying: BTreeSet::new(),
            begun: false,
            end: None,
            slots: BTreeMap::new(),
            lost: BTreeSet::new(),
            bare_since: None,
            running: BTreeMap::new(),
            alone: None,
            dead: BTreeSet::new(),
            steps: 0,
            began: BTreeMap::new(),
        }
    }

    pub(crate) fn sealed_before(&mut self, id: TaskId, attempt: AttemptId) {
        let task = self.tasks.entry(id).or_default();
        task.sealed = Some(attempt);
        (task.first, task.next) = (attempt.0 + 1, attempt.0 + 1);
    }

    pub(crate) fn sealed(&self) -> impl Iterator<Item = (TaskId, AttemptId)> {
        let sealed = |(id, task): (&TaskId, &Task)| Some((*id, task.sealed?));
        self.tasks.iter().filter_map(sealed)
    }

    /// Looks at one step: what was handed in, and what came out.
    pub(crate) fn check(
        &mut self,
        now: Duration,
        event: Event,
        actions: &[Action],
        scheduler: &Scheduler,
    ) -> Result<(), String> {
        self.steps += 1;
        let fatal = self.hear(event);
        self.check_seals(event, scheduler, actions)?;
        for (number, action) in actions.iter().enumerate() {
            let last = number + 1 == actions.len();
            self.check_action(now, event, action, last)?;
        }
        self.watch(now);
        ensure!(
            self.end.is_some() == scheduler.is_over(),
            "the end is not said"
        );
        ensure!(
            !fatal || self.end.is_some(),
            "a fatal failure was not heard"
        );
        match self.end.is_some() {
            true => Ok(()),
            false => {
                self.check_varying()?;
                self.check_rest(now)
            }
        }
    }

    /// Takes the event; whether it must end the job.
    fn hear(&mut self, event: Event) -> bool {
        match event {
            Event::Begin => self.begun = true,
            Event::WorkerJoined { worker, slots } if !self.lost.contains(&worker) => {
                self.slots.insert(worker, slots);
            }
            Event::WorkerLost { worker } => {
                self.lost.insert(worker);
                self.slots.remove(&worker);
                let gone = self.running.iter().filter(|(_, (at, _))| *at == worker);
                for (id, attempt) in gone.map(|(key, _)| *key).collect::<Vec<_>>() {
                    self.stop(id, attempt);
                    self.fail(id);
                }
            }
            Event::Sealed { task, attempt } => {
                self.stop(task, attempt);
            }
            Event::Failed {
                task,
                attempt,
                class,
            } if self.stop(task, attempt) => {
                self.dead.insert((task, attempt));
                match class {
                    FailureClass::Fatal => return true,
                    FailureClass::Corrupt { .. } => {}
                    FailureClass::Retryable => self.fail(task),
                    FailureClass::Repartition => {
                        self.fail(task);
                        self.tasks.entry(task).or_default().out_of_memory = true;
                    }
                }
            }
            _ => {}
        }
        false
    }

    /// The attempt runs no more; whether it did.
    fn stop(&mut self, id: TaskId, attempt: AttemptId) -> bool {
        if self.alone == Some((id, attempt)) {
            self.alone = None;
        }
        self.running.remove(&(id, attempt)).is_some()
    }

    fn fail(&mut self, id: TaskId) {
        self.tasks.entry(id).or_default().failures += 1;
    }

    /// A task is sealed by the first word of an attempt that may, and is so until it is lost.
    fn check_seals(
        &mut self,
        event: Event,
        scheduler: &Scheduler,
        actions: &[Action],
    ) -> Result<(), String> {
        let failed = matches!(actions.last(), Some(Action::Fail { .. }));
        for id in self.tasks.keys().copied().collect::<Vec<_>>() {
            let (before, after) = (self.tasks[&id].sealed, scheduler.sealed(id));
            let named = match event {
                Event::Sealed { task, attempt } if task == id => Some(attempt),
                _ => None,
            };
            let issued =
                |a: AttemptId| (self.tasks[&id].first..self.tasks[&id].next).contains(&a.0);
            let counts = named.filter(|a| issued(*a) && !self.dead.contains(&(id, *a)));
            let lost = match event {
                Event::OutputLost { task } => task == id,
                // What was sealed after the attempt began is not what it read.
                Event::Failed {
                    task,
                    attempt,
                    class: FailureClass::Corrupt { input },
                } => {
                    let began = self.began.get(&(task, attempt));
                    input == id && began.is_some_and(|step| self.tasks[&id].sealed_in <= *step)
                }
                _ => false,
            };
            match (before, after) {
                (None, None) => ensure!(counts.is_none(), "the seal of {id} was not heard"),
                (None, Some(attempt)) => {
                    ensure!(counts == Some(attempt), "{id} is sealed by {attempt:?}");
                    self.kill_all_but(id, Some(attempt));
                    self.tasks.entry(id).or_default().sealed_in = self.steps;
                }
                (Some(attempt), None) => {
                    ensure!(lost, "the seal of {id} was forgotten");
                    self.dead.insert((id, attempt));
                    self.tasks.entry(id).or_default().losses += 1;
                }
                (Some(before), Some(after)) => {
                    ensure!(before == after, "{id} is sealed twice");
                    let again = matches!(event, Event::OutputLost { .. });
                    ensure!(!(again && lost) || failed, "the loss of {id} was not heard");
                }
            }
            self.tasks.entry(id).or_default().sealed = after;
        }
        Ok(())
    }

    /// What varies and must be made again has nothing computed from it: what was is gone, and what
    /// is being computed does not count.
    fn check_varying(&mut self) -> Result<(), String> {
        for stage in self.varying.clone() {
            if !self.begun || !self.needed(stage) {
                continue;
            }
            let mut downstream = BTreeSet::from([stage]);
            for (number, other) in self.stages.iter().enumerate() {
                if other.inputs.iter().any(|input| downstream.contains(input)) {
                    downstream.insert(number);
                }
            }
            downstream.remove(&stage);
            for other in self.tasks.keys().copied().collect::<Vec<_>>() {
                if downstream.contains(&other.stage) {
                    let sealed = self.tasks[&other].sealed;
                    ensure!(
                        sealed.is_none(),
                        "{other} is of what stage {stage} no longer is"
                    );
                    self.kill_all_but(other, None);
                }
            }
        }
        Ok(())
    }

    fn kill_all_but(&mut self, id: TaskId, survivor: Option<AttemptId>) {
        let task = &self.tasks[&id];
        let issued = (task.first..task.next).map(AttemptId);
        let others = issued.filter(|attempt| Some(*attempt) != survivor);
        self.dead.extend(others.map(|attempt| (id, attempt)));
    }

    fn check_action(
        &mut self,
        now: Duration,
        event: Event,
        action: &Action,
        last: bool,
    ) -> Result<(), String> {
        match *action {
            Action::Run {
                task,
                attempt,
                worker,
            } => self.check_run(now, task, attempt, worker),
            Action::Cancel {
                task,
                attempt,
                worker,
            } => {
                let found = self.running.get(&(task, attempt)).copied();
                let Some((at, since)) = found.filter(|(at, _)| *at == worker) else {
                    return Err(format!("{task}#{} does not run there", attempt.0));
                };
                self.stop(task, attempt);
                let stuck = since + self.timeout(task) <= now;
                if stuck && self.tasks[&task].sealed.is_none() && self.needed(task.stage) {
                    self.fail(task);
                }
                ensure!(at == worker, "{task} runs elsewhere");
                Ok(())
            }
            Action::WakeAt { at } => {
                ensure!(at > now, "it wants to be woken in the past");
                Ok(())
            }
            Action::Finished => {
                ensure!(last && self.running.is_empty(), "something still runs");
                let all = (0..self.stages.len()).filter(|stage| self.result(*stage));
                let all: Vec<usize> = all.filter(|stage| !self.complete(*stage)).collect();
                ensure!(all.is_empty(), "the results {all:?} are not complete");
                self.end = Some("Finished".to_string());
                Ok(())
            }
            Action::Fail { task, why } => {
                ensure!(last && self.running.is_empty(), "something still runs");
                self.end = Some(format!("{why:?}"));
                self.check_why(now, event, task, why)
            }
        }
    }

    fn check_run(
        &mut self,
        now: Duration,
        id: TaskId,
        attempt: AttemptId,
        worker: WorkerId,
    ) -> Result<(), String> {
        let task = &self.tasks[&id];
        ensure!(self.begun, "{id} runs before the begin");
        ensure!(attempt.0 == task.next, "{id} has no attempt {}", task.next);
        ensure!(task.sealed.is_none(), "{id} is sealed and runs again");
        ensure!(self.needed(id.stage), "nothing needs {id}");
        for input in &self.stages[id.stage].inputs {
            ensure!(
                self.complete(*input),
                "{id} runs before stage {input} is complete"
            );
        }
        let there = self
            .running
            .values()
            .filter(|(at, _)| *at == worker)
            .count();
        let slots = self.slots.get(&worker).copied().unwrap_or(0);
        ensure!(there < slots, "worker {} has no free slot", worker.0);
        let others = self.running.keys().filter(|(task, _)| *task == id).count();
        let most = usize::from(self.limits.speculation.is_some());
        ensure!(others <= most, "{id} runs {} times", others + 1);
        ensure!(self.alone.is_none(), "{id} runs beside what must be alone");
        if task.out_of_memory {
            ensure!(self.running.is_empty(), "{id} does not run alone");
            self.alone = Some((id, attempt));
        }
        self.running.insert((id, attempt), (worker, now));
        self.began.insert((id, attempt), self.steps);
        self.tasks.entry(id).or_default().next += 1;
        Ok(())
    }

    fn check_why(
        &self,
        now: Duration,
        event: Event,
        task: Option<TaskId>,
        why: Why,
    ) -> Result<(), String> {
        let named = task.and_then(|id| self.tasks.get(&id));
        let holds = match (why, named) {
            (Why::Fatal, Some(_)) => matches!(
                event,
                Event::Failed { class: FailureClass::Fatal, task: of, .. } if Some(of) == task
            ),
            (Why::Exhausted | Why::WorkerLost | Why::Stuck, Some(task)) => {
                task.failures >= self.limits.attempts_max
            }
            (Why::OutputLost, Some(named)) => {
                let lost = match event {
                    Event::OutputLost { task } => Some(task),
                    Event::Failed {
                        class: FailureClass::Corrupt { input },
                        ..
                    } => Some(input),
                    _ => None,
                };
                lost == task && named.losses > self.limits.losses_max
            }
            (Why::Varies, Some(named)) => {
                let stage = task.map_or(0, |id| id.stage);
                let above = self.sealed().any(|(id, _)| id.stage > stage);
                named.sealed.is_none() && above && self.varying.contains(&stage)
            }
            (Why::NoWorkers, None) => {
                let wait = self.limits.workers_wait;
                self.bare_since.is_some_and(|since| since + wait <= now)
            }
            _ => false,
        };
        ensure!(holds, "it failed for no good reason: {task:?} {why:?}");
        Ok(())
    }

    fn watch(&mut self, now: Duration) {
        let bare = self.begun && self.slots.values().sum::<usize>() == 0;
        self.bare_since = match bare {
            true => self.bare_since.or(Some(now)),
            false => None,
        };
    }

    /// Nothing is forgotten: what can run does, and what is stuck does not.
    fn check_rest(&self, now: Duration) -> Result<(), String> {
        for ((id, attempt), (_, since)) in &self.running {
            let stuck = *since + self.timeout(*id) <= now;
            ensure!(!stuck, "{id}#{} is stuck and still runs", attempt.0);
            ensure!(self.needed(id.stage), "nothing needs {id}, and it runs");
        }
        for (id, task) in &self.tasks {
            let failed = task.failures >= self.limits.attempts_max;
            let waits = failed && self.waits(*id);
            ensure!(!waits, "{id} failed too often");
        }
        let all = (0..self.stages.len()).filter(|stage| self.result(*stage));
        let unfinished = all.filter(|stage| !self.complete(*stage)).count();
        ensure!(
            unfinished > 0 || !self.begun,
            "everything is done, and it does not say so"
        );
        // Those that wait to be alone keep others waiting.
        let memory = self
            .tasks
            .values()
            .any(|t| t.out_of_memory && t.sealed.is_none());
        let free = self.slots.iter().any(|(worker, slots)| {
            self.running.values().filter(|(at, _)| at == worker).count() < *slots
        });
        if memory || !free || !self.begun {
            return Ok(());
        }
        for (id, task) in &self.tasks {
            // It may pause after a failure.
            let idle = task.failures == 0 && self.waits(*id);
            ensure!(!idle, "{id} could run and does not");
        }
        Ok(())
    }

    /// Whether a task could run, and does not.
    fn waits(&self, id: TaskId) -> bool {
        let mut inputs = self.stages[id.stage].inputs.iter();
        self.tasks[&id].sealed.is_none()
            && !self.running.keys().any(|(task, _)| *task == id)
            && inputs.all(|input| self.complete(*input))
            && self.needed(id.stage)
    }

    fn timeout(&self, id: TaskId) -> Duration {
        match self.limits.task_timeout {
            None => Duration::MAX,
            Some(TaskTimeout::Fixed(limit)) => limit,
            Some(TaskTimeout::Estimate { factor, minimum }) => {
                let cost = self.costs[id.stage][id.partition];
                Duration::from_secs_f64(cost * factor).max(minimum)
            }
        }
    }

    fn complete(&self, stage: usize) -> bool {
        let tasks = self.tasks.iter().filter(|(id, _)| id.stage == stage);
        tasks
            .map(|(_, task)| task)
            .all(|task| task.sealed.is_some())
    }

    fn result(&self, stage: usize) -> bool {
        !self
            .stages
            .iter()
            .any(|other| other.inputs.contains(&stage))
    }

    fn needed(&self, stage: usize) -> bool {
        let readers = (0..self.stages.len()).filter(|s| self.stages[*s].inputs.contains(&stage));
        !self.complete(stage)
            && (self.result(stage) || readers.into_iter().any(|reader| self.needed(reader)))
    }
}
