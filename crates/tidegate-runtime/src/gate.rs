//! Where queries wait for their turn: the [`Admission`] queue with what it takes to be awaited.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::admission::{Admission, Admit, QueryId};

/// Lets so many queries run at once; the others wait, and so many may.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    next: AtomicU64,
}

#[derive(Debug)]
struct State {
    admission: Admission,
    waiting: HashMap<QueryId, oneshot::Sender<bool>>,
}

/// A query was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many wait as may.
    #[error("too many queries are waiting")]
    Full,
    /// It has waited as long as it may.
    #[error("the query has waited {} s for others to end", .0.as_secs())]
    Late(Duration),
}

/// The place of a query that runs; dropping it lets the next one in.
#[derive(Debug)]
pub struct Place {
    gate: Arc<Gate>,
    id: QueryId,
}

impl Gate {
    /// Room for `running_max` queries that run and `waiting_max` that wait.
    pub fn new(running_max: usize, waiting_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                admission: Admission::new(running_max, u64::MAX, waiting_max),
                waiting: HashMap::new(),
            }),
            next: AtomicU64::new(0),
        }
    }

    /// Waits for a place, at most so long. A higher priority goes first.
    pub async fn enter(self: &Arc<Self>, priority: i32, wait: Duration) -> Result<Place, Refused> {
        let id = QueryId(self.next.fetch_add(1, Ordering::Relaxed));
        let (say, said) = oneshot::channel();
        // Given back whatever comes: also if nobody waits for this any more.
        let place = Place {
            gate: Arc::clone(self),
            id,
        };
        {
            let mut state = self.state.lock();
            state.waiting.insert(id, say);
            let admitted = state.admission.ask(id, priority, 0);
            state.tell(admitted);
        }
        match tokio::time::timeout(wait, said).await {
            Ok(Ok(true)) => Ok(place),
            Ok(_) => Err(Refused::Full),
            Err(_) => Err(Refused::Late(wait)),
        }
    }
}

impl State {
    fn tell(&mut self, admitted: Vec<Admit>) {
        for one in admitted {
            let (id, may_run) = match one {
                Admit::Run { id, .. } => (id, true),
                Admit::Refuse { id } => (id, false),
            };
            if let Some(waiting) = self.waiting.remove(&id) {
                // Who does not wait any more gives the place back itself.
                let _ = waiting.send(may_run);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        state.waiting.remove(&self.id);
        let admitted = state.admission.done(self.id);
        state.tell(admitted);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn the_next_one_runs_when_a_place_is_given_back() {
        let gate = Arc::new(Gate::new(1, 2));
        let first = gate.enter(0, LONG).await.unwrap();
        let (low, high) = (Arc::clone(&gate), Arc::clone(&gate));
        let low = tokio::spawn(async move { low.enter(0, LONG).await });
        tokio::task::yield_now().await;
        let high = tokio::spawn(async move { high.enter(1, LONG).await });
        tokio::task::yield_now().await;
        // Two wait, and no more may: who comes last is turned away.
        assert_eq!(gate.enter(0, LONG).await.unwrap_err(), Refused::Full);
        drop(first);
        let high = high.await.unwrap().unwrap();
        assert!(!low.is_finished());
        drop(high);
        assert!(low.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_no_trace() {
        let gate = Arc::new(Gate::new(1, 2));
        let first = gate.enter(0, LONG).await.unwrap();
        let late = gate.enter(0, Duration::ZERO).await.unwrap_err();
        assert_eq!(late, Refused::Late(Duration::ZERO));
        drop(first);
        assert!(gate.enter(0, LONG).await.is_ok());
    }
}
