//! A world for the scheduler to run in: workers, the attempts on them, and the messages under way.
//! It knows what really happened; the scheduler only hears of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidegate_runtime::scheduler::{
    Action, AttemptId, Event, FailureClass, Limits, Policy, Scheduler, Speculation, StageSpec,
    TaskId, TaskTimeout, WorkerId,
};
use tidegate_testing::random::Random;

use crate::model::Model;

/// No honest life takes so many steps.
const STEPS_MAX: usize = 20_000;
/// When troubles begin no more, in milliseconds.
const TROUBLE_UNTIL: usize = 6_000;

pub(crate) struct World {
    random: Random,
    stages: Vec<StageSpec>,
    scheduler: Scheduler,
    model: Model,
    now: Duration,
    /// What will happen, by its time and a number that keeps equal times apart.
    future: BTreeMap<(Duration, u64), Happening>,
    serial: u64,
    wake: Option<Duration>,
    workers: Vec<WorkerId>,
    next_worker: u32,
    running: BTreeMap<(TaskId, AttemptId), WorkerId>,
    /// Output that is there.
    outputs: BTreeSet<(TaskId, AttemptId)>,
    /// Output that is or was there.
    made: BTreeSet<(TaskId, AttemptId)>,
    heard: Vec<Event>,
    /// How many more attempts and messages go wrong.
    troubles: usize,
    pub(crate) log: Vec<String>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Clone)]
enum Happening {
    Message(Event),
    /// An attempt comes to its end.
    End(TaskId, AttemptId),
    Join,
    Crash,
    LoseOutput,
    /// A message comes once more.
    Replay,
    /// A message that makes no sense.
    Nonsense,
}

impl World {
    pub(crate) fn new(mut random: Random) -> Self {
        let stages = random_stages(&mut random);
        let limits = random_limits(&mut random);
        let policy = random_policy(&mut random);
        let scheduler = Scheduler::new(stages.clone(), limits.clone(), policy).unwrap();
        let mut model = Model::new(stages.clone(), limits);
        let scheduler = prepared(&mut random, &stages, scheduler, &mut model);
        let made: BTreeSet<_> = model.sealed().collect();
        let mut world = Self {
            stages,
            scheduler,
            model,
            now: Duration::ZERO,
            future: BTreeMap::new(),
            serial: 0,
            wake: None,
            workers: Vec::new(),
            next_worker: 0,
            running: BTreeMap::new(),
            outputs: made.clone(),
            made,
            heard: Vec::new(),
            troubles: 0,
            log: Vec::new(),
            counts: BTreeMap::new(),
            random,
        };
        world.foresee();
        world
    }

    /// Workers, the begin, and troubles to come.
    fn foresee(&mut self) {
        for _ in 0..1 + self.random.below(5) {
            self.later(50, Happening::Join);
        }
        self.later(50, Happening::Message(Event::Begin));
        self.troubles = match self.random.below(4) {
            0 => 0,
            1 => self.random.below(4),
            _ => self.random.below(25),
        };
        for _ in 0..self.troubles {
            let what = match self.random.below(9) {
                0 | 1 => Happening::Join,
                2 | 3 => Happening::Crash,
                4 => Happening::LoseOutput,
                5 | 6 => Happening::Replay,
                _ => Happening::Nonsense,
            };
            self.later(TROUBLE_UNTIL, what);
        }
        // Whatever happened to the others, one comes after all troubles and stays.
        let at = Duration::from_millis(TROUBLE_UNTIL as u64 + 1);
        self.serial += 1;
        self.future.insert((at, self.serial), Happening::Join);
    }

    /// Lets it happen within so many milliseconds.
    fn later(&mut self, within: usize, what: Happening) {
        let wait = Duration::from_micros(self.random.below(within * 1000) as u64);
        self.serial += 1;
        self.future.insert((self.now + wait, self.serial), what);
    }

    /// Lives to the end of the job, and says how it ended.
    pub(crate) fn run(&mut self) -> Result<String, String> {
        for _ in 0..STEPS_MAX {
            if let Some(end) = self.model.end.clone() {
                return self.after_the_end(&end);
            }
            let next = self.future.first_key_value().map(|(key, _)| *key);
            match (next, self.wake) {
                (None, None) => return Err("nothing will ever happen again".to_string()),
                (Some((at, _)), Some(wake)) if at < wake => self.happen()?,
                (Some(_), None) => self.happen()?,
                (_, Some(wake)) => {
                    // Late as clocks are, and now and then too early.
                    let late = Duration::from_micros(self.random.below(2000) as u64);
                    self.now = self.now.max(match self.random.below(20) {
                        0 => self.now.max(wake.saturating_sub(Duration::from_millis(1))),
                        _ => wake + late,
                    });
                    self.wake = None;
                    self.hand_in(Event::Woken)?;
                }
            }
        }
        Err("it does not come to an end".to_string())
    }

