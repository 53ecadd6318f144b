//! The life of a job as a process lives it: whatever it finds done it does not do again. What its calls have
//! promised is remembered outside of the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidegate_checkpoint::fault::FaultVfs;
use tidegate_checkpoint::frames::{FrameFile, FrameWriter};
use tidegate_checkpoint::job::{IntentFile, Job, JobName, Jobs, Open, Record, Seen, TaskKey};
use tidegate_checkpoint::vfs::{Kind, Vfs};
use tidegate_checkpoint::{Error, Replaces, Result};

pub(crate) const REQUEST: &[u8] = b"CREATE TABLE a AS SELECT 1; COPY a TO 'out.csv'";
pub(crate) const JOBS: &str = "/work/jobs";
pub(crate) const DIR: &str = "/work/jobs/nightly";
pub(crate) const STATEMENTS: u32 = 2;
/// Tasks of each stage of a statement.
const STAGES: [u32; 2] = [2, 1];
const BYTES_MAX: u64 = 1 << 20;

/// What calls have promised, whatever happens afterwards.
#[derive(Debug, Default)]
pub(crate) struct Promised {
    pub(crate) opened: bool,
    pub(crate) specs: BTreeSet<u32>,
    pub(crate) sealed: BTreeMap<TaskKey, Vec<u8>>,
    pub(crate) done: BTreeSet<u32>,
    pub(crate) ended: bool,
    /// Every output that an attempt wrote to its end, sealed or not.
    written: BTreeMap<TaskKey, Vec<Vec<u8>>>,
}

pub(crate) fn jobs(vfs: &FaultVfs) -> Jobs {
    Jobs::new(Arc::new(vfs.clone()), JOBS.into(), Arc::new(|| 1_000_000))
}

pub(crate) fn name() -> JobName {
    "nightly".parse().unwrap()
}

pub(crate) fn spec_of(statement: u32) -> Vec<u8> {
    format!("the spec of statement {statement}").into_bytes()
}

/// A disk with a directory to work in.
pub(crate) fn disk(seed: u64) -> FaultVfs {
    let vfs = FaultVfs::new(seed);
    vfs.make_dir(Path::new("/work"), 0o755).unwrap();
    vfs.sync_dir(Path::new("/")).unwrap();
    vfs
}

/// Lives the job to its end, from wherever it stands.
pub(crate) fn live(vfs: &FaultVfs, promised: &mut Promised) -> Result<()> {
    let job = match jobs(vfs).open(&name(), REQUEST)? {
        Open::New(job) | Open::Resumed(job) => job,
        Open::Finished(_) => return Ok(()),
        Open::OtherRequest { theirs } => unreachable!("{theirs:?} was never asked for"),
    };
    promised.opened = true;
    for statement in 0..STATEMENTS {
        run(vfs, &job, statement, promised)?;
    }
    job.beat();
    nobody_else_gets_it(vfs);
    job.append(Record::Ended { at_ms: 9 })?;
    promised.ended = true;
    Ok(())
}

fn run(vfs: &FaultVfs, job: &Job, statement: u32, promised: &mut Promised) -> Result<()> {
    if job.state().done.contains_key(&statement) {
        return Ok(());
    }
    if job.spec(statement)?.is_none() {
        assert!(!promised.specs.contains(&statement), "a spec is lost");
        job.put_spec(statement, &spec_of(statement))?;
        promised.specs.insert(statement);
    }
    for (stage, tasks) in (0..).zip(STAGES) {
        run_stage(vfs, job, (statement, stage, tasks), promised)?;
    }
    // From the call on it may be gone.
    let is_first = |key: &TaskKey| (key.statement, key.stage) == (statement, 0);
    promised.sealed.retain(|key, _| !is_first(key));
    job.drop_stage(statement, 0)?;
    let file = IntentFile {
        name: "part-0".into(),
        bytes: 3,
        blake3: "x".into(),
    };
    job.append(Record::Intent {
        statement,
        target: "/out".into(),
        files: vec![file],
        rows: 2,
        replaces: Replaces::Nothing,
    })?;
    job.append(Record::Done {
        statement,
        rows: 3,
        hash: None,
        pins: Vec::new(),
        at_ms: 8,
    })?;
    promised.done.insert(statement);
    Ok(())
}

fn run_stage(
    vfs: &FaultVfs,
    job: &Job,
    (statement, stage, tasks): (u32, u32, u32),
    promised: &mut Promised,
) -> Result<()> {
    if job.state().dropped.contains(&(statement, stage)) {
        return Ok(());
    }
    let found = job.sealed(statement)?;
    for (key, why) in found.bad {
        promised.sealed.remove(&key);
        job.lose(key, &why)?;
    }
    for task in 0..tasks {
        let key = TaskKey {
            statement,
            stage,
            task,
        };
        if found.good.iter().any(|(good, ..)| *good == key) {
            continue;
        }
        assert!(!promised.sealed.contains_key(&key), "{key} is run again");
        let attempts = promised.written.entry(key).or_default();
        let attempt = attempts.len() as u32;
        let text = format!("what attempt {attempt} of task {key} gave").into_bytes();
        if job.epoch() > 1 {
            job.append(Record::Started { key, attempt })?;
        }
        let file = write(vfs, job, key, attempt, &text)?;
        attempts.push(text.clone());
        job.seal(key, attempt, file, Duration::from_millis(1))?;
        promised.sealed.insert(key, text);
        nobody_else_gets_it(vfs);
    }
    Ok(())
}

