//! Everything that can happen to a small job: three tasks of two attempts, two processes that want it, each of which
//! may be killed after every step of it, and somebody who removes the lock of one that still runs. It is the code
//! itself that is searched, over a disk in memory that is copied for each thing that can happen next.
//!
//! In every world that can be reached:
//! - **sealed is final**: what is sealed stays so, by the same attempt, until it is said to be lost;
//! - **only the journal seals**, and what it seals is whole;
//! - **recovery** finds all that was promised, and leaves nothing else;
//! - **a zombie is harmless**: one that lost the job seals nothing and harms nothing;
//! - **the first to seal wins**.
//!
//! `TIDEGATE_CAMPAIGN=1` opens the job once more often, which takes three times as long.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::fault::{Fault, FaultVfs};
use crate::frames::{Expected, FrameFile, FrameWriter, Origin};

const TASKS: u32 = 3;
const ATTEMPTS: u32 = 2;
const PROCESSES: usize = 2;
/// How often the job may be opened; once more in the long campaign.
const EPOCHS: u64 = 2;
const LOSSES: u32 = 1;
const DIR: &str = "/jobs/job";

struct World {
    /// Of somebody who only looks.
    disk: FaultVfs,
    processes: [Option<Process>; PROCESSES],
    opened: u64,
    attempts: [u32; TASKS as usize],
    /// The attempt whose seal was promised.
    promised: BTreeMap<u32, u32>,
    losses: u32,
    unlocked: bool,
    epochs: u64,
    known: Arc<Known>,
}

/// What a journal says.
struct Known {
    bytes: Vec<u8>,
    state: State,
    cut: bool,
    /// The attempt that has sealed a task.
    sealed: BTreeMap<u32, u32>,
}

struct Process {
    vfs: FaultVfs,
    job: Job,
    /// The file it writes, whatever has its name now.
    journal: u64,
    is_zombie: bool,
    /// What its attempts have written and not sealed.
    held: Vec<(u32, u32, FrameFile)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Open(usize),
    Write(usize, u32),
    Seal(usize, usize),
    Lose(usize, u32),
    Kill(usize),
    /// Somebody removes the lock file of a job that runs.
    Unlock(usize),
}

#[derive(Default)]
struct Counts {
    worlds: u64,
    steps: u64,
    kills: u64,
}

fn key(task: u32) -> TaskKey {
    TaskKey {
        statement: 0,
        stage: 0,
        task,
    }
}

fn jobs(vfs: &FaultVfs) -> Jobs {
    Jobs::new(Arc::new(vfs.clone()), "/jobs".into(), Arc::new(|| 0))
}

fn text_of(task: u32, attempt: u32) -> Vec<u8> {
    format!("attempt {attempt} of task {task}").into_bytes()
}

impl Process {
    fn fork(&self, disk: &FaultVfs, plan: Option<(u64, Fault)>) -> Self {
        let vfs = disk.sibling(&self.vfs, plan);
        let book = self.job.book.lock();
        let job = Job {
            vfs: Arc::new(vfs.clone()),
            now_ms: Arc::clone(&self.job.now_ms),
            dir: self.job.dir.clone(),
            name: self.job.name.clone(),
            fingerprint: self.job.fingerprint,
            epoch: self.job.epoch,
            cut: self.job.cut,
            book: Mutex::new(Book {
                journal: book.journal.forked(vfs.still_open(self.journal)),
                records: book.records.clone(),
                state: book.state.clone(),
            }),
            owner: self.job.owner.forked(|inode| vfs.still_held(inode)),
        };
        drop(book);
        Self {
            vfs,
            job,
            journal: self.journal,
            is_zombie: self.is_zombie,
            held: self.held.clone(),
        }
    }

    fn sealed(&self) -> BTreeMap<u32, u32> {
        attempts_of(&self.job.book.lock().state)
    }
}

fn attempts_of(state: &State) -> BTreeMap<u32, u32> {
    let sealed = state.sealed.iter();
    sealed
        .map(|(key, sealed)| (key.task, sealed.attempt))
        .collect()
}

impl Known {
    fn new(bytes: Vec<u8>) -> Self {
        let fingerprint = request::fingerprint(b"request");
        let replayed = journal::replay(&bytes, &fingerprint).unwrap();
        let state = derive(&replayed.records).unwrap();
        Self {
            bytes,
            cut: replayed.cut,
            sealed: attempts_of(&state),
            state,
        }
    }
}

