//! Ctrl-C, SIGTERM and SIGHUP. A thread of its own hears them, so that they count even while the
//! main thread is stuck in a write: the first asks the work to end (writes are aborted, temporary
//! files removed), a second one, or the end of a grace period, ends the process.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::exit::Exit;

/// How long the work may take to end in order after it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Ctrl-C: end the statement.
    Interrupt,
    /// SIGTERM or SIGHUP: end the process.
    Terminate,
}

/// Tells what signals arrived. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Signals {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// 0, or what was heard and not cleared.
    heard: AtomicU8,
    /// In the REPL, Ctrl-C never ends the process.
    interactive: AtomicBool,
    /// Nothing has begun that would have to end in order.
    idle: AtomicBool,
    wake: Notify,
}

const INTERRUPT: u8 = 1;
const TERMINATE: u8 = 2;

impl Signals {
    /// Starts to listen. Signals that the parent told us to ignore (nohup, a background job of a
    /// script) stay ignored.
    pub(crate) fn install() -> Self {
        let shared = Arc::new(Shared::default());
        let listener = Arc::clone(&shared);
        let ignored = ignored_signals();
        let (ready, listens) = mpsc::channel();
        let spawned = std::thread::Builder::new()
            .name("signals".into())
            .stack_size(256 << 10)
            .spawn(move || listen(&listener, ignored, ready));
        // A signal before the thread listens would end the process without any order. Without the
        // thread the signals keep that action, and there is nothing to wait for.
        drop(spawned);
        let _ = listens.recv();
        Self { shared }
    }

    /// From now on Ctrl-C only tells, and never ends the process.
    pub(crate) fn set_interactive(&self) {
        self.shared.interactive.store(true, Ordering::Release);
    }

    /// Does what may wait long and leaves nothing to tidy up, as reading the statements: a signal
    /// ends the process at once, and so does one that came before.
    pub(crate) fn while_idle<T>(&self, work: impl FnOnce() -> T) -> T {
        // One side writes `idle` and then reads `heard`, the other the other way round: one of them sees both.
        self.shared.idle.store(true, Ordering::SeqCst);
        if self.shared.must_end() {
            std::process::exit(i32::from(Exit::Interrupted.code()));
        }
        let done = work();
        self.shared.idle.store(false, Ordering::Release);
        done
    }

    /// What was heard and not cleared.
    pub(crate) fn heard(&self) -> Option<Heard> {
        match self.shared.heard.load(Ordering::Acquire) {
            INTERRUPT => Some(Heard::Interrupt),
            TERMINATE => Some(Heard::Terminate),
            _ => None,
        }
    }

    /// Forgets a Ctrl-C. A request to end the process is not forgotten.
    pub(crate) fn clear(&self) {
        let heard = &self.shared.heard;
        let _ = heard.compare_exchange(INTERRUPT, 0, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Returns once something is heard that is not cleared.
    pub(crate) async fn wait(&self) -> Heard {
        loop {
            let woken = self.shared.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if let Some(heard) = self.heard() {
                return heard;
            }
            woken.await;
        }
    }
}

impl Shared {
    fn hear(&self, what: u8) {
        let before = self.heard.fetch_max(what, Ordering::SeqCst);
        let ctrl_c_only = what == INTERRUPT && self.interactive.load(Ordering::Acquire);
        let again = before != 0 && !ctrl_c_only;
        if again || self.idle.load(Ordering::SeqCst) {
            std::process::exit(i32::from(Exit::Interrupted.code()));
        }
        self.wake.notify_waiters();
    }

    fn must_end(&self) -> bool {
        match self.heard.load(Ordering::SeqCst) {
            INTERRUPT => !self.interactive.load(Ordering::Acquire),
            heard => heard == TERMINATE,
        }
    }
}

fn listen(shared: &Shared, ignored: u64, ready: mpsc::Sender<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let mut interrupt = hear(SignalKind::interrupt(), ignored);
        let mut terminate = hear(SignalKind::terminate(), ignored);
        let mut hang_up = hear(SignalKind::hangup(), ignored);
        drop(ready);
        loop {
            let grace = async {
                match shared.must_end() {
                    true => tokio::time::sleep(GRACE).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                () = next(&mut interrupt) => shared.hear(INTERRUPT),
                () = next(&mut terminate) => shared.hear(TERMINATE),
                () = next(&mut hang_up) => shared.hear(TERMINATE),
                () = grace => std::process::exit(i32::from(Exit::Interrupted.code())),
            }
        }
    });
}

fn hear(kind: SignalKind, ignored: u64) -> Option<Signal> {
    let bit = 1u64 << (kind.as_raw_value() - 1);
    match ignored & bit {
        0 => signal(kind).ok(),
        _ => None,
    }
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// The signals that this process was started to ignore, as a bit each.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
