//! Policies: which of the tasks that are ready runs first. All are list policies (no slot stays idle
//! while a task is ready), so none takes longer than Graham's bound: 2 - 1/m times the best.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::str::FromStr;

use super::messages::{TaskId, WorkerId};
use super::workers::Workers;

/// Which ready task goes first. Of equal ones it is the one that became ready first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Policy {
    /// The one that became ready first.
    Fifo,
    /// One of each stage in turn.
    RoundRobin,
    /// The one whose stage has the highest number here; a stage beyond the list has 0.
    Priority(Vec<i32>),
    /// The one with the highest cost, so that the last to end are short.
    LongestFirst,
    /// The one with the longest way to the end of the job: its cost and what must follow it. The
    /// quickest of them in all that was simulated (`docs/scheduling.md`).
    #[default]
    CriticalPath,
}

static NAMES: [(&str, Policy); 5] = [
    ("fifo", Policy::Fifo),
    ("round_robin", Policy::RoundRobin),
    ("priority", Policy::Priority(Vec::new())),
    ("longest_first", Policy::LongestFirst),
    ("critical_path", Policy::CriticalPath),
];

impl Policy {
    /// All of them by name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    pub(super) fn assign(self) -> Box<dyn Assign> {
        match self {
            Self::Fifo => Box::new(Fifo),
            Self::RoundRobin => Box::new(RoundRobin::default()),
            Self::Priority(stages) => Box::new(Priority(stages)),
            Self::LongestFirst => Box::new(LongestFirst),
            Self::CriticalPath => Box::new(CriticalPath),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fifo => "fifo",
            Self::RoundRobin => "round_robin",
            Self::Priority(_) => "priority",
            Self::LongestFirst => "longest_first",
            Self::CriticalPath => "critical_path",
        })
    }
}

/// A name that no policy has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is not a policy: take fifo, round_robin, priority, longest_first or critical_path"
)]
pub struct UnknownPolicy {
    /// The name.
    pub name: String,
}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        let known = NAMES.iter().find(|(known, _)| *known == name);
        known
            .map(|(_, policy)| policy.clone())
            .ok_or_else(|| UnknownPolicy {
                name: name.to_string(),
            })
    }
}

/// A task that may run now.
#[derive(Debug, Copy, Clone)]
pub(super) struct ReadyTask {
    pub(super) task: TaskId,
    /// What it is expected to take.
    pub(super) cost: f64,
    /// The longest way from its end to the end of the job.
    pub(super) tail: f64,
    /// The worker of its last attempt, which failed.
    pub(super) avoid: Option<WorkerId>,
}

/// How a policy decides.
pub(super) trait Assign: Debug + Send {
    /// Where a task that has become ready stands: the lowest goes first.
    fn rank(&mut self, task: &ReadyTask) -> f64;

    /// The next task to run, and where; none while nothing is ready or no slot is free. One pair at
    /// a time: what is ready and free is then always as it is, and nobody copies it.
    fn assign(&mut self, ready: &Ready, workers: &Workers) -> Option<(TaskId, WorkerId)> {
        let (_, task) = ready.first()?;
        Some((task.task, workers.freest(task.avoid)?))
    }
}

#[derive(Debug)]
struct Fifo;

impl Assign for Fifo {
    fn rank(&mut self, _: &ReadyTask) -> f64 {
        0.0
    }
}

#[derive(Debug)]
struct Priority(Vec<i32>);

impl Assign for Priority {
    fn rank(&mut self, task: &ReadyTask) -> f64 {
        -f64::from(self.0.get(task.task.stage).copied().unwrap_or(0))
    }
}

#[derive(Debug)]
struct LongestFirst;

impl Assign for LongestFirst {
    fn rank(&mut self, task: &ReadyTask) -> f64 {
        -task.cost
    }
}

#[derive(Debug)]
struct CriticalPath;

impl Assign for CriticalPath {
    fn rank(&mut self, task: &ReadyTask) -> f64 {
        -(task.cost + task.tail)
    }
}

/// Rounds: the n-th task of a stage takes part in round n. A stage that comes later begins in the
/// round that is being served (as in start-time fair queueing), so it neither waits nor catches up.
#[derive(Debug, Default)]
struct RoundRobin {
    serving: f64,
    next: BTreeMap<usize, f64>,
}

impl Assign for RoundRobin {
    fn rank(&mut self, task: &ReadyTask) -> f64 {
        let next = self.next.entry(task.task.stage).or_default();
        let round = next.max(self.serving);
        *next = round + 1.0;
        round
    }

