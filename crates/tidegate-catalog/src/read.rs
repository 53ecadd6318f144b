//! Blocking work on several files at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::Handle;

use crate::error::Result;

/// How many first bytes tell a format.
pub(crate) const HEAD_BYTES: usize = 4_096;
/// Fewer files than this are read on the calling thread.
const PARALLEL_FROM: usize = 16;

/// Calls `work` for each item on up to `threads` threads; results come in the order of the items.
pub(crate) fn each<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Vec<Result<R>> {
    if items.len() < PARALLEL_FROM || threads < 2 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    // Reading from an object store needs the runtime of the caller.
    let runtime = Handle::try_current().ok();
    let run = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            match items.get(at) {
                Some(item) => done.push((at, work(item))),
                None => return done,
            }
        }
    };
    let mut done: Vec<(usize, Result<R>)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|_| {
                scope.spawn(|| {
                    let _entered = runtime.as_ref().map(Handle::enter);
                    run()
                })
            })
            .collect();
        let mut done = run();
        for other in others {
            match other.join() {
                Ok(theirs) => done.extend(theirs),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
