//! The threads that compute. They belong to the session, beside whatever runtime the caller has, so
//! that a query never starves the caller's IO and works from a current-thread runtime or none.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::run::{Panicked, panic_text};

/// A pool of threads for queries. Dropping the last clone stops it without waiting, so it may be
/// dropped inside async code.
#[derive(Clone, Debug)]
pub struct CpuPool {
    owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner {
    /// None once it is stopped.
    runtime: Mutex<Option<Runtime>>,
    handle: Handle,
    threads: usize,
}

impl CpuPool {
    /// Starts `threads` threads; 0 takes one for each core.
    pub fn new(threads: usize) -> io::Result<Self> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            given => given,
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("tidegate-cpu")
            // Deep plans and expressions recurse; DataFusion itself asks for large stacks.
            .thread_stack_size(8 << 20)
            .enable_all()
            .build()?;
        Ok(Self {
            owner: Arc::new(Owner {
                handle: runtime.handle().clone(),
                runtime: Mutex::new(Some(runtime)),
                threads,
            }),
        })
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.owner.threads
    }

    /// Runs a future on the pool; dropping the returned one stops it. A panic is an error.
    pub async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Panicked> {
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn_on(future, &self.handle());
        match tasks.join_next().await {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(match error.try_into_panic() {
                Ok(panic) => Panicked(panic_text(&*panic)),
                Err(error) => Panicked(error.to_string()),
            }),
            None => Err(Panicked("its task was lost".into())),
        }
    }

    /// The handle to spawn on.
    pub fn handle(&self) -> Handle {
        self.owner.handle.clone()
    }

    /// Ends all work, and waits until it has let go of what it held: files, memory, locks. Calls
    /// to the system that take longer than `wait` are left behind. Nothing runs on it afterwards.
    pub fn stop(&self, wait: Duration) {
        let Some(runtime) = self.owner.runtime.lock().take() else {
            return;
        };
        match Handle::try_current() {
            Err(_) => runtime.shutdown_timeout(wait),
            // A runtime must not be awaited on a thread of another one.
            Ok(_) => {
                let stopped = std::thread::spawn(move || runtime.shutdown_timeout(wait)).join();
                debug_assert!(stopped.is_ok(), "stopping a runtime does not panic");
            }
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.get_mut().take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Takes its time to be dropped.
    struct Slow(Arc<Mutex<bool>>);

    impl Drop for Slow {
        fn drop(&mut self) {
            std::thread::sleep(Duration::from_millis(50));
            *self.0.lock() = true;
        }
    }

    fn check_stopped(pool: CpuPool) {
        let dropped = Arc::new(Mutex::new(false));
        let held = Slow(Arc::clone(&dropped));
        let (started, begun) = std::sync::mpsc::channel();
        pool.handle().spawn(async move {
            let _held = held;
            started.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        begun.recv().unwrap();
        pool.stop(Duration::from_secs(5));
        assert!(*dropped.lock());
        pool.stop(Duration::from_secs(5));
    }

    #[test]
    fn stopping_waits_until_everything_is_dropped() {
        check_stopped(CpuPool::new(1).unwrap());
    }

    #[tokio::test]
    async fn it_can_be_stopped_inside_another_runtime() {
        check_stopped(CpuPool::new(1).unwrap());
    }

    #[tokio::test]
    async fn what_is_run_after_the_stop_is_an_error() {
        let pool = CpuPool::new(1).unwrap();
        pool.stop(Duration::ZERO);
        assert!(pool.run(async { 1 }).await.is_err());
    }
}
