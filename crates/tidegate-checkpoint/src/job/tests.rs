//! What the store of jobs does and refuses, call by call.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::*;
use crate::fault::FaultVfs;
use crate::frames::{FrameFile, FrameWriter};
use crate::vfs::LockFile;

const REQUEST: &[u8] = b"SELECT 1";
const KEY: TaskKey = TaskKey {
    statement: 0,
    stage: 1,
    task: 2,
};

fn jobs(vfs: &FaultVfs) -> Jobs {
    Jobs::new(
        Arc::new(vfs.clone()),
        "/home/jobs".into(),
        Arc::new(|| 1000),
    )
}

fn name() -> JobName {
    "nightly".parse().unwrap()
}

fn try_open(vfs: &FaultVfs) -> Result<Open> {
    jobs(vfs).open(&name(), REQUEST)
}

fn open(vfs: &FaultVfs) -> Job {
    match try_open(vfs).unwrap() {
        Open::New(job) | Open::Resumed(job) => job,
        other => unreachable!("{other:?}"),
    }
}

/// A job with the spec of one statement.
fn planned(vfs: &FaultVfs) -> Job {
    let job = open(vfs);
    job.put_spec(0, b"spec").unwrap();
    job
}

fn write(job: &Job, key: TaskKey, attempt: u32, text: &[u8]) -> FrameFile {
    let (place, origin) = (job.place(key, attempt), job.origin(key, attempt));
    let vfs = Arc::clone(&job.vfs);
    let mut writer = FrameWriter::create_durable(vfs, &place, origin).unwrap();
    writer.append(0, 1, text).unwrap();
    writer.finish().unwrap()
}

fn seal(job: &Job, key: TaskKey, attempt: u32, text: &[u8]) -> Result<FrameFile> {
    let file = write(job, key, attempt, text);
    job.seal(key, attempt, file, Duration::from_millis(7))
}

/// The texts that are sealed of statement 0, and how many files are damaged.
fn sealed(job: &Job) -> (Vec<(TaskKey, u32, Vec<u8>)>, usize) {
    let tasks = job.sealed(0).unwrap();
    let good = tasks.good.iter().map(|(key, attempt, file)| {
        let reader = file.open(&*job.vfs).unwrap();
        (*key, *attempt, reader.read(&file.frames()[0]).unwrap())
    });
    (good.collect(), tasks.bad.len())
}

fn tree_of(vfs: &FaultVfs, dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for name in vfs.list(dir).unwrap() {
        let path = dir.join(name);
        match vfs.metadata(&path).unwrap().kind {
            Kind::Directory => found.extend(tree_of(vfs, &path)),
            _ => drop(found.insert(path.clone(), vfs.read(&path, 1 << 20).unwrap())),
        }
    }
    found
}

fn put(vfs: &FaultVfs, path: &str, bytes: &[u8]) {
    let path = Path::new(path);
    let _ = vfs.remove_file(path);
    vfs.create(path).unwrap().write_all(bytes).unwrap();
}

fn is_misuse<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::Misuse { .. }))
}

fn is_corrupt<T>(result: &Result<T>, file: &str) -> bool {
    match result {
        Err(Error::Corrupt { path, .. }) => path.ends_with(file),
        _ => false,
    }
}

#[test]
fn a_job_is_made_once_resumed_and_finished() {
    let vfs = FaultVfs::new(1);
    assert!(jobs(&vfs).look(&name()).unwrap().is_none());
    assert!(matches!(try_open(&vfs).unwrap(), Open::New(job) if job.epoch() == 1));
    let Open::Resumed(job) = try_open(&vfs).unwrap() else {
        unreachable!("it was made");
    };
    assert_eq!((job.epoch(), job.records().len()), (2, 2));
    assert_eq!(derive(&job.records()), Ok(job.state()));
    job.append(Record::Ended { at_ms: 5 }).unwrap();
    let late = job.append(Record::Ended { at_ms: 6 });
    assert!(matches!(late, Err(Error::Refused { .. })));
    drop(job);
    let before = tree_of(&vfs, Path::new("/home/jobs"));
    let Open::Finished(seen) = try_open(&vfs).unwrap() else {
        unreachable!("it has ended");
    };
    assert_eq!(seen.records.len(), 3);
    assert_eq!(tree_of(&vfs, Path::new("/home/jobs")), before);
}