pub(crate) fn write(
    vfs: &FaultVfs,
    job: &Job,
    key: TaskKey,
    attempt: u32,
    text: &[u8],
) -> Result<FrameFile> {
    let place = job.place(key, attempt);
    let shared: Arc<dyn Vfs> = Arc::new(vfs.clone());
    let mut writer = FrameWriter::create_durable(shared, &place, job.origin(key, attempt))?;
    let (first, second) = text.split_at(text.len() / 2);
    writer.append(0, 1, first)?;
    writer.append(1, 2, second)?;
    writer.finish()
}

/// What is in a sealed file.
pub(crate) fn read(vfs: &FaultVfs, file: &FrameFile) -> Result<Vec<u8>> {
    let reader = file.open(vfs)?;
    let frames = [0, 1].into_iter().flat_map(|of| file.of(of));
    let mut text = Vec::new();
    for frame in frames {
        text.extend(reader.read(frame)?);
    }
    Ok(text)
}

/// While this process lives and has the job, no other gets it.
fn nobody_else_gets_it(vfs: &FaultVfs) {
    if !vfs.fired() {
        let other = jobs(&vfs.process()).open(&name(), REQUEST);
        assert!(matches!(other, Err(Error::Owned { .. })), "two owners");
    }
}

/// A new process finds everything that was promised, and nothing that is torn or left over.
pub(crate) fn check(vfs: &FaultVfs, promised: &Promised, at: &str) {
    let opened = jobs(vfs).open(&name(), REQUEST);
    let job = match opened.unwrap_or_else(|error| unreachable!("{at}: {error}")) {
        Open::New(job) => {
            assert!(!promised.opened, "{at}: the job is gone");
            job
        }
        Open::Resumed(job) => {
            assert!(!promised.ended, "{at}: it had ended");
            job
        }
        Open::Finished(seen) => return check_finished(&seen, at),
        Open::OtherRequest { theirs } => unreachable!("{at}: {theirs:?}"),
    };
    for statement in 0..STATEMENTS {
        let spec = job.spec(statement).unwrap();
        assert!(
            spec.is_some() || !promised.specs.contains(&statement),
            "{at}"
        );
        assert!(spec.is_none_or(|spec| spec == spec_of(statement)), "{at}");
        check_sealed(vfs, &job, statement, promised, at);
    }
    let state = job.state();
    assert!(
        promised.done.iter().all(|of| state.done.contains_key(of)),
        "{at}"
    );
    assert_eq!(job.verify(true).unwrap(), [], "{at}");
    let used: BTreeSet<String> = state.files().into_iter().map(str::to_owned).collect();
    let held = vfs.list(&Path::new(DIR).join("sealed")).unwrap();
    let held: BTreeSet<String> = held
        .iter()
        .map(|name| name.to_string_lossy().into())
        .collect();
    assert_eq!(held, used, "{at}: left over");
    let held = vfs.list(Path::new(DIR)).unwrap();
    let draft = held
        .iter()
        .find(|name| name.to_string_lossy().ends_with(".tmp"));
    assert_eq!(draft, None, "{at}: left over");
}

fn check_sealed(vfs: &FaultVfs, job: &Job, statement: u32, promised: &Promised, at: &str) {
    let found = job.sealed(statement).unwrap();
    assert!(found.bad.is_empty(), "{at}: {:?}", found.bad);
    let mut texts = BTreeMap::new();
    for (key, attempt, file) in &found.good {
        let text = read(vfs, file).unwrap_or_else(|error| unreachable!("{at}: {error}"));
        let written = &promised.written[key];
        assert_eq!(text, written[*attempt as usize], "{at}");
        texts.insert(*key, text);
    }
    for (key, text) in &promised.sealed {
        if key.statement == statement {
            assert_eq!(texts.get(key), Some(text), "{at}: {key} was sealed");
        }
    }
}

pub(crate) fn check_finished(seen: &Seen, at: &str) {
    let is = |wanted: fn(&Record) -> bool| seen.records.iter().filter(|r| wanted(r)).count();
    assert_eq!(
        is(|record| matches!(record, Record::Done { .. })),
        2,
        "{at}"
    );
    assert_eq!(
        is(|record| matches!(record, Record::Ended { .. })),
        1,
        "{at}"
    );
    assert!(!seen.journal_cut, "{at}");
}

/// Every file below a directory.
pub(crate) fn tree_of(vfs: &FaultVfs, dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for name in vfs.list(dir).unwrap() {
        let path = dir.join(name);
        match vfs.metadata(&path).unwrap().kind {
            Kind::Directory => found.extend(tree_of(vfs, &path)),
            _ => drop(found.insert(path.clone(), vfs.read(&path, BYTES_MAX).unwrap())),
        }
    }
    found
}

/// Puts bytes in the place of a file.
pub(crate) fn put(vfs: &FaultVfs, path: &Path, bytes: &[u8]) {
    let _ = vfs.remove_file(path);
    vfs.create(path).unwrap().write_all(bytes).unwrap();
}
