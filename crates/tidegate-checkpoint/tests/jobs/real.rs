//! Real processes on the real disk: killed at random moments, and stopped while they own a job.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tidegate_checkpoint::frames::FrameWriter;
use tidegate_checkpoint::job::{Job, Jobs, Open, TaskKey};
use tidegate_checkpoint::{Error, RealVfs};

use tidegate_testing::random::Random;

use super::{cases, seed};

const DIR: &str = "TIDEGATE_JOBS_DIR";
/// More tasks than a child seals before it is killed the last time.
const TASKS: u32 = 100_000;
const KILLS: u64 = 25;
const WAIT: Duration = Duration::from_secs(60);

fn open(dir: &Path) -> Result<Open, Error> {
    let jobs = Jobs::new(Arc::new(RealVfs), dir.join("jobs"), Arc::new(|| 0));
    jobs.open(&"real".parse()?, b"request")
}

/// Waits for the lock of one that was just killed.
fn opened(dir: &Path) -> Job {
    match open(dir).unwrap() {
        Open::New(job) | Open::Resumed(job) => job,
        other => unreachable!("{other:?}"),
    }
}

/// Does nothing in a normal run; in the child it seals until it is killed, and writes down what was promised.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let dir = Path::new(&dir);
    let job = opened(dir);
    if job.spec(0).unwrap().is_none() {
        job.put_spec(0, b"spec").unwrap();
    }
    let mut promised = fs::OpenOptions::new();
    let mut promised = promised
        .create(true)
        .append(true)
        .open(dir.join("promised"))
        .unwrap();
    let found = job.sealed(0).unwrap();
    for task in found.good.len() as u32..TASKS {
        let key = TaskKey {
            statement: 0,
            stage: 0,
            task,
        };
        let attempt = job.epoch() as u32;
        let (place, origin) = (job.place(key, attempt), job.origin(key, attempt));
        let mut writer = FrameWriter::create_durable(Arc::new(RealVfs), &place, origin).unwrap();
        for frame in 0..20 {
            writer.append(frame % 4, 1, &[frame as u8; 500]).unwrap();
        }
        let file = job
            .seal(key, attempt, writer.finish().unwrap(), Duration::ZERO)
            .unwrap();
        let hash = blake3::Hash::from(file.blake3().unwrap());
        promised
            .write_all(format!("{task} {hash}\n").as_bytes())
            .unwrap();
    }
}

fn spawn(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "real::child", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The tasks that a child was told to be sealed, with their hashes.
fn promised(dir: &Path) -> BTreeMap<u32, String> {
    let text = fs::read_to_string(dir.join("promised")).unwrap_or_default();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let (task, hash) = line.split_once(' ').unwrap();
        let before = found.insert(task.parse().unwrap(), hash.to_owned());
        assert_eq!(before, None, "task {task} was run again");
    }
    found
}

#[test]
fn what_a_killed_process_had_sealed_is_found_by_the_next() {
    let (begin, dir, kills) = (Instant::now(), tempfile::tempdir().unwrap(), cases(KILLS));
    let mut random = Random::of_case(seed(), 0);
    for kill in 0..kills {
        let mut child = spawn(dir.path());
        std::thread::sleep(Duration::from_millis(10 + random.below(90) as u64));
        assert!(
            child.try_wait().unwrap().is_none(),
            "the child failed: see its output"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        let job = opened(dir.path());
        let found = job.sealed(0).unwrap();
        assert!(found.bad.is_empty(), "kill {kill}: {:?}", found.bad);
        let good = found.good.iter().map(|(key, _, file)| {
            (
                key.task,
                blake3::Hash::from(file.blake3().unwrap()).to_string(),
            )
        });
        let good: BTreeMap<u32, String> = good.collect();
        for (task, hash) in promised(dir.path()) {
            assert_eq!(
                good.get(&task),
                Some(&hash),
                "kill {kill}: task {task} was sealed"
            );
        }
        let left = fs::read_dir(dir.path().join("jobs/real/sealed"))
            .unwrap()
            .count();
        assert_eq!(left, good.len(), "kill {kill}: left over");
    }
    let job = opened(dir.path());
    assert_eq!(job.verify(true).unwrap(), []);
    let sealed = job.sealed(0).unwrap().good.len();
    assert!(sealed > 0, "nothing was ever sealed");
    eprintln!(
        "{kills} kills, seed {}: {sealed} tasks sealed in {} epochs, {:.1?}",
        seed(),
        job.epoch(),
        begin.elapsed()
    );
}

#[test]
fn a_stopped_process_keeps_its_job_and_a_killed_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = spawn(dir.path());
    let begin = Instant::now();
    while promised(dir.path()).is_empty() {
        assert!(begin.elapsed() < WAIT, "the child seals nothing");
        std::thread::yield_now();
    }
    let pid = Pid::from_child(&child);
    for signal in [Signal::STOP, Signal::CONT] {
        kill_process(pid, signal).unwrap();
        let error = open(dir.path()).unwrap_err();
        let expected = format!("process {}", child.id());
        assert!(
            matches!(&error, Error::Owned { by, .. } if *by == expected),
            "{error}"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(opened(dir.path()).epoch(), 2);
}