    fn after_the_end(&mut self, end: &str) -> Result<String, String> {
        for _ in 0..5 {
            let event = self.nonsense();
            let actions = self.scheduler.step(self.now, event);
            if !actions.is_empty() || !self.scheduler.is_over() {
                return Err(format!("after the end {event:?} gave {actions:?}"));
            }
        }
        for (task, attempt) in self.model.sealed() {
            if !self.made.contains(&(task, attempt)) {
                return Err(format!("{task}#{} never sealed", attempt.0));
            }
        }
        Ok(end.to_string())
    }

    fn happen(&mut self) -> Result<(), String> {
        let Some(((at, _), what)) = self.future.pop_first() else {
            return Ok(());
        };
        self.now = self.now.max(at);
        match what {
            Happening::Message(event) => return self.hand_in(event),
            Happening::End(task, attempt) => self.end(task, attempt),
            Happening::Join => {
                let worker = WorkerId(self.next_worker);
                self.next_worker += 1;
                self.workers.push(worker);
                let slots = 1 + self.random.below(3);
                self.send(Event::WorkerJoined { worker, slots });
            }
            Happening::Crash if !self.workers.is_empty() => {
                let index = self.random.below(self.workers.len());
                let worker = self.workers.swap_remove(index);
                self.running.retain(|_, at| *at != worker);
                self.count("crashes");
                self.send_surely(Event::WorkerLost { worker });
            }
            Happening::LoseOutput if !self.outputs.is_empty() => {
                let index = self.random.below(self.outputs.len());
                let lost = self.outputs.iter().nth(index).copied().unwrap();
                self.outputs.remove(&lost);
                self.count("outputs lost");
                if self.scheduler.sealed(lost.0) == Some(lost.1) {
                    self.send(Event::OutputLost { task: lost.0 });
                }
            }
            Happening::Crash | Happening::LoseOutput => {}
            Happening::Replay if !self.heard.is_empty() => {
                let event = *self.random.pick(&self.heard);
                self.count("messages out of date");
                return self.hand_in(event);
            }
            Happening::Replay | Happening::Nonsense => {
                let event = self.nonsense();
                self.count("messages of nonsense");
                return self.hand_in(event);
            }
        }
        Ok(())
    }

    /// An attempt that still runs seals or fails.
    fn end(&mut self, task: TaskId, attempt: AttemptId) {
        if self.running.remove(&(task, attempt)).is_none() {
            return;
        }
        let inputs = self.stages[task.stage].inputs.clone();
        let inputs = inputs.into_iter().flat_map(|stage| {
            let tasks = self.stages[stage].tasks;
            (0..tasks).map(move |partition| TaskId { stage, partition })
        });
        let inputs: Vec<TaskId> = inputs.collect();
        let there = |input: &TaskId| {
            let sealed = self.scheduler.sealed(*input);
            sealed.is_some_and(|attempt| self.outputs.contains(&(*input, attempt)))
        };
        let missing = inputs.iter().copied().find(|input| !there(input));
        // It may have read all of it before it was lost.
        let missing = missing.filter(|_| self.random.below(2) == 0);
        let class = match missing {
            Some(input) => Some(FailureClass::Corrupt { input }),
            None if self.trouble(5) => Some(self.failure(&inputs)),
            None => None,
        };
        if let Some(class) = class {
            self.count("failures");
            return self.send(Event::Failed {
                task,
                attempt,
                class,
            });
        }
        self.outputs.insert((task, attempt));
        self.made.insert((task, attempt));
        self.send(Event::Sealed { task, attempt });
    }

    fn failure(&mut self, inputs: &[TaskId]) -> FailureClass {
        match self.random.below(12) {
            0..6 => FailureClass::Retryable,
            6..9 => FailureClass::Repartition,
            9..11 if !inputs.is_empty() => FailureClass::Corrupt {
                input: *self.random.pick(inputs),
            },
            9..11 => FailureClass::Retryable,
            _ => FailureClass::Fatal,
        }
    }

    /// Whether something goes wrong now, one time in so many while troubles last.
    fn trouble(&mut self, of: usize) -> bool {
        let trouble = self.troubles > 0 && self.random.below(of) == 0;
        self.troubles -= usize::from(trouble);
        trouble
    }

    /// Sends a message, which may be lost.
    fn send(&mut self, event: Event) {
        match self.trouble(15) {
            true => self.count("messages lost"),
            false => self.send_surely(event),
        }
    }

    /// Sends a message, which may come late and more than once.
    fn send_surely(&mut self, event: Event) {
        let within = match self.trouble(10) {
            true => 5_000,
            false => 20,
        };
        self.later(within, Happening::Message(event));
        if self.trouble(10) {
            self.count("messages twice");
            self.later(5_000, Happening::Message(event));
        }
    }

