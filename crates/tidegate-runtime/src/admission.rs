//! The queue that queries wait in before they run, so that those that run fit into the memory.
//!
//! A pure state machine like the scheduler's: it returns what to do. The order is by priority, then by
//! arrival, and nobody overtakes: a small query behind a large one waits, else the large one might for
//! ever.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// A query that asks to run.
#[derive(Debug, Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// What to do with a query.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
pub enum Admit {
    /// Run it.
    Run {
        /// The query.
        id: QueryId,
        /// The memory that is its own: what it asked for, or all there is if that is less.
        bytes: u64,
    },
    /// Turn it away: too many are waiting.
    Refuse {
        /// The query.
        id: QueryId,
    },
}

/// Lets queries in while memory and places last.
///
/// ```
/// # use tidegate_runtime::admission::*;
/// let mut admission = Admission::new(8, 1000, 100);
/// let (one, two) = (QueryId(1), QueryId(2));
/// assert_eq!(admission.ask(one, 0, 700), [Admit::Run { id: one, bytes: 700 }]);
/// assert_eq!(admission.ask(two, 0, 700), []);
/// assert_eq!(admission.done(one), [Admit::Run { id: two, bytes: 700 }]);
/// ```
#[derive(Debug)]
pub struct Admission {
    running_max: usize,
    memory: u64,
    waiting_max: usize,
    arrivals: u64,
    running: HashMap<QueryId, u64>,
    /// The sum of what runs.
    taken: u64,
    waiting: BTreeMap<(Reverse<i32>, u64), Waiting>,
    places: HashMap<QueryId, (Reverse<i32>, u64)>,
}

#[derive(Debug)]
struct Waiting {
    id: QueryId,
    bytes: u64,
}

impl Admission {
    /// Room for so many queries at once, at least one, with so many bytes between them, and for so
    /// many that wait.
    pub fn new(running_max: usize, memory: u64, waiting_max: usize) -> Self {
        Self {
            running_max: running_max.max(1),
            memory,
            waiting_max,
            arrivals: 0,
            running: HashMap::new(),
            taken: 0,
            waiting: BTreeMap::new(),
            places: HashMap::new(),
        }
    }

    /// A query asks for so much memory. A higher priority goes first. One that asks again while it
    /// waits or runs is not heard.
    pub fn ask(&mut self, id: QueryId, priority: i32, bytes: u64) -> Vec<Admit> {
        if self.running.contains_key(&id) || self.places.contains_key(&id) {
            return Vec::new();
        }
        self.arrivals += 1;
        let place = (Reverse(priority), self.arrivals);
        // An estimate is not a fact: a query that seems too large has all the memory, and spills.
        let bytes = bytes.min(self.memory);
        self.waiting.insert(place, Waiting { id, bytes });
        self.places.insert(id, place);
        let mut admitted = self.admit();
        if self.waiting.len() > self.waiting_max
            && let Some((_, last)) = self.waiting.pop_last()
        {
            self.places.remove(&last.id);
            admitted.push(Admit::Refuse { id: last.id });
        }
        admitted
    }

    /// A query has ended, or waits no longer.
    pub fn done(&mut self, id: QueryId) -> Vec<Admit> {
        if let Some(bytes) = self.running.remove(&id) {
            self.taken -= bytes;
        }
        if let Some(place) = self.places.remove(&id) {
            self.waiting.remove(&place);
        }
        self.admit()
    }

