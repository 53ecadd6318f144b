//! Each call of a job's life fails, is the last of its process, or the last before the power goes; and each call of
//! the recovery from that as well.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use tidegate_checkpoint::fault::{Fault, FaultVfs};
use tidegate_checkpoint::job::{Job, Open, Record, TaskKey};
use tidegate_checkpoint::vfs::Vfs;
use tidegate_checkpoint::{Error, Result};

use super::life::{JOBS, Promised, REQUEST, check, check_finished, disk, jobs, live, name};
use tidegate_testing::random::Random;

use super::{cases, seed};

/// More calls than a life makes.
const CALLS_MAX: u64 = 2000;
const FAULTS: [Fault; 4] = [Fault::Eio, Fault::Enospc, Fault::Kill, Fault::PowerLoss];

/// How many fates of what the power takes are tried.
fn seeds(fault: Fault) -> u64 {
    match fault {
        Fault::PowerLoss => 8,
        _ => 1,
    }
}

#[test]
fn every_call_of_a_life_may_fail_or_be_the_last() {
    let (begin, mut tried) = (Instant::now(), 0);
    for fault in FAULTS {
        for of in 0..seeds(fault) {
            for call in 0..CALLS_MAX {
                tried += 1;
                if !life_with(call, fault, seed() ^ of) {
                    break;
                }
                assert!(call + 1 < CALLS_MAX, "a life makes more calls");
            }
        }
    }
    eprintln!(
        "{tried} lives with a fault, seed {}, {:.1?}",
        seed(),
        begin.elapsed()
    );
}

/// Whether the fault happened.
fn life_with(call: u64, fault: Fault, seed: u64) -> bool {
    let at = format!("{fault:?} at call {call}, seed {seed}");
    let (disk, mut promised) = (disk(seed), Promised::default());
    let process = disk.process_with(call, fault);
    let lived = live(&process, &mut promised);
    let fired = process.fired();
    assert!(fired || lived.is_ok(), "{at}: {lived:?}");
    drop(process);
    check(&disk.process(), &promised, &at);
    go_on(&disk, &mut promised, &at);
    fired
}

/// A process that nothing happens to brings the job to its end.
fn go_on(disk: &FaultVfs, promised: &mut Promised, at: &str) {
    let process = disk.process();
    live(&process, promised).unwrap_or_else(|error| unreachable!("{at}: {error}"));
    let seen = jobs(&process).look(&name()).unwrap().unwrap();
    check_finished(&seen, at);
    let problems = jobs(&process).verify(&name(), true).unwrap().unwrap();
    assert_eq!(problems, [], "{at}");
}

#[test]
fn every_call_of_every_recovery_may_fail_or_be_the_last() {
    let (begin, mut tried) = (Instant::now(), 0);
    for (first, then) in [
        (Fault::Kill, Fault::Kill),
        (Fault::PowerLoss, Fault::PowerLoss),
        (Fault::Kill, Fault::PowerLoss),
        (Fault::PowerLoss, Fault::Eio),
        (Fault::Enospc, Fault::Enospc),
    ] {
        for call in 0..CALLS_MAX {
            let (disk, mut promised) = (disk(seed()), Promised::default());
            let process = disk.process_with(call, first);
            let _ = live(&process, &mut promised);
            let fired = process.fired();
            drop(process);
            for again in 0..CALLS_MAX {
                tried += 1;
                let process = disk.process_with(again, then);
                let _ = recover(&process);
                if !process.fired() {
                    break;
                }
                assert!(again + 1 < CALLS_MAX, "a recovery makes more calls");
            }
            let at = format!("{first:?} at call {call}, then {then:?} at each of recovery");
            check(&disk.process(), &promised, &at);
            if !fired {
                break;
            }
        }
    }
    eprintln!(
        "{tried} recoveries with a fault, seed {}, {:.1?}",
        seed(),
        begin.elapsed()
    );
}

fn recover(vfs: &FaultVfs) -> Result<()> {
    let (Open::New(job) | Open::Resumed(job)) = jobs(vfs).open(&name(), REQUEST)? else {
        return Ok(());
    };
    job.sealed(0)?;
    job.sealed(1).map(drop)
}

/// One process after another, each with a fault of its own, until one lives to the end.
#[test]
fn random_lives_end_well() {
    let (begin, seed, lives) = (Instant::now(), seed(), cases(300));
    let (mut processes, mut longest) = (0, 0);
    for case in 0..lives {
        let mut random = Random::of_case(seed, case);
        let (disk, mut promised) = (disk(random.bits()), Promised::default());
        let mut incarnations = 0;
        while !promised.ended {
            incarnations += 1;
            let fault = FAULTS[random.below(4)];
            let process = disk.process_with(random.below(120) as u64, fault);
            let _ = live(&process, &mut promised);
            drop(process);
            let at = format!("TIDEGATE_SEED={seed}, case {case}, incarnation {incarnations}");
            check(&disk.process(), &promised, &at);
            let seen = jobs(&disk.process()).look(&name()).unwrap();
            let is_end = |record: &Record| matches!(record, Record::Ended { .. });
            promised.ended |= seen.is_some_and(|seen| seen.records.iter().any(is_end));
        }
        processes += incarnations;
        longest = longest.max(incarnations);
    }
    eprintln!(
        "{lives} random lives in {processes} processes (at most {longest}), seed {seed}, {:.1?}",
        begin.elapsed()
    );
}

