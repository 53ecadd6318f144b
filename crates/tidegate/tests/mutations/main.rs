//! Damaged files of every format: an answer or an error that names the file; never a panic, an
//! abort, a hang, or memory beyond the limit. Cases run in processes of their own.
//!
//! `cargo test` tries 1,000; `TIDEGATE_CAMPAIGN=20000 cargo test -p tidegate --test mutations` tries
//! 20,000, `TIDEGATE_SEED=7` others, and `TIDEGATE_CASE=123` that one alone. Files that fail are
//! kept below the target directory, in `tmp/mutations`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod mutate;
mod samples;
mod worker;

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use worker::Job;

const CASES: u64 = 1_000;
const SEED: u64 = 20_260_718;
const WORKERS: u64 = 2;
/// A case that is not done after this is a hang, whatever its session thinks.
const HANG: Duration = Duration::from_secs(20);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// A process that tries the cases `next`, `next + step` and so on below `end`.
struct Worker {
    job: Job,
    child: Child,
    since: Instant,
}

impl Worker {
    fn start(job: Job) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["damaged_files_never_harm", "--exact", "--nocapture"])
            .env(worker::VARIABLE, job.to_text())
            .spawn()
            .unwrap();
        Self {
            job,
            child,
            since: Instant::now(),
        }
    }

    /// Looks how far it is; a process that died or hangs is a finding, and another goes on.
    fn look(&mut self, findings: &mut Vec<String>) -> bool {
        let at = self.job.progress();
        if at > self.job.next {
            (self.job.next, self.since) = (at, Instant::now());
        }
        let what = match self.child.try_wait().unwrap() {
            Some(status) if status.success() => return true,
            Some(status) => format!("case {at}: the process died: {status}"),
            None if self.since.elapsed() > HANG => {
                self.child.kill().unwrap();
                self.child.wait().unwrap();
                format!("case {at}: it hangs")
            }
            None => return false,
        };
        findings.push(what);
        worker::keep(&self.job, at);
        self.job.next = at + self.job.step;
        *self = Self::start(self.job.clone());
        false
    }
}

fn campaign(dir: &Path) -> Vec<String> {
    let seed = number("TIDEGATE_SEED").unwrap_or(SEED);
    let (first, end) = match number("TIDEGATE_CASE") {
        Some(case) => (case, case + 1),
        None => (0, number("TIDEGATE_CAMPAIGN").unwrap_or(CASES)),
    };
    let begin = Instant::now();
    let job = |worker| Job {
        dir: dir.to_path_buf(),
        worker,
        seed,
        next: first + worker,
        step: WORKERS,
        end,
    };
    let mut workers: Vec<Worker> = (0..WORKERS).map(|n| Worker::start(job(n))).collect();
    let mut findings = Vec::new();
    while !workers.is_empty() {
        workers.retain_mut(|worker| !worker.look(&mut findings));
        std::thread::sleep(Duration::from_millis(20));
    }
    for worker in 0..WORKERS {
        findings.extend(job(worker).findings());
    }
    let (cases, took) = (end - first, begin.elapsed().as_secs());
    eprintln!(
        "{cases} damaged files, seed {seed}: {} findings, {took} s",
        findings.len()
    );
    (0..WORKERS).for_each(|worker| eprint!("{}", job(worker).summary()));
    findings
}

#[test]
fn damaged_files_never_harm() {
    if let Ok(text) = std::env::var(worker::VARIABLE) {
        return worker::run(&Job::from_text(&text));
    }
    let dir = tempfile::tempdir().unwrap();
    samples::make(dir.path());
    let findings = campaign(dir.path());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}