#[test]
fn another_request_is_told_whoever_owns_the_job() {
    let vfs = FaultVfs::new(1);
    let job = open(&vfs);
    for _ in 0..2 {
        let open = jobs(&vfs).open(&name(), b"SELECT 2").unwrap();
        assert!(matches!(open, Open::OtherRequest { theirs } if theirs == REQUEST));
    }
    drop(job);
    let open = jobs(&vfs).open(&name(), b"SELECT 2").unwrap();
    assert!(matches!(open, Open::OtherRequest { .. }));
}

#[test]
fn a_job_has_one_owner() {
    let vfs = FaultVfs::new(1);
    let job = open(&vfs);
    let by = format!("process {}", std::process::id());
    for process in [vfs.clone(), vfs.process()] {
        let error = try_open(&process).unwrap_err();
        assert!(
            matches!(&error, Error::Owned { by: who, .. } if *who == by),
            "{error}"
        );
        let removed = jobs(&process).remove(&name());
        assert!(matches!(removed, Err(Error::Owned { .. })));
    }
    let look = || jobs(&vfs).look(&name()).unwrap().unwrap();
    assert_eq!(look().owner, Some(by));
    drop(job);
    assert_eq!(look().owner, None);
    let other = vfs.process();
    let job = open(&other);
    other.kill();
    assert_eq!(open(&vfs.process()).epoch(), 3);
    assert!(job.append(Record::Ended { at_ms: 0 }).is_err());
}

#[test]
fn a_file_system_without_locks_is_refused() {
    let vfs = FaultVfs::new(1);
    vfs.forbid_locks();
    let error = try_open(&vfs).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}

/// `rm lock` lets a second process in: the first one stops.
#[test]
fn an_owner_whose_lock_was_removed_records_nothing_any_more() {
    let vfs = FaultVfs::new(1);
    let job = planned(&vfs);
    vfs.remove_file(Path::new("/home/jobs/nightly/lock"))
        .unwrap();
    let second = open(&vfs.process());
    assert!(is_corrupt(&seal(&job, KEY, 0, b"first"), "lock"));
    assert!(is_corrupt(&job.append(Record::Ended { at_ms: 0 }), "lock"));
    seal(&second, KEY, 0, b"second").unwrap();
    drop((job, second));
    let (tasks, bad) = sealed(&open(&vfs));
    assert_eq!((tasks, bad), (vec![(KEY, 0, b"second".to_vec())], 0));
}

#[test]
fn the_last_sign_of_life_is_recorded_by_the_next_owner() {
    let vfs = FaultVfs::new(1);
    let now = Arc::new(AtomicI64::new(1000));
    let clock = Arc::clone(&now);
    let now_ms: Clock = Arc::new(move || clock.load(Ordering::Relaxed));
    let jobs = Jobs::new(Arc::new(vfs.clone()), "/jobs".into(), now_ms);
    let open = |at_ms| {
        now.store(at_ms, Ordering::Relaxed);
        match jobs.open(&name(), REQUEST).unwrap() {
            Open::New(job) | Open::Resumed(job) => job,
            other => unreachable!("{other:?}"),
        }
    };
    let beat_of = |job: &Job| match job.records().last() {
        Some(Record::Epoch { last_beat_ms, .. }) => *last_beat_ms,
        other => unreachable!("{other:?}"),
    };
    let job = open(1000);
    assert_eq!(beat_of(&job), None);
    now.store(5000, Ordering::Relaxed);
    job.beat();
    drop(job);
    assert_eq!(beat_of(&open(9000)), Some(5000));
    assert_eq!(beat_of(&open(9500)), Some(9000));
}