impl World {
    /// A job that has the spec of its statement, and that nobody runs.
    fn new() -> Self {
        let disk = FaultVfs::new(1);
        let process = disk.process();
        match jobs(&process)
            .open(&"job".parse().unwrap(), b"request")
            .unwrap()
        {
            Open::New(job) => job.put_spec(0, b"spec").unwrap(),
            other => unreachable!("{other:?}"),
        }
        let journal = process.read(&Path::new(DIR).join(name::JOURNAL), 1 << 20);
        let known = Arc::new(Known::new(journal.unwrap()));
        Self {
            disk,
            known,
            processes: [None, None],
            opened: 0,
            attempts: [0; TASKS as usize],
            promised: BTreeMap::new(),
            losses: 0,
            unlocked: false,
            epochs: EPOCHS + u64::from(std::env::var_os("TIDEGATE_CAMPAIGN").is_some()),
        }
    }

    /// A copy, in which `who` meets a fault.
    fn fork(&self, who: usize, plan: Option<(u64, Fault)>) -> Self {
        let disk = self.disk.fork();
        let of = |at: usize| {
            let plan = plan.filter(|_| at == who);
            self.processes[at]
                .as_ref()
                .map(|process| process.fork(&disk, plan))
        };
        Self {
            processes: [of(0), of(1)],
            disk,
            promised: self.promised.clone(),
            known: Arc::clone(&self.known),
            ..*self
        }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        // Which of those that do nothing opens it makes no difference.
        let idle = self.processes.iter().position(Option::is_none);
        if let Some(at) = idle.filter(|_| self.opened < self.epochs) {
            steps.push(Step::Open(at));
        }
        for (at, process) in self.processes.iter().enumerate() {
            let Some(process) = process else { continue };
            steps.push(Step::Kill(at));
            steps.extend((0..process.held.len()).map(|held| Step::Seal(at, held)));
            // Of what it writes nobody would know; what it has written it may try to seal.
            if process.is_zombie {
                continue;
            }
            let tasks = 0..TASKS;
            let has_attempts = |task: &u32| self.attempts[*task as usize] < ATTEMPTS;
            steps.extend(tasks.filter(has_attempts).map(|task| Step::Write(at, task)));
            if self.losses < LOSSES {
                steps.extend(process.sealed().keys().map(|task| Step::Lose(at, *task)));
            }
            if !self.unlocked {
                steps.push(Step::Unlock(at));
            }
        }
        steps
    }

    fn is_owned(&self) -> bool {
        let mut processes = self.processes.iter().flatten();
        processes.any(|process| !process.is_zombie)
    }

    /// Does a step; the calls of it at which a kill makes a difference.
    fn take(&mut self, step: Step, plan: Option<(u64, Fault)>) -> Vec<u64> {
        match step {
            Step::Open(at) => return self.open(at, plan),
            Step::Kill(at) => {
                if let Some(process) = self.processes[at].take() {
                    process.vfs.kill();
                }
                return Vec::new();
            }
            Step::Unlock(at) => {
                self.unlocked = true;
                self.disk
                    .remove_file(&Path::new(DIR).join(name::LOCK))
                    .unwrap();
                if let Some(process) = &mut self.processes[at] {
                    process.is_zombie = true;
                }
                return Vec::new();
            }
            Step::Write(at, task) => self.write(at, task),
            Step::Seal(at, held) => self.seal(at, held),
            Step::Lose(at, task) => self.lose(at, task),
        }
        let at = step.who();
        let Some(process) = &self.processes[at] else {
            return Vec::new();
        };
        let calls = process.vfs.calls_that_differ();
        if process.vfs.fired() {
            self.processes[at] = None;
        }
        calls
    }

