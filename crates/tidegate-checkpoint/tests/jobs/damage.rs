//! Every bit flipped, every length cut, every two files swapped in the directory of a small job: what is wrong is said,
//! and what is read is right.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tidegate_checkpoint::Error;
use tidegate_checkpoint::fault::{Fault, FaultVfs};
use tidegate_checkpoint::job::{Job, Open, Record, TaskKey};
use tidegate_checkpoint::vfs::{Kind, Vfs};

use super::life::{
    DIR, JOBS, Promised, REQUEST, STATEMENTS, disk, jobs, live, name, put, read, spec_of, tree_of,
};
use tidegate_testing::random::Random;

use super::{cases, seed};

/// Of the sample: lock, request, journal, two specs, and the output of three tasks.
const FILES: usize = 8;

type Tree = BTreeMap<PathBuf, Vec<u8>>;

/// What a job is, read to the last byte.
#[derive(Debug, PartialEq)]
struct Found {
    records: Vec<Record>,
    specs: BTreeMap<u32, Vec<u8>>,
    sealed: BTreeMap<TaskKey, Vec<u8>>,
    /// The files something was said of.
    said: Vec<PathBuf>,
    cut: bool,
}

/// A job in the middle of its life: three tasks are sealed, one statement has ended.
struct Sample {
    tree: Tree,
    truth: Found,
}

impl Sample {
    fn new() -> Self {
        // The last call at which so much is sealed.
        for call in (0..400).rev() {
            let (disk, mut promised) = (disk(1), Promised::default());
            let process = disk.process_with(call, Fault::Kill);
            let _ = live(&process, &mut promised);
            if promised.sealed.len() != 3 || promised.done.len() != 1 {
                continue;
            }
            let tree = tree_of(&disk.process(), Path::new(DIR));
            let truth = look_at(&restored(&tree)).unwrap();
            if tree.len() == FILES && truth.sealed == promised.sealed {
                assert_eq!((truth.specs.len(), truth.said.len()), (2, 0));
                return Self { tree, truth };
            }
        }
        unreachable!("no life seals three tasks");
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.tree.keys().cloned().collect()
    }

    fn with(&self, path: &Path, bytes: Vec<u8>) -> FaultVfs {
        let mut tree = self.tree.clone();
        tree.insert(path.to_path_buf(), bytes);
        restored(&tree)
    }

    /// The damage of these files is told by one of their names, and nothing wrong is read.
    fn check(&self, vfs: &FaultVfs, damaged: &[&Path], at: &str) {
        match look_at(vfs) {
            Err(Error::Corrupt { path, .. }) => {
                assert!(
                    damaged.contains(&path.as_path()),
                    "{at}: {} is blamed",
                    path.display()
                );
            }
            Err(error) => unreachable!("{at}: {error}"),
            Ok(found) => self.check_found(&found, damaged, at),
        }
    }

    fn check_found(&self, found: &Found, damaged: &[&Path], at: &str) {
        let truth = &self.truth;
        let is_prefix = truth.records.starts_with(&found.records);
        assert!(is_prefix, "{at}: {:?}", found.records);
        let are_true = found
            .sealed
            .iter()
            .all(|(key, text)| truth.sealed.get(key) == Some(text));
        assert!(are_true, "{at}: wrong rows");
        let are_true = found
            .specs
            .iter()
            .all(|(of, spec)| truth.specs.get(of) == Some(spec));
        assert!(are_true, "{at}: a wrong spec");
        if damaged.iter().all(|path| is_lock(path)) {
            assert_eq!(found, truth, "{at}");
            return;
        }
        // A journal that ends early names files that were dropped later.
        let is_shorter = found.records.len() < truth.records.len();
        let blamed = found
            .said
            .iter()
            .find(|path| !damaged.contains(&path.as_path()));
        assert!(is_shorter || blamed.is_none(), "{at}: {blamed:?} is blamed");
        let is_told = !found.said.is_empty() || found.cut || is_shorter;
        assert!(is_told, "{at}: nothing was said");
    }
}

fn restored(tree: &Tree) -> FaultVfs {
    let vfs = disk(1);
    for dir in [JOBS.into(), DIR.into(), format!("{DIR}/sealed")] {
        vfs.make_dir(Path::new(&dir), 0o755).unwrap();
    }
    for (path, bytes) in tree {
        put(&vfs, path, bytes);
    }
    vfs
}

/// Opens the job, and reads all of it.
fn look_at(vfs: &FaultVfs) -> Result<Found, Error> {
    match jobs(vfs).open(&name(), REQUEST)? {
        Open::New(job) | Open::Resumed(job) => everything(vfs, &job),
        other => unreachable!("{other:?}"),
    }
}