    fn nonsense(&mut self) -> Event {
        let stage = self.random.below(self.stages.len() + 1);
        let partition = self.random.below(7);
        let task = TaskId { stage, partition };
        let attempt = AttemptId(100 + self.random.below(3) as u32);
        let worker = WorkerId(1000 + self.random.below(10) as u32);
        match self.random.below(5) {
            0 => Event::Sealed { task, attempt },
            1 => Event::Failed {
                task,
                attempt,
                class: FailureClass::Fatal,
            },
            2 => Event::WorkerLost { worker },
            3 => Event::Woken,
            _ => Event::Begin,
        }
    }

    fn hand_in(&mut self, event: Event) -> Result<(), String> {
        self.count("events");
        self.heard.push(event);
        let actions = self.scheduler.step(self.now, event);
        self.log
            .push(format!("{:?} {event:?} -> {actions:?}", self.now));
        self.model
            .check(self.now, event, &actions, &self.scheduler)?;
        for action in actions {
            self.act(action);
        }
        Ok(())
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Run {
                task,
                attempt,
                worker,
            } => {
                self.count("attempts");
                if !self.workers.contains(&worker) {
                    return;
                }
                if self.trouble(25) {
                    return self.count("messages lost");
                }
                self.running.insert((task, attempt), worker);
                self.later(800, Happening::End(task, attempt));
            }
            Action::Cancel { task, attempt, .. } => {
                self.count("cancelled");
                // What is told to stop may seal all the same, and may say whatever it likes.
                if self.random.below(3) > 0 && self.running.remove(&(task, attempt)).is_some() {
                    let class = self.failure(&[]);
                    self.send(Event::Failed {
                        task,
                        attempt,
                        class,
                    });
                }
            }
            Action::WakeAt { at } => self.wake = Some(at),
            Action::Finished | Action::Fail { .. } => {}
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

fn random_stages(random: &mut Random) -> Vec<StageSpec> {
    let stages = 1 + random.below(8);
    let stage = |number: usize| {
        let inputs = (0..number).filter(|_| random.below(3) == 0).collect();
        StageSpec {
            inputs,
            tasks: 1 + random.below(6),
            cost: random.fraction(),
        }
    };
    (0..stages).map(stage).collect()
}

/// Costs, stages that vary and what an earlier run has sealed, in some lives.
fn prepared(
    random: &mut Random,
    stages: &[StageSpec],
    mut scheduler: Scheduler,
    model: &mut Model,
) -> Scheduler {
    let (varying, sealed) = (random.below(3) == 0, random.below(5) == 0);
    for (stage, spec) in stages.iter().enumerate() {
        if random.below(3) == 0 {
            let costs: Vec<f64> = (0..spec.tasks).map(|_| random.fraction()).collect();
            scheduler = scheduler.with_costs(stage, &costs).unwrap();
            model.costs[stage] = costs;
        }
        if varying && random.below(3) == 0 {
            scheduler = scheduler.with_varying(stage).unwrap();
            model.varying.insert(stage);
        }
        for partition in 0..spec.tasks {
            if sealed && random.below(2) == 0 {
                let task = TaskId { stage, partition };
                let attempt = AttemptId(random.below(3) as u32);
                scheduler = scheduler.with_sealed(task, attempt).unwrap();
                model.sealed_before(task, attempt);
            }
        }
    }
    scheduler
}

fn random_limits(random: &mut Random) -> Limits {
    let speculation = Speculation {
        factor: 1.0 + random.fraction(),
        minimum: Duration::from_millis(random.below(300) as u64),
    };
    let minimum = Duration::from_millis(1_500 + random.below(3_000) as u64);
    Limits {
        attempts_max: 2 + random.below(6) as u32,
        losses_max: random.below(6) as u32,
        backoff: Duration::from_millis(random.below(50) as u64),
        backoff_max: Duration::from_millis(random.below(500) as u64),
        workers_wait: Duration::from_millis(200 + random.below(10_000) as u64),
        speculation: (random.below(3) == 0).then_some(speculation),
        task_timeout: Some(match random.below(2) {
            0 => TaskTimeout::Fixed(minimum),
            _ => TaskTimeout::Estimate {
                factor: 3.0,
                minimum,
            },
        }),
    }
}

fn random_policy(random: &mut Random) -> Policy {
    match random.below(5) {
        0 => Policy::Fifo,
        1 => Policy::RoundRobin,
        2 => Policy::Priority(
            (0..random.below(9))
                .map(|_| random.below(3) as i32)
                .collect(),
        ),
        3 => Policy::LongestFirst,
        _ => Policy::CriticalPath,
    }
}
