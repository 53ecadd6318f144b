//! Every call of every kind of write fails, is the last one of its process, or is the last one
//! before the power goes: the target is the old or the new state, whole.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use tidegate_checkpoint::fault::{Fault, FaultVfs};
use tidegate_checkpoint::vfs::{Kind, Vfs};
use tidegate_checkpoint::{Error, Mode, Result, StagedWrite, recover};

const OUT: &str = "/work/out";
const FILE: &str = "/work/one.csv";
/// More calls than any of the writes makes.
const CALLS_MAX: u64 = 1000;

type Tree = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    NewFile,
    ReplaceFile,
    NewDirectory,
    EmptyDirectory,
    Overwrite,
    OverwriteWithoutExchange,
    Append,
}

const CASES: [Case; 7] = [
    Case::NewFile,
    Case::ReplaceFile,
    Case::NewDirectory,
    Case::EmptyDirectory,
    Case::Overwrite,
    Case::OverwriteWithoutExchange,
    Case::Append,
];

#[test]
fn a_failing_call_leaves_the_old_or_the_new_state() {
    for case in CASES {
        for fault in [Fault::Eio, Fault::Enospc] {
            every_call(case, fault, 1);
        }
    }
}

#[test]
fn a_kill_leaves_the_old_or_the_new_state() {
    for case in CASES {
        every_call(case, Fault::Kill, 1);
    }
}

#[test]
fn a_power_loss_leaves_the_old_or_the_new_state() {
    for case in CASES {
        for seed in 0..40 {
            every_call(case, Fault::PowerLoss, seed);
        }
    }
}

#[test]
fn recovery_may_be_killed_at_any_call() {
    for case in [
        Case::Append,
        Case::OverwriteWithoutExchange,
        Case::Overwrite,
        Case::NewDirectory,
    ] {
        for fault in [Fault::Kill, Fault::PowerLoss] {
            for seed in 0..4 {
                kill_recovery(case, fault, seed);
            }
        }
    }
}

fn every_call(case: Case, fault: Fault, seed: u64) {
    let new = expected(case, seed);
    for call in 0..CALLS_MAX {
        let at = format!("{case:?}, {fault:?} at call {call}, seed {seed}");
        let disk = prepare(case, seed);
        let old = contents(&disk);
        let process = disk.process_with(call, fault);
        let outcome = write(case, &process);
        let fired = process.fired();
        drop(process);
        check(&disk.process(), &outcome, (&old, &new), &at);
        if !fired {
            assert!(outcome.is_ok(), "{at}: {outcome:?}");
            return;
        }
    }
    unreachable!("{case:?} makes more than {CALLS_MAX} calls");
}

fn kill_recovery(case: Case, fault: Fault, seed: u64) {
    let new = expected(case, seed);
    for call in 0..CALLS_MAX {
        let disk = prepare(case, seed);
        let old = contents(&disk);
        let process = disk.process_with(call, Fault::Kill);
        let outcome = write(case, &process);
        let written = process.fired();
        for again in 0..CALLS_MAX {
            let at = format!(
                "{case:?}, killed at {call}, then {fault:?} at call {again} of recovery, seed {seed}"
            );
            let recovering = disk.process_with(again, fault);
            let _ = recover(&recovering, Path::new(OUT));
            if !recovering.fired() {
                break;
            }
            assert!(again + 1 < CALLS_MAX, "{at}");
        }
        check(
            &disk.process(),
            &outcome,
            (&old, &new),
            &format!("{case:?} {call}"),
        );
        if !written {
            return;
        }
    }
}

/// After recovery the target is old or new; new if the writer was told so, old if it was told no.
fn check(vfs: &FaultVfs, outcome: &Result<()>, (old, new): (&Tree, &Tree), at: &str) {
    recover(vfs, Path::new(OUT)).unwrap_or_else(|error| unreachable!("{at}: {error}"));
    recover(vfs, Path::new("/work")).unwrap();
    let found = contents(vfs);
    assert!(
        &found == old || &found == new,
        "{at}: {outcome:?} gave {found:?}"
    );
    match outcome {
        Ok(()) => assert_eq!(&found, new, "{at}: it was told to be done"),
        // Decided, unless the decision itself did not reach the disk.
        Err(Error::Unfinished { .. }) => {}
        // The name may be published and only its durability have failed: either is honest.
        Err(Error::Io { doing: "sync", .. }) => {}
        // The dead do not speak.
        Err(error) if error.to_string().contains("is dead") => {}
        Err(error) => assert_eq!(&found, old, "{at}: {error}"),
    }
    assert_no_leftovers(vfs, at);
}