#[test]
fn a_journal_that_failed_takes_no_record_any_more_and_the_next_owner_goes_on() {
    let mut ended = 0;
    for fault in [Fault::Eio, Fault::Enospc] {
        for call in 0..CALLS_MAX {
            let disk = disk(seed());
            let process = disk.process_with(call, fault);
            let appended = appends(&process, &mut ended);
            let fired = process.fired();
            drop(process);
            let job = opened(&disk.process());
            let found = job.records();
            let found = found.iter().filter(|r| matches!(r, Record::Failed { .. }));
            let found = found.count();
            // The one that failed may be there or not.
            assert!(
                found == appended || found == appended + 1,
                "{fault:?} at {call}"
            );
            job.append(failed(9)).unwrap();
            if !fired {
                break;
            }
        }
    }
    assert!(ended >= 10, "only {ended} journals failed");
    eprintln!("{ended} journals failed and stayed closed");
}

/// Appends four records; how many were promised.
fn appends(vfs: &FaultVfs, ended: &mut usize) -> usize {
    let Ok(Open::New(job) | Open::Resumed(job)) = jobs(vfs).open(&name(), REQUEST) else {
        return 0;
    };
    let mut appended = 0;
    let mut closed: Option<(ErrorKind, bool)> = None;
    for number in 0..4 {
        match job.append(failed(number)) {
            Ok(()) => {
                assert!(closed.is_none(), "a record behind one that failed");
                appended += 1;
            }
            Err(error) => {
                let Error::Io { doing, source, .. } = &error else {
                    unreachable!("{error}");
                };
                let kind = (source.kind(), error.is_storage_full());
                assert!(closed.is_none_or(|closed| closed == kind), "{error}");
                if ["write", "sync"].contains(doing) && closed.is_none() {
                    closed = Some(kind);
                    *ended += 1;
                    assert!(job.put_spec(0, b"x").is_err() && job.lose(KEY, "x").is_ok());
                    assert!(job.drop_stage(0, 0).is_err());
                }
            }
        }
    }
    appended
}

const KEY: TaskKey = TaskKey {
    statement: 0,
    stage: 0,
    task: 0,
};

fn failed(attempt: u32) -> Record {
    Record::Failed {
        key: KEY,
        attempt,
        why: "no reason".into(),
    }
}

fn opened(vfs: &FaultVfs) -> Job {
    match jobs(vfs).open(&name(), REQUEST).unwrap() {
        Open::New(job) | Open::Resumed(job) => job,
        other => unreachable!("{other:?}"),
    }
}

/// Two records of which neither is on the disk could be lost the first without the second: that would
/// look like damage.
#[test]
fn a_power_loss_behind_a_record_that_was_not_forced_is_no_damage() {
    const SEEDS: u64 = 300;
    let calls = |vfs: &FaultVfs| {
        let job = jobs(vfs).open(&name(), REQUEST).map(|opened| match opened {
            Open::New(job) | Open::Resumed(job) => job,
            other => unreachable!("{other:?}"),
        });
        let Ok(job) = job else { return 0 };
        let opened = vfs.calls();
        let started = Record::Started {
            key: KEY,
            attempt: 1,
        };
        let _ = job.append(started).and_then(|()| job.append(failed(1)));
        opened
    };
    let sample = disk(0).process();
    let opened = calls(&sample);
    for call in opened..sample.calls() {
        for of in 0..SEEDS {
            let disk = disk(seed() ^ of);
            calls(&disk.process_with(call, Fault::PowerLoss));
            let found = opened_records(&disk.process());
            assert!(found <= 3, "call {call}, seed {of}");
        }
    }
    eprintln!("{} power losses", SEEDS * (sample.calls() - opened));
}

fn opened_records(vfs: &FaultVfs) -> usize {
    // The last is of this process.
    opened(vfs).records().len() - 1
}

/// A removed job is there whole, or not at all, and its name can be used again.
#[test]
fn every_call_of_a_removal_may_fail_or_be_the_last() {
    let mut tried = 0;
    for fault in FAULTS {
        for of in 0..seeds(fault) {
            for call in 0..CALLS_MAX {
                tried += 1;
                let at = format!("{fault:?} at call {call} of a removal, seed {of}");
                let (disk, mut promised) = (disk(of), Promised::default());
                // Not to its end: it could be gone on with.
                let _ = live(&disk.process_with(150, Fault::Kill), &mut promised);
                assert!(!promised.sealed.is_empty() && !promised.ended);
                let process = disk.process_with(call, fault);
                let removed = jobs(&process).remove(&name());
                let fired = process.fired();
                drop(process);
                let after = disk.process();
                match jobs(&after).look(&name()).unwrap() {
                    Some(_) => {
                        assert!(removed.is_err(), "{at}: it is there");
                        check(&disk.process(), &promised, &at);
                        assert!(jobs(&after).remove(&name()).unwrap());
                    }
                    None => assert!(jobs(&after).names().unwrap().is_empty(), "{at}"),
                }
                assert!(!jobs(&after).remove(&name()).unwrap(), "{at}");
                assert!(after.list(Path::new(JOBS)).unwrap().is_empty(), "{at}");
                go_on(&disk, &mut Promised::default(), &at);
                if !fired {
                    break;
                }
            }
        }
    }
    eprintln!("{tried} removals with a fault");
}