    fn admit(&mut self) -> Vec<Admit> {
        let mut admitted = Vec::new();
        while self.running.len() < self.running_max
            && let Some(first) = self.waiting.first_entry()
            && first.get().bytes <= self.memory - self.taken
        {
            let Waiting { id, bytes } = first.remove();
            self.places.remove(&id);
            self.taken += bytes;
            self.running.insert(id, bytes);
            admitted.push(Admit::Run { id, bytes });
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_testing::random::Random;

    /// Runs lines such as `ask 1 0 700` and `done 1`, and compares what each gives.
    fn check(mut admission: Admission, script: &[(&str, &str)]) {
        for (line, expected) in script {
            let mut words = line.split(' ');
            let verb = words.next();
            let numbers: Vec<i64> = words.filter_map(|word| word.parse().ok()).collect();
            let admitted = match (verb, numbers.as_slice()) {
                (Some("ask"), [id, priority, bytes]) => {
                    admission.ask(QueryId(*id as u64), *priority as i32, *bytes as u64)
                }
                (Some("done"), [id]) => admission.done(QueryId(*id as u64)),
                _ => unreachable!("`{line}` is no line of a script"),
            };
            let said = admitted.iter().map(|admit| match admit {
                Admit::Run { id, bytes } => format!("run {} {bytes}", id.0),
                Admit::Refuse { id } => format!("refuse {}", id.0),
            });
            assert_eq!(said.collect::<Vec<_>>().join(", "), *expected, "{line}");
        }
    }

    #[test]
    fn queries_run_while_memory_and_places_last() {
        check(
            Admission::new(3, 1000, 9),
            &[
                ("ask 1 0 400", "run 1 400"),
                ("ask 2 0 400", "run 2 400"),
                ("ask 3 0 400", ""),
                ("ask 4 0 100", ""),
                ("done 1", "run 3 400, run 4 100"),
                ("done 2", ""),
                ("ask 5 0 100", "run 5 100"),
                ("ask 6 0 0", ""),
                ("done 4", "run 6 0"),
            ],
        );
    }

    #[test]
    fn a_higher_priority_goes_first_and_equals_by_arrival() {
        check(
            Admission::new(1, 1000, 9),
            &[
                ("ask 1 0 1", "run 1 1"),
                ("ask 2 0 1", ""),
                ("ask 3 5 1", ""),
                ("ask 4 -5 1", ""),
                ("ask 5 5 1", ""),
                ("done 1", "run 3 1"),
                ("done 3", "run 5 1"),
                ("done 5", "run 2 1"),
                ("done 2", "run 4 1"),
            ],
        );
    }

    #[test]
    fn what_seems_too_large_runs_by_itself() {
        check(
            Admission::new(9, 1000, 9),
            &[
                ("ask 1 0 1", "run 1 1"),
                ("ask 2 0 5000", ""),
                ("ask 3 0 1", ""),
                ("done 1", "run 2 1000"),
                ("done 2", "run 3 1"),
            ],
        );
    }

    #[test]
    fn beyond_the_queue_the_last_in_order_is_refused() {
        check(
            Admission::new(1, 1000, 2),
            &[
                ("ask 1 0 1", "run 1 1"),
                ("ask 2 0 1", ""),
                ("ask 3 0 1", ""),
                ("ask 4 0 1", "refuse 4"),
                ("ask 5 1 1", "refuse 3"),
                ("done 1", "run 5 1"),
                ("done 5", "run 2 1"),
                ("done 2", ""),
            ],
        );
        check(
            Admission::new(1, 1000, 0),
            &[("ask 1 0 1", "run 1 1"), ("ask 2 0 1", "refuse 2")],
        );
    }

    #[test]
    fn words_said_twice_or_too_late_do_no_harm() {
        check(
            Admission::new(1, 1000, 9),
            &[
                ("done 7", ""),
                ("ask 1 0 600", "run 1 600"),
                ("ask 1 0 600", ""),
                ("ask 2 0 600", ""),
                ("ask 2 9 1", ""),
                ("ask 3 0 600", ""),
                ("done 2", ""),
                ("done 1", "run 3 600"),
                ("done 1", ""),
                ("done 3", ""),
                ("done 3", ""),
            ],
        );
    }

    #[test]
    fn fifty_queries_at_once_all_run_within_the_memory() {
        for case in 0..200 {
            let mut random = Random::of_case(7, case);
            let mut admission = Admission::new(1 + random.below(20), 1000, 50);
            let (mut running, mut ended) = (Vec::new(), 0);
            for id in 0..50 {
                let bytes = random.below(1500) as u64;
                running.extend(admission.ask(QueryId(id), random.below(3) as i32, bytes));
            }
            while !running.is_empty() {
                let bytes = running.iter().map(|admit| match admit {
                    Admit::Run { bytes, .. } => *bytes,
                    Admit::Refuse { id } => unreachable!("query {} was refused", id.0),
                });
                assert!(bytes.sum::<u64>() <= 1000, "case {case}");
                if let Admit::Run { id, .. } = running.swap_remove(random.below(running.len())) {
                    running.extend(admission.done(id));
                    ended += 1;
                }
            }
            assert_eq!(ended, 50, "case {case}");
        }
    }
}