    fn open(&mut self, at: usize, plan: Option<(u64, Fault)>) -> Vec<u64> {
        let newcomer = self.disk.process();
        let vfs = self.disk.sibling(&newcomer, plan);
        let opened = jobs(&vfs).open(&"job".parse().unwrap(), b"request");
        let calls = vfs.calls_that_differ();
        if vfs.fired() {
            return calls;
        }
        if self.is_owned() {
            assert!(matches!(opened, Err(Error::Owned { .. })), "two owners");
            return calls;
        }
        let Open::Resumed(job) = opened.unwrap() else {
            unreachable!("it was made, and has not ended");
        };
        let state = job.state();
        let used: Vec<String> = state.files().into_iter().map(str::to_owned).collect();
        let held = vfs.list(&Path::new(DIR).join(name::SEALED)).unwrap();
        let held: Vec<String> = held
            .iter()
            .map(|name| name.to_string_lossy().into())
            .collect();
        assert_eq!(
            used, held,
            "recovery leaves what is sealed and nothing else"
        );
        let journal = vfs.metadata(&Path::new(DIR).join(name::JOURNAL)).unwrap();
        self.opened += 1;
        self.processes[at] = Some(Process {
            vfs,
            job,
            journal: journal.inode,
            is_zombie: false,
            held: Vec::new(),
        });
        calls
    }

    fn write(&mut self, at: usize, task: u32) {
        let Some(process) = &mut self.processes[at] else {
            return;
        };
        let attempt = self.attempts[task as usize];
        self.attempts[task as usize] += 1;
        let shared: Arc<dyn Vfs> = Arc::new(process.vfs.clone());
        let (place, origin) = {
            let job = &process.job;
            (
                job.place(key(task), attempt),
                job.origin(key(task), attempt),
            )
        };
        let written = FrameWriter::create_durable(shared, &place, origin).and_then(|mut writer| {
            writer.append(0, 1, &text_of(task, attempt))?;
            writer.finish()
        });
        match written {
            Ok(file) => process.held.push((task, attempt, file)),
            Err(error) => assert!(process.vfs.fired(), "{error}"),
        }
    }

    fn seal(&mut self, at: usize, held: usize) {
        let Some(process) = &mut self.processes[at] else {
            return;
        };
        let (task, attempt, file) = process.held.remove(held);
        let was = process.sealed().contains_key(&task);
        let sealed = process.job.seal(key(task), attempt, file, Duration::ZERO);
        if process.vfs.fired() {
            return;
        }
        match sealed {
            Ok(_) => {
                assert!(!was, "the first to seal wins");
                assert!(!process.is_zombie, "a zombie sealed");
                self.promised.insert(task, attempt);
            }
            Err(error) => assert!(was || process.is_zombie, "{error}"),
        }
    }

    fn lose(&mut self, at: usize, task: u32) {
        self.losses += 1;
        self.promised.remove(&task);
        if let Some(process) = &self.processes[at] {
            let lost = process.job.lose(key(task), "it is said so");
            assert!(lost.is_ok() || process.vfs.fired(), "{lost:?}");
        }
    }

    /// Reads the journal as it is on the disk, if it is not the one that is known.
    fn look(&mut self) {
        let bytes = self.disk.read(&Path::new(DIR).join(name::JOURNAL), 1 << 20);
        let bytes = bytes.unwrap();
        if bytes != self.known.bytes {
            self.known = Arc::new(Known::new(bytes));
        }
    }

    /// What must be so in every world.
    fn check(&self, before: &Known, step: Step) {
        let Known { state, sealed, .. } = &*self.known;
        for (task, attempt) in &before.sealed {
            let is_lost = matches!(step, Step::Lose(_, lost) if lost == *task);
            let is_same = sealed.get(task) == Some(attempt);
            assert!(is_lost || is_same, "sealed is final: task {task}");
        }
        for (task, attempt) in &self.promised {
            assert_eq!(sealed.get(task), Some(attempt), "task {task} was promised");
        }
        for (key, sealed) in &state.sealed {
            self.check_file(*key, sealed);
        }
        let owners = self
            .processes
            .iter()
            .flatten()
            .filter(|process| !process.is_zombie);
        assert!(owners.count() <= 1, "two owners");
    }

    fn check_file(&self, key: TaskKey, sealed: &SealedFile) {
        let expected = Expected {
            origin: Origin {
                job: request::fingerprint(b"request"),
                task: key.task,
                attempt: sealed.attempt,
                epoch: sealed.epoch,
                ..Origin::default()
            },
            bytes: sealed.bytes,
            rows: sealed.rows,
            blake3: Some(sealed.blake3),
        };
        let path = Path::new(DIR).join(name::SEALED).join(&sealed.file);
        let file = FrameFile::find(&self.disk, &path, &expected).unwrap();
        let reader = file.open(&self.disk).unwrap();
        let text = reader.read(&file.frames()[0]).unwrap();
        assert_eq!(text, text_of(key.task, sealed.attempt), "it is whole");
    }