#[test]
fn what_is_sealed_is_found_by_the_next_owner() {
    let vfs = FaultVfs::new(1);
    let job = planned(&vfs);
    let other = TaskKey { task: 0, ..KEY };
    let file = seal(&job, KEY, 3, b"rows").unwrap();
    assert!(file.path().to_string_lossy().ends_with(".rows"));
    assert_eq!(file.of(0).count(), 1);
    drop(job);
    let job = open(&vfs);
    seal(&job, other, 0, b"more").unwrap();
    let expected = vec![(other, 0, b"more".to_vec()), (KEY, 3, b"rows".to_vec())];
    assert_eq!(sealed(&job), (expected.clone(), 0));
    drop(job);
    assert_eq!(sealed(&open(&vfs)), (expected, 0));
    assert_eq!(jobs(&vfs).verify(&name(), true).unwrap(), Some(vec![]));
}

#[test]
fn the_first_to_seal_wins_until_it_is_lost() {
    let vfs = FaultVfs::new(1);
    let job = planned(&vfs);
    let second = write(&job, KEY, 1, b"second");
    seal(&job, KEY, 0, b"first").unwrap();
    let place = second.path().to_path_buf();
    let refused = job.seal(KEY, 1, second, Duration::ZERO);
    assert!(is_misuse(&refused), "{refused:?}");
    assert!(vfs.metadata(&place).is_err(), "the loser's file is gone");
    assert_eq!(sealed(&job).0, [(KEY, 0, b"first".to_vec())]);
    job.lose(KEY, "a bad disk").unwrap();
    job.lose(KEY, "said twice").unwrap();
    assert_eq!(sealed(&job), (vec![], 0));
    seal(&job, KEY, 1, b"again").unwrap();
    assert_eq!(sealed(&job).0, [(KEY, 1, b"again".to_vec())]);
    assert_eq!(
        vfs.list(Path::new("/home/jobs/nightly/sealed"))
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn what_is_no_output_of_the_attempt_is_not_sealed() {
    let vfs = FaultVfs::new(1);
    let job = open(&vfs);
    assert!(is_misuse(&seal(&job, KEY, 0, b"x")), "there is no spec");
    job.put_spec(0, b"spec").unwrap();
    let of_other = write(&job, KEY, 1, b"x");
    assert!(is_misuse(&job.seal(KEY, 0, of_other, Duration::ZERO)));
    let shared: Arc<dyn Vfs> = Arc::new(vfs.clone());
    let (place, origin) = (job.place(KEY, 0), job.origin(KEY, 0));
    let quick = FrameWriter::create(Arc::clone(&shared), &place, origin).unwrap();
    assert!(is_misuse(&job.seal(
        KEY,
        0,
        quick.finish().unwrap(),
        Duration::ZERO
    )));
    let elsewhere = Path::new("/home/x.tmp");
    let writer = FrameWriter::create_durable(shared, elsewhere, origin).unwrap();
    assert!(is_misuse(&job.seal(
        KEY,
        0,
        writer.finish().unwrap(),
        Duration::ZERO
    )));
    assert!(vfs.metadata(elsewhere).is_ok(), "it is not ours to remove");
    let cut = write(&job, KEY, 0, b"x");
    put(&vfs, cut.path().to_str().unwrap(), b"short");
    assert!(matches!(
        job.seal(KEY, 0, cut, Duration::ZERO),
        Err(Error::Corrupt { .. })
    ));
    let file = seal(&job, KEY, 0, b"x").unwrap();
    assert!(
        is_misuse(&job.seal(KEY, 0, file, Duration::ZERO)),
        "sealed twice"
    );
    assert_eq!(sealed(&job), (vec![(KEY, 0, b"x".to_vec())], 0));
}

#[test]
fn a_dropped_stage_goes_and_no_other() {
    let vfs = FaultVfs::new(1);
    let job = planned(&vfs);
    job.put_spec(1, b"spec").unwrap();
    let of_stage = TaskKey { stage: 2, ..KEY };
    let of_statement = TaskKey {
        statement: 1,
        ..KEY
    };
    for key in [KEY, of_stage, of_statement] {
        seal(&job, key, 0, b"x").unwrap();
    }
    job.drop_stage(0, 1).unwrap();
    let left: Vec<TaskKey> = job.state().sealed.keys().copied().collect();
    assert_eq!(left, [of_stage, of_statement]);
    assert_eq!(
        vfs.list(Path::new("/home/jobs/nightly/sealed"))
            .unwrap()
            .len(),
        2
    );
    assert_eq!(sealed(&job).1, 0);
}

#[test]
fn a_spec_is_frozen_once_and_read_as_it_was() {
    let vfs = FaultVfs::new(1);
    let job = open(&vfs);
    assert_eq!(job.spec(7).unwrap(), None);
    job.put_spec(7, b"spec").unwrap();
    assert!(is_misuse(&job.put_spec(7, b"other")));
    drop(job);
    let job = open(&vfs);
    assert_eq!(job.spec(7).unwrap().unwrap(), b"spec");
    let path = "/home/jobs/nightly/statement-00007.spec";
    for bad in [&b"spex"[..], b"spe", b"specs", b""] {
        put(&vfs, path, bad);
        assert!(is_corrupt(&job.spec(7), "statement-00007.spec"), "{bad:?}");
    }
    vfs.remove_file(Path::new(path)).unwrap();
    assert!(is_corrupt(&job.spec(7), "statement-00007.spec"));
    assert_eq!(job.verify(false).unwrap().len(), 1);
}

#[test]
fn what_the_store_records_itself_is_not_appended() {
    let vfs = FaultVfs::new(1);
    let job = planned(&vfs);
    let dropped = Record::Dropped {
        statement: 0,
        stage: 0,
    };
    let lost = Record::Lost {
        key: KEY,
        why: "x".into(),
    };
    for record in [job.records()[0].clone(), dropped, lost] {
        assert!(is_misuse(&job.append(record)));
    }
    let done = Record::Done {
        statement: 0,
        rows: 3,
        hash: None,
        pins: Vec::new(),
        at_ms: 1,
    };
    let started = Record::Started {
        key: KEY,
        attempt: 0,
    };
    job.append(started.clone()).unwrap();
    job.append(done.clone()).unwrap();
    drop(job);
    assert_eq!(open(&vfs).records()[2..4], [started, done]);
}

#[test]
fn what_is_not_recorded_is_removed_by_the_next_owner() {
    let vfs = FaultVfs::new(1);
    let job = planned(&vfs);
    seal(&job, KEY, 0, b"x").unwrap();
    write(&job, KEY, 1, b"never sealed");
    drop(job);
    let dir = "/home/jobs/nightly";
    let before = tree_of(&vfs, Path::new(dir)).len();
    put(
        &vfs,
        &format!("{dir}/sealed/0-0-0-0-0123456789abcdef.rows"),
        b"",
    );
    put(&vfs, &format!("{dir}/journal-0123456789abcdef.tmp"), b"");
    put(&vfs, &format!("{dir}/statement-00009.spec"), b"");
    put(&vfs, &format!("{dir}/sealed/notes.txt"), b"somebody's");
    let job = open(&vfs);
    let after = tree_of(&vfs, Path::new(dir));
    assert_eq!(after.len(), before - 1 + 1, "{:?}", after.keys());
    assert_eq!(sealed(&job), (vec![(KEY, 0, b"x".to_vec())], 0));
}

#[test]
fn looking_changes_nothing() {
    let vfs = FaultVfs::new(1);
    let job = planned(&vfs);
    seal(&job, KEY, 0, b"x").unwrap();
    let records = job.records();
    drop(job);
    let dir = Path::new("/home/jobs");
    let path = "/home/jobs/nightly/journal";
    let mut torn = vfs.read(Path::new(path), 1 << 20).unwrap();
    let look = || jobs(&vfs).look(&name()).unwrap().unwrap();
    assert!(!look().journal_cut);
    torn.extend_from_slice(b"torn");
    put(&vfs, path, &torn);
    let before = tree_of(&vfs, dir);
    let seen = look();
    assert_eq!((seen.request, seen.records), (REQUEST.to_vec(), records));
    assert!(seen.journal_cut);
    assert_eq!(jobs(&vfs).verify(&name(), true).unwrap().unwrap().len(), 1);
    assert_eq!(tree_of(&vfs, dir), before);
    assert!(open(&vfs).journal_cut());
    assert!(!look().journal_cut, "it was cut");
}

#[test]
fn jobs_are_named_sorted_and_nothing_else_is() {
    let vfs = FaultVfs::new(1);
    let jobs = jobs(&vfs);
    assert!(jobs.names().unwrap().is_empty());
    for name in ["b", "a.1", "C"] {
        jobs.open(&name.parse().unwrap(), REQUEST).unwrap();
    }
    for dir in ["/home/jobs/empty", "/home/jobs/.hidden"] {
        vfs.make_dir(Path::new(dir), 0o755).unwrap();
    }
    put(&vfs, "/home/jobs/file", b"");
    put(&vfs, "/home/jobs/.hidden/request", b"");
    let names: Vec<String> = jobs
        .names()
        .unwrap()
        .iter()
        .map(|n| n.to_string())
        .collect();
    assert_eq!(names, ["C", "a.1", "b"]);
}

#[test]
fn a_removed_job_leaves_nothing_and_its_name_is_free() {
    let vfs = FaultVfs::new(1);
    let jobs = jobs(&vfs);
    assert!(!jobs.remove(&name()).unwrap());
    let job = planned(&vfs);
    seal(&job, KEY, 0, b"x").unwrap();
    vfs.make_dir(&job.dir().join("tables"), 0o755).unwrap();
    put(&vfs, "/home/jobs/nightly/tables/t", b"12345");
    drop(job);
    let tree = tree_of(&vfs, Path::new("/home/jobs"));
    let bytes: usize = tree.values().map(Vec::len).sum();
    assert_eq!(jobs.bytes(&name()).unwrap(), bytes as u64);
    assert!(jobs.remove(&name()).unwrap());
    assert_eq!(vfs.list(Path::new("/home/jobs")).unwrap().len(), 0);
    assert_eq!(jobs.bytes(&name()).unwrap(), 0);
    assert!(matches!(try_open(&vfs).unwrap(), Open::New(_)));
}

#[test]
fn a_directory_that_is_no_job_is_not_removed() {
    let vfs = FaultVfs::new(1);
    drop(planned(&vfs));
    put(&vfs, "/home/jobs/nightly/thesis.txt", b"years of work");
    let error = jobs(&vfs).remove(&name()).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(
        vfs.metadata(Path::new("/home/jobs/nightly/thesis.txt"))
            .is_ok()
    );
}

#[test]
fn files_that_are_gone_are_said_by_name() {
    for file in ["request", "journal"] {
        let vfs = FaultVfs::new(1);
        let job = planned(&vfs);
        seal(&job, KEY, 0, b"x").unwrap();
        drop(job);
        vfs.remove_file(&Path::new("/home/jobs/nightly").join(file))
            .unwrap();
        let opened = try_open(&vfs);
        assert!(is_corrupt(&opened, file), "{opened:?}");
    }
    let vfs = FaultVfs::new(1);
    let job = planned(&vfs);
    let file = seal(&job, KEY, 0, b"x").unwrap();
    vfs.remove_file(file.path()).unwrap();
    let tasks = job.sealed(0).unwrap();
    assert_eq!((tasks.good.len(), tasks.bad[0].0), (0, KEY));
    assert_eq!(job.verify(true).unwrap()[0].key, Some(KEY));
}

#[test]
fn the_limits_of_requests_and_specs_hold() {
    let vfs = FaultVfs::new(1);
    let request = vec![0; REQUEST_BYTES_MAX as usize + 1];
    assert!(is_misuse(&jobs(&vfs).open(&name(), &request)));
    let Open::New(job) = jobs(&vfs).open(&name(), &request[1..]).unwrap() else {
        unreachable!("it is new");
    };
    let spec = vec![0; SPEC_BYTES_MAX as usize + 1];
    assert!(is_misuse(&job.put_spec(0, &spec)));
}

#[test]
fn verifying_says_every_file_that_is_not_as_it_was() {
    let vfs = FaultVfs::new(1);
    let job = planned(&vfs);
    let file = seal(&job, KEY, 0, b"some rows").unwrap();
    let sealed = file.path().to_str().unwrap().to_owned();
    assert_eq!(job.verify(true).unwrap(), []);
    let dir = "/home/jobs/nightly";
    for path in [
        format!("{dir}/request"),
        format!("{dir}/journal"),
        format!("{dir}/statement-00000.spec"),
        sealed.clone(),
    ] {
        let good = vfs.read(Path::new(&path), 1 << 20).unwrap();
        let mut bad = good.clone();
        // Of the sealed file this is in the rows, which only reading all of it shows.
        let middle = good.len() - 70.min(good.len());
        bad[middle] ^= 1;
        put(&vfs, &path, &bad);
        let problems = job.verify(true).unwrap();
        assert_eq!(problems.len(), 1, "{path}: {problems:?}");
        assert_eq!(problems[0].path, Path::new(&path));
        assert_eq!(job.verify(false).unwrap().is_empty(), path == sealed);
        put(&vfs, &path, &good);
    }
    assert_eq!(job.verify(true).unwrap(), []);
}

/// Of many that seal at once, each task is sealed by one.
#[test]
fn attempts_of_many_threads_seal_each_task_once() {
    const THREADS: u32 = 4;
    let vfs = FaultVfs::new(1);
    let job = planned(&vfs);
    let sealed_by = |attempt: u32| {
        let keys = (0..20).map(|task| TaskKey { task, ..KEY });
        let sealed = keys.filter(|key| seal(&job, *key, attempt, b"x").is_ok());
        sealed.count()
    };
    let sealed: usize = std::thread::scope(|scope| {
        let threads = (0..THREADS).map(|attempt| {
            scope.spawn({
                let sealed_by = &sealed_by;
                move || sealed_by(attempt)
            })
        });
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(sealed, 20);
    assert_eq!(derive(&job.records()), Ok(job.state()));
    let left = vfs.list(Path::new("/home/jobs/nightly/sealed")).unwrap();
    assert_eq!(left.len(), 20, "the files of the others are gone");
}

/// Somebody who only looks must not keep an owner out for long.
#[test]
fn a_lock_that_is_free_soon_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let vfs: Arc<dyn Vfs> = Arc::new(crate::RealVfs);
    let jobs = Jobs::new(Arc::clone(&vfs), dir.path().to_path_buf(), Arc::new(|| 0));
    drop(jobs.open(&name(), REQUEST).unwrap());
    let lock = dir.path().join("nightly/lock");
    let held = vfs.try_lock(&lock, LockFile::MustExist).unwrap().unwrap();
    std::thread::scope(|scope| {
        let opened = scope.spawn(|| jobs.open(&name(), REQUEST));
        drop(held);
        assert!(matches!(opened.join().unwrap(), Ok(Open::Resumed(_))));
    });
}