fn assert_no_leftovers(vfs: &FaultVfs, at: &str) {
    for dir in ["/work", OUT] {
        for name in vfs.list(Path::new(dir)).unwrap_or_default() {
            let name = name.to_string_lossy().into_owned();
            assert!(
                !name.starts_with(".tidegate-") && name != "_tidegate",
                "{at}: {dir}/{name} is left"
            );
        }
    }
}

fn prepare(case: Case, seed: u64) -> FaultVfs {
    let vfs = FaultVfs::new(seed);
    vfs.make_dir(Path::new("/work"), 0o755).unwrap();
    vfs.sync_dir(Path::new("/")).unwrap();
    match case {
        Case::NewFile | Case::NewDirectory => {}
        Case::ReplaceFile => put(&vfs, FILE, b"old"),
        Case::EmptyDirectory => vfs.make_dir(Path::new(OUT), 0o755).unwrap(),
        Case::Overwrite | Case::OverwriteWithoutExchange | Case::Append => {
            vfs.make_dir(Path::new(OUT), 0o755).unwrap();
            vfs.make_dir(&Path::new(OUT).join("k=1"), 0o755).unwrap();
            put(&vfs, "/work/out/old-0.csv", b"old 0");
            put(&vfs, "/work/out/k=1/old-1.csv", b"old 1");
        }
    }
    for dir in ["/work/out/k=1", OUT, "/work"] {
        let _ = vfs.sync_dir(Path::new(dir));
    }
    if case == Case::OverwriteWithoutExchange {
        vfs.forbid_exchange();
    }
    vfs
}

fn put(vfs: &FaultVfs, path: &str, bytes: &[u8]) {
    let mut file = vfs.create(Path::new(path)).unwrap();
    file.write_all(bytes).unwrap();
    file.sync().unwrap();
}

fn write(case: Case, vfs: &FaultVfs) -> Result<()> {
    let shared: Arc<dyn Vfs> = Arc::new(vfs.clone());
    let (mode, out, file) = (Mode::Overwrite, Path::new(OUT), Path::new(FILE));
    let started = match case {
        Case::NewFile | Case::ReplaceFile => StagedWrite::file(shared, file, mode)?,
        Case::NewDirectory | Case::EmptyDirectory => {
            StagedWrite::directory(shared, out, Mode::Error)?
        }
        Case::Overwrite | Case::OverwriteWithoutExchange => {
            StagedWrite::directory(shared, out, mode)?
        }
        Case::Append => StagedWrite::directory(shared, out, Mode::Append)?,
    };
    let write = started.unwrap();
    let names: &[&str] = match case {
        Case::NewFile | Case::ReplaceFile => &["one.csv"],
        _ => &["new-0.csv", "k=1/new-1.csv", "k=2/j=3/new-2.csv"],
    };
    for name in names {
        let mut file = write.create(name)?;
        let lost = |source| Error::Io {
            doing: "write",
            path: name.into(),
            source,
        };
        file.write_all(b"new ").map_err(lost)?;
        file.write_all(name.as_bytes()).map_err(lost)?;
        file.finish()?;
    }
    write.commit().map(drop)
}

fn expected(case: Case, seed: u64) -> Tree {
    let vfs = prepare(case, seed);
    write(case, &vfs).unwrap();
    let new = contents(&vfs);
    assert!(!new.is_empty());
    new
}

/// All files below `/work`, staging left out as readers do.
fn contents(vfs: &FaultVfs) -> Tree {
    let mut tree = Tree::new();
    read_below(vfs, Path::new("/work"), &mut tree);
    tree
}

fn read_below(vfs: &FaultVfs, dir: &Path, tree: &mut Tree) {
    for name in vfs.list(dir).unwrap() {
        let path = dir.join(&name);
        if name == "_tidegate" || name.to_string_lossy().starts_with('.') {
            continue;
        }
        match vfs.metadata(&path).unwrap().kind {
            Kind::Directory => read_below(vfs, &path, tree),
            _ => drop(tree.insert(path.display().to_string(), vfs.read(&path, 1000).unwrap())),
        }
    }
}
