//! Workers in simulated time: they run what the scheduler tells them to, fail and come back.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tidegate_runtime::scheduler::{
    Action, AttemptId, Event, Scheduler, Speculation, TaskId, WorkerId,
};
use tidegate_testing::random::Random;

use crate::job::Job;

/// How a straggler is slower than its task should be.
const STRAGGLER_FACTOR: f64 = 10.0;

#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) workers: usize,
    pub(crate) failing: Option<Failing>,
    /// The share of attempts that are slow.
    pub(crate) stragglers: f64,
    pub(crate) speculation: Option<Speculation>,
}

/// A Markov chain of two states for each worker: seconds in each, on average.
#[derive(Debug, Copy, Clone)]
pub(crate) struct Failing {
    pub(crate) up: f64,
    pub(crate) down: f64,
}

#[derive(Debug, Copy, Clone)]
pub(crate) struct Outcome {
    /// Seconds from the begin to the end of the job.
    pub(crate) makespan: f64,
    /// Seconds of work beyond the job's own: what came to nothing, and what was slow.
    pub(crate) extra: f64,
    /// Events that the scheduler took.
    pub(crate) events: u64,
}

impl Cluster {
    pub(crate) fn run(
        &self,
        job: &Job,
        scheduler: Scheduler,
        random: Random,
    ) -> Result<Outcome, String> {
        let mut simulation = Simulation {
            cluster: self,
            job,
            scheduler,
            random,
            now: Duration::ZERO,
            future: BTreeMap::new(),
            serial: 0,
            wake: None,
            next_worker: 0,
            running: HashMap::new(),
            done: None,
            busy: 0.0,
            events: 0,
        };
        for _ in 0..self.workers {
            simulation.join();
        }
        simulation.hand_in(Event::Begin);
        let makespan = loop {
            if let Some(end) = simulation.done.take() {
                break end?;
            }
            simulation.happen()?;
        };
        Ok(Outcome {
            makespan: makespan.as_secs_f64(),
            extra: simulation.busy - job.work(),
            events: simulation.events,
        })
    }
}

#[derive(Debug, Copy, Clone)]
enum Happening {
    End(TaskId, AttemptId),
    Crash(WorkerId),
    Join,
}

struct Simulation<'a> {
    cluster: &'a Cluster,
    job: &'a Job,
    scheduler: Scheduler,
    random: Random,
    now: Duration,
    future: BTreeMap<(Duration, u64), Happening>,
    serial: u64,
    wake: Option<Duration>,
    next_worker: u32,
    running: HashMap<(TaskId, AttemptId), (WorkerId, Duration)>,
    done: Option<Result<Duration, String>>,
    /// Seconds that workers have worked.
    busy: f64,
    events: u64,
}

impl Simulation<'_> {
    fn happen(&mut self) -> Result<(), String> {
        let next = self.future.first_key_value().map(|((at, _), _)| *at);
        if let Some(wake) = self.wake
            && next.is_none_or(|next| wake < next)
        {
            self.wake = None;
            self.now = self.now.max(wake);
            self.hand_in(Event::Woken);
            return Ok(());
        }
        let Some(((at, _), what)) = self.future.pop_first() else {
            return Err("nothing will ever happen again".to_string());
        };
        self.now = self.now.max(at);
        match what {
            Happening::End(task, attempt) => {
                if self.stop(task, attempt) {
                    self.hand_in(Event::Sealed { task, attempt });
                }
            }
            Happening::Crash(worker) => {
                let there = self.running.iter().filter(|(_, (at, _))| *at == worker);
                for (task, attempt) in there.map(|(key, _)| *key).collect::<Vec<_>>() {
                    self.stop(task, attempt);
                }
                if let Some(failing) = self.cluster.failing {
                    self.later(failing.down, Happening::Join);
                }
                self.hand_in(Event::WorkerLost { worker });
            }
            Happening::Join => self.join(),
        }
        Ok(())
    }

    /// A worker that comes back is a new one.
    fn join(&mut self) {
        let worker = WorkerId(self.next_worker);
        self.next_worker += 1;
        if let Some(failing) = self.cluster.failing {
            self.later(failing.up, Happening::Crash(worker));
        }
        self.hand_in(Event::WorkerJoined { worker, slots: 1 });
    }

    /// Lets it happen after an exponential time of this mean.
    fn later(&mut self, mean: f64, what: Happening) {
        let seconds = -mean * (1.0 - self.random.fraction()).ln();
        self.after(seconds, what);
    }

    fn after(&mut self, seconds: f64, what: Happening) {
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        self.serial += 1;
        let at = self.now.saturating_add(wait);
        self.future.insert((at, self.serial), what);
    }

    fn stop(&mut self, task: TaskId, attempt: AttemptId) -> bool {
        let Some((_, since)) = self.running.remove(&(task, attempt)) else {
            return false;
        };
        self.busy += (self.now - since).as_secs_f64();
        true
    }

    fn hand_in(&mut self, event: Event) {
        self.events += 1;
        for action in self.scheduler.step(self.now, event) {
            match action {
                Action::Run {
                    task,
                    attempt,
                    worker,
                } => {
                    let slow = self.random.fraction() < self.cluster.stragglers;
                    let factor = if slow { STRAGGLER_FACTOR } else { 1.0 };
                    let seconds = self.job.stages[task.stage].seconds[task.partition];
                    self.running.insert((task, attempt), (worker, self.now));
                    self.after(seconds * factor, Happening::End(task, attempt));
                }
                Action::Cancel { task, attempt, .. } => {
                    self.stop(task, attempt);
                }
                Action::WakeAt { at } => self.wake = Some(at),
                Action::Finished => self.done = Some(Ok(self.now)),
                Action::Fail { task, why } => {
                    self.done = Some(Err(format!("the job failed: {task:?}: {why}")));
                }
            }
        }
    }
}