    /// What tells this world from others: the order of tasks does not, nor whose the files are that
    /// nobody will ever name, nor what was promised, of which each step is held to keep all.
    fn signature(&self) -> String {
        let Known {
            state, cut, sealed, ..
        } = &*self.known;
        let used = state.files();
        let held = self.disk.list(&Path::new(DIR).join(name::SEALED)).unwrap();
        let mut garbage = BTreeSet::new();
        for name in held.iter().map(|name| name.to_string_lossy()) {
            if !used.contains(&*name) {
                garbage.insert(name.ends_with(name::UNFINISHED));
            }
        }
        let drafts = self.disk.list(Path::new(DIR)).unwrap();
        let is_draft = |name: &&OsString| name.to_string_lossy().ends_with(name::UNFINISHED);
        let has_draft = drafts.iter().any(|name| is_draft(&name));
        let mut tasks: Vec<String> = (0..TASKS)
            .map(|task| {
                let attempts = self.attempts[task as usize];
                let held = self.held_of(task);
                format!("{attempts}{:?}{held:?}", sealed.get(&task))
            })
            .collect();
        tasks.sort_unstable();
        let mut processes: Vec<(bool, bool)> = self
            .processes
            .iter()
            .flatten()
            .map(|process| {
                let is_broken = process.job.book.lock().journal.check().is_err();
                (process.is_zombie, is_broken)
            })
            .collect();
        processes.sort_unstable();
        let (opened, losses, unlocked) = (self.opened, self.losses, self.unlocked);
        format!("{tasks:?}{cut}{garbage:?}{has_draft}{opened}{losses}{unlocked}{processes:?}")
    }

    /// The attempts that somebody has written of a task, and whether their files are still there.
    fn held_of(&self, task: u32) -> Vec<(bool, u32, bool)> {
        let mut found = Vec::new();
        for process in self.processes.iter().flatten() {
            for (_, attempt, file) in process.held.iter().filter(|held| held.0 == task) {
                let is_there = self.disk.metadata(file.path()).is_ok();
                found.push((process.is_zombie, *attempt, is_there));
            }
        }
        found.sort_unstable();
        found
    }
}

impl Step {
    fn who(self) -> usize {
        match self {
            Self::Open(at) | Self::Kill(at) | Self::Unlock(at) => at,
            Self::Write(at, _) | Self::Seal(at, _) | Self::Lose(at, _) => at,
        }
    }
}

fn search(world: &World, seen: &mut HashSet<u128>, counts: &mut Counts) {
    for step in world.steps() {
        counts.steps += 1;
        for call in visit(world, step, None, seen, counts) {
            counts.kills += 1;
            visit(world, step, Some((call, Fault::Kill)), seen, counts);
        }
    }
}

/// Takes a step on a copy of the world, and goes on from there if nobody was there before. Gives the
/// calls of the step at which a kill makes a difference.
fn visit(
    world: &World,
    step: Step,
    plan: Option<(u64, Fault)>,
    seen: &mut HashSet<u128>,
    counts: &mut Counts,
) -> Vec<u64> {
    let mut next = world.fork(step.who(), plan);
    let calls = next.take(step, plan);
    next.look();
    next.check(&world.known, step);
    let signature = blake3::hash(next.signature().as_bytes());
    let mut short = [0; 16];
    short.copy_from_slice(&signature.as_bytes()[..16]);
    if seen.insert(u128::from_le_bytes(short)) {
        counts.worlds += 1;
        search(&next, seen, counts);
    }
    calls
}

#[test]
fn no_order_of_steps_and_kills_breaks_the_protocol() {
    let begin = Instant::now();
    let (mut seen, mut counts) = (HashSet::new(), Counts::default());
    search(&World::new(), &mut seen, &mut counts);
    let Counts {
        worlds,
        steps,
        kills,
    } = counts;
    eprintln!(
        "{worlds} worlds of {TASKS} tasks, {ATTEMPTS} attempts, {PROCESSES} processes: {steps} steps, {kills} kills, {:.1?}",
        begin.elapsed()
    );
    assert!(worlds > 1000, "only {worlds} worlds");
}