fn everything(vfs: &FaultVfs, job: &Job) -> Result<Found, Error> {
    let mut records = job.records();
    // Of this process.
    records.pop();
    let mut found = Found {
        records,
        specs: BTreeMap::new(),
        sealed: BTreeMap::new(),
        said: Vec::new(),
        cut: job.journal_cut(),
    };
    let state = job.state();
    for statement in 0..STATEMENTS {
        match job.spec(statement) {
            Ok(spec) => found.specs.extend(spec.map(|spec| (statement, spec))),
            Err(Error::Corrupt { path, .. }) => found.said.push(path),
            Err(error) => return Err(error),
        }
        let tasks = job.sealed(statement)?;
        for (key, _) in tasks.bad {
            let file = &state.sealed[&key].file;
            found.said.push(job.dir().join("sealed").join(file));
        }
        for (key, _, file) in tasks.good {
            match read(vfs, &file) {
                Ok(text) => drop(found.sealed.insert(key, text)),
                Err(Error::Corrupt { path, .. }) => found.said.push(path),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

fn is_lock(path: &Path) -> bool {
    path.ends_with("lock")
}

#[test]
fn every_flipped_bit_is_found() {
    let (begin, sample, mut tried) = (Instant::now(), Sample::new(), 0);
    for path in sample.paths() {
        let good = &sample.tree[&path];
        for place in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[place / 8] ^= 1 << (place % 8);
            tried += 1;
            let at = format!("bit {place} of {}", path.display());
            sample.check(&sample.with(&path, bad), &[&path], &at);
        }
    }
    let files = sample.tree.len();
    eprintln!(
        "{tried} flipped bits in {files} files, {:.1?}",
        begin.elapsed()
    );
}

#[test]
fn every_cut_is_found() {
    let (begin, sample, mut tried) = (Instant::now(), Sample::new(), 0);
    for path in sample.paths().iter().filter(|path| !is_lock(path)) {
        let good = &sample.tree[path];
        for length in 0..good.len() {
            tried += 1;
            let at = format!("{} cut at {length}", path.display());
            sample.check(&sample.with(path, good[..length].to_vec()), &[path], &at);
        }
    }
    eprintln!("{tried} cuts, {:.1?}", begin.elapsed());
}

#[test]
fn every_two_files_that_are_swapped_are_found() {
    let (sample, mut tried) = (Sample::new(), 0);
    let paths = sample.paths();
    for one in &paths {
        for other in paths.iter().filter(|other| *other > one) {
            tried += 1;
            let mut tree = sample.tree.clone();
            tree.insert(one.clone(), sample.tree[other].clone());
            tree.insert(other.clone(), sample.tree[one].clone());
            let at = format!("{} and {} swapped", one.display(), other.display());
            sample.check(&restored(&tree), &[one, other], &at);
        }
    }
    assert!(tried >= 28, "only {tried} pairs");
    eprintln!("{tried} pairs of files swapped");
}

#[test]
fn every_file_that_is_gone_is_said() {
    let sample = Sample::new();
    for path in sample.paths().iter().filter(|path| !is_lock(path)) {
        let mut tree = sample.tree.clone();
        tree.remove(path);
        let at = format!("{} is gone", path.display());
        sample.check(&restored(&tree), &[path], &at);
    }
}

/// Pieces of any file overwritten, taken out, doubled or put into another.
#[test]
fn random_damage_is_found() {
    let (begin, sample, seed, cases) = (Instant::now(), Sample::new(), seed(), cases(2000));
    let paths: Vec<PathBuf> = sample
        .paths()
        .into_iter()
        .filter(|path| !is_lock(path))
        .collect();
    let mut tried = 0;
    for case in 0..cases {
        let mut random = Random::of_case(seed, case);
        let path = &paths[random.below(paths.len())];
        let good = &sample.tree[path];
        let bad = damaged(&sample, good, &mut random);
        // What was written is no damage.
        if bad == *good {
            continue;
        }
        tried += 1;
        let at = format!("TIDEGATE_SEED={seed}, case {case}, {}", path.display());
        sample.check(&sample.with(path, bad), &[path], &at);
    }
    eprintln!(
        "{tried} random damages, seed {seed}, {:.1?}",
        begin.elapsed()
    );
}

fn damaged(sample: &Sample, good: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bad = good.to_vec();
    let from = random.below(good.len());
    let to = from + random.below(good.len() - from + 1);
    let others: Vec<&Vec<u8>> = sample.tree.values().collect();
    let other = others[random.below(others.len())];
    match random.below(6) {
        0 => bad[from..to].fill_with(|| random.bits() as u8),
        1 => bad[from..to].fill(0),
        2 => drop(bad.drain(from..to)),
        3 => drop(bad.splice(from..from, good[from..to].to_vec())),
        4 => drop(bad.splice(from..to, other.iter().copied())),
        _ => bad.extend_from_slice(other),
    }
    bad
}

/// A directory of arbitrary bytes is an error or a new job, never a panic.
#[test]
fn files_of_random_bytes_are_errors() {
    let sample = Sample::new();
    for case in 0..200 {
        let mut random = Random::of_case(seed(), case);
        let mut tree = Tree::new();
        for path in sample.paths() {
            let length = random.below(400);
            tree.insert(path, (0..length).map(|_| random.bits() as u8).collect());
        }
        let vfs = restored(&tree);
        assert!(look_at(&vfs).is_err(), "case {case}");
        assert!(jobs(&vfs).look(&name()).is_err(), "case {case}");
        assert_eq!(jobs(&vfs).verify(&name(), true).unwrap().unwrap().len(), 1);
        assert!(jobs(&vfs).bytes(&name()).unwrap() > 0);
        assert!(jobs(&vfs).remove(&name()).unwrap(), "case {case}");
    }
}

/// Names that lead out of a job are not followed: neither a directory nor a link in the place of a file.
#[test]
fn a_directory_in_the_place_of_a_file_is_an_error_or_said() {
    let sample = Sample::new();
    for path in sample.paths().iter().filter(|path| !is_lock(path)) {
        let mut tree = sample.tree.clone();
        tree.remove(path);
        let vfs = restored(&tree);
        vfs.make_dir(path, 0o755).unwrap();
        match look_at(&vfs) {
            Ok(found) => assert_eq!(found.said, std::slice::from_ref(path)),
            Err(error) => assert!(error.to_string().contains(path.to_str().unwrap())),
        }
        assert_eq!(vfs.metadata(path).unwrap().kind, Kind::Directory);
    }
    assert_eq!(sample.truth.specs[&0], spec_of(0));
}