    fn assign(&mut self, ready: &Ready, workers: &Workers) -> Option<(TaskId, WorkerId)> {
        let (rank, task) = ready.first()?;
        let worker = workers.freest(task.avoid)?;
        self.serving = self.serving.max(rank);
        Some((task.task, worker))
    }
}

/// The place of a task in the queue.
#[derive(Debug, Copy, Clone, PartialEq)]
pub(super) struct Place {
    rank: f64,
    serial: u64,
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let rank = self.rank.total_cmp(&other.rank);
        rank.then(self.serial.cmp(&other.serial))
    }
}

/// The tasks that are ready, in the order of their ranks.
#[derive(Debug, Default)]
pub(super) struct Ready {
    queue: BTreeMap<Place, ReadyTask>,
    serial: u64,
}

impl Ready {
    pub(super) fn insert(&mut self, rank: f64, task: ReadyTask) -> Place {
        self.serial += 1;
        let place = Place {
            // There is a 0 below 0 in the total order.
            rank: rank + 0.0,
            serial: self.serial,
        };
        self.queue.insert(place, task);
        place
    }

    pub(super) fn remove(&mut self, place: Place) {
        self.queue.remove(&place);
    }

    /// The one that goes first, with its rank.
    pub(super) fn first(&self) -> Option<(f64, ReadyTask)> {
        let (place, task) = self.queue.first_key_value()?;
        Some((place.rank, *task))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_policy_is_read_as_it_is_written() {
        for name in Policy::names() {
            assert_eq!(name.parse::<Policy>().unwrap().to_string(), name);
        }
        let message = "lifo".parse::<Policy>().unwrap_err().to_string();
        for name in Policy::names() {
            assert!(message.contains(name), "{message}");
        }
    }

    /// The order in which a policy takes tasks given as (stage, cost, tail).
    fn order(policy: Policy, tasks: &[(usize, f64, f64)]) -> Vec<usize> {
        let mut workers = Workers::default();
        workers.join(WorkerId(0), 1);
        let (mut assign, mut ready) = (policy.assign(), Ready::default());
        let mut places = Vec::new();
        for (partition, (stage, cost, tail)) in tasks.iter().copied().enumerate() {
            let task = TaskId { stage, partition };
            let task = ReadyTask {
                task,
                cost,
                tail,
                avoid: None,
            };
            places.push(ready.insert(assign.rank(&task), task));
        }
        let mut order = Vec::new();
        while let Some((task, _)) = assign.assign(&ready, &workers) {
            ready.remove(places[task.partition]);
            order.push(task.partition);
        }
        order
    }

    #[test]
    fn each_policy_has_its_order() {
        let tasks = [
            (0, 1.0, 9.0),
            (0, 1.0, 9.0),
            (0, 1.0, 9.0),
            (1, 5.0, 0.0),
            (1, 5.0, 0.0),
            (2, 2.0, 9.0),
        ];
        assert_eq!(order(Policy::Fifo, &tasks), [0, 1, 2, 3, 4, 5]);
        assert_eq!(order(Policy::RoundRobin, &tasks), [0, 3, 5, 1, 4, 2]);
        let priority = Policy::Priority(vec![-1, 0, 7]);
        assert_eq!(order(priority, &tasks), [5, 3, 4, 0, 1, 2]);
        let priority = Policy::Priority(vec![-1]);
        assert_eq!(order(priority, &tasks), [3, 4, 5, 0, 1, 2]);
        assert_eq!(order(Policy::LongestFirst, &tasks), [3, 4, 5, 0, 1, 2]);
        assert_eq!(order(Policy::CriticalPath, &tasks), [5, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_stage_that_comes_later_joins_the_round_that_is_served() {
        let mut workers = Workers::default();
        workers.join(WorkerId(0), 1);
        let mut assign = RoundRobin::default();
        let mut ready = Ready::default();
        let mut order = Vec::new();
        let task = |stage, partition| ReadyTask {
            task: TaskId { stage, partition },
            cost: 1.0,
            tail: 0.0,
            avoid: None,
        };
        let mut places = BTreeMap::new();
        for id in [task(0, 0), task(0, 1), task(0, 2), task(0, 3)] {
            places.insert(id.task, ready.insert(assign.rank(&id), id));
        }
        while let Some((id, _)) = assign.assign(&ready, &workers) {
            ready.remove(places[&id]);
            order.push(id.to_string());
            if order.len() == 2 {
                for id in [task(1, 0), task(1, 1)] {
                    places.insert(id.task, ready.insert(assign.rank(&id), id));
                }
            }
        }
        assert_eq!(order, ["0.0", "0.1", "1.0", "0.2", "1.1", "0.3"]);
    }
}
