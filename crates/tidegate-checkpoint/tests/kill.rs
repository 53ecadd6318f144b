//! A child process that writes without end is killed at random moments: what it leaves is whole.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tidegate_checkpoint::{Mode, RealVfs, StagedWrite, recover};

const DIR: &str = "TIDEGATE_KILL_DIR";
const PARTS: usize = 3;
const KILLS: u64 = 40;
const LINES: usize = 2000;

/// Does nothing in a normal run; in the child it writes until it is killed.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    for round in 0.. {
        write_all(Path::new(&dir), &format!("{}-{round}", std::process::id()));
    }
}

fn write_all(dir: &Path, round: &str) {
    let vfs = || Arc::new(RealVfs);
    let one = StagedWrite::file(vfs(), &dir.join("one.csv"), Mode::Overwrite)
        .unwrap()
        .unwrap();
    let over = StagedWrite::directory(vfs(), &dir.join("over"), Mode::Overwrite)
        .unwrap()
        .unwrap();
    let add = StagedWrite::directory(vfs(), &dir.join("add"), Mode::Append)
        .unwrap()
        .unwrap();
    put(&one, "", round);
    for part in 0..PARTS {
        put(&over, &over.part_name(part, "csv"), round);
        put(
            &add,
            &format!("k={part}/{}", add.part_name(part, "csv")),
            round,
        );
    }
    one.commit().unwrap();
    over.commit().unwrap();
    add.commit().unwrap();
}

fn put(write: &StagedWrite, name: &str, round: &str) {
    let mut file = write.create(name).unwrap();
    for _ in 0..LINES {
        writeln!(file, "{round}").unwrap();
    }
    file.finish().unwrap();
}

#[test]
fn what_a_killed_process_leaves_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    for kill in 0..KILLS {
        let mut child = spawn(dir.path());
        // Long enough to begin; the moment itself is the scheduler's.
        let busy = if written(dir.path()) { 1 } else { 1 + kill / 4 };
        std::thread::sleep(Duration::from_millis(10 + kill * 7 % 90) * busy as u32);
        child.kill().unwrap();
        child.wait().unwrap();
        check(dir.path());
    }
    assert!(written(dir.path()), "nothing was ever written");
}

#[test]
fn two_processes_neither_tear_nor_sweep_each_other() {
    let dir = tempfile::tempdir().unwrap();
    for kill in 0..KILLS / 4 {
        let (mut one, mut two) = (spawn(dir.path()), spawn(dir.path()));
        std::thread::sleep(Duration::from_millis(40 + kill * 13 % 90));
        one.kill().unwrap();
        one.wait().unwrap();
        std::thread::sleep(Duration::from_millis(40));
        assert!(
            two.try_wait().unwrap().is_none(),
            "the other process failed: see its output"
        );
        two.kill().unwrap();
        two.wait().unwrap();
        check(dir.path());
    }
    assert!(written(dir.path()), "nothing was ever written");
}

#[test]
fn standard_output_is_shared_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    fs::write(&path, "before\n").unwrap();
    let out = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_of_stdout", "--nocapture"])
        .env(DIR, dir.path())
        .stdout(out)
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("before\n") && text.contains("a,b\n1,2\n"),
        "{text}"
    );
}

#[test]
fn child_of_stdout() {
    if std::env::var_os(DIR).is_some() {
        let target = Path::new("/dev/stdout");
        let write = StagedWrite::file(Arc::new(RealVfs), target, Mode::Error)
            .unwrap()
            .unwrap();
        let mut file = write.create("").unwrap();
        file.write_all(b"a,b\n1,2\n").unwrap();
        file.finish().unwrap();
        write.commit().unwrap();
    }
}

fn written(dir: &Path) -> bool {
    fs::read_dir(dir.join("add")).is_ok_and(|mut entries| entries.next().is_some())
}

fn spawn(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn check(dir: &Path) {
    for name in [".", "over", "add"] {
        recover(&RealVfs, &dir.join(name)).unwrap();
    }
    let left = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?} is left");
    if dir.join("one.csv").exists() {
        round_of(&dir.join("one.csv"));
    }
    for (name, one_round) in [("over", true), ("add", false)] {
        let mut rounds = BTreeMap::new();
        count_rounds(&dir.join(name), &mut rounds);
        assert!(
            rounds.values().all(|parts| *parts == PARTS),
            "{name}: {rounds:?}"
        );
        assert!(!one_round || rounds.len() <= 1, "{name}: {rounds:?}");
    }
}

fn count_rounds(dir: &Path, rounds: &mut BTreeMap<String, usize>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        assert!(!path.ends_with("_tidegate"), "{} is left", path.display());
        if path.is_dir() {
            count_rounds(&path, rounds);
        } else {
            *rounds.entry(round_of(&path)).or_default() += 1;
        }
    }
}

/// The round a file was written in; all its lines say the same, none is missing.
fn round_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), LINES, "{}", path.display());
    assert!(
        lines.iter().all(|line| *line == lines[0]),
        "{}",
        path.display()
    );
    lines[0].to_owned()
}
