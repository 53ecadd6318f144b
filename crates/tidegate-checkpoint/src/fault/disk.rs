//! The disk behind the fault-injecting file system: inodes with a live and a durable half.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;

use crate::vfs::{Kind, Metadata};

pub(super) type Ino = u64;
pub(super) const ROOT: Ino = 1;
/// What reaches the disk whole or not at all. Real ones are larger; small ones tear small files too.
const SECTOR_BYTES: usize = 64;

type Names = BTreeMap<OsString, Ino>;
/// One atomic change of names: directory, name, what it names from now on.
type Change = Vec<(Ino, OsString, Option<Ino>)>;

#[derive(Debug, Clone)]
pub(super) struct Disk {
    nodes: BTreeMap<Ino, Node>,
    /// Changes of names in order that no sync has made durable yet.
    pending: Vec<Change>,
    locks: BTreeMap<Ino, u64>,
    alive: BTreeSet<u64>,
    processes: u64,
    random: u64,
    names_given: u64,
    /// Changes of what a process that comes later finds.
    pub(super) changes: u64,
    pub(super) exchange: bool,
    /// Whether a lock keeps anybody out.
    pub(super) locking: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    mode: u32,
    modified_ms: i64,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    File { live: Vec<u8>, durable: Vec<u8> },
    Dir { live: Names, durable: Names },
}

pub(super) fn dead() -> io::Error {
    io::Error::other("this process is dead")
}

impl Node {
    pub(super) fn file(mode: u32) -> Self {
        let body = Body::File {
            live: Vec::new(),
            durable: Vec::new(),
        };
        Self::new(mode, body)
    }

    pub(super) fn dir(mode: u32) -> Self {
        let body = Body::Dir {
            live: Names::new(),
            durable: Names::new(),
        };
        Self::new(mode, body)
    }

    fn new(mode: u32, body: Body) -> Self {
        Self {
            mode,
            modified_ms: 0,
            body,
        }
    }
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::dir(0o755))]),
            pending: Vec::new(),
            locks: BTreeMap::new(),
            alive: BTreeSet::new(),
            processes: 0,
            random: seed,
            names_given: 0,
            changes: 0,
            exchange: true,
            locking: true,
        }
    }

    pub(super) fn start_process(&mut self) -> u64 {
        self.processes += 1;
        self.alive.insert(self.processes);
        self.processes
    }

    pub(super) fn check_alive(&self, process: u64) -> io::Result<()> {
        if self.alive.contains(&process) {
            Ok(())
        } else {
            Err(dead())
        }
    }

    pub(super) fn kill(&mut self, process: u64) {
        self.alive.remove(&process);
        self.locks.retain(|_, holder| *holder != process);
    }

    pub(super) fn power_loss(&mut self) {
        self.alive.clear();
        self.locks.clear();
        for change in std::mem::take(&mut self.pending) {
            if self.next_random().is_multiple_of(2) {
                self.make_durable(change);
            }
        }
        let mut random = self.random;
        for node in self.nodes.values_mut() {
            match &mut node.body {
                Body::Dir { live, durable } => live.clone_from(durable),
                Body::File { live, durable } if live != durable => {
                    *live = forget(live, durable, split_mix(&mut random));
                    durable.clone_from(live);
                }
                Body::File { .. } => {}
            }
        }
        self.random = random;
    }

    pub(super) fn unique(&mut self) -> u64 {
        self.names_given += 1;
        let mut state = self.names_given;
        split_mix(&mut state)
    }

    pub(super) fn entry(&self, dir: Ino, name: &OsStr) -> io::Result<Ino> {
        let names = self.names(dir)?;
        names
            .get(name)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn add(&mut self, dir: Ino, name: &OsStr, node: Node) -> io::Result<Ino> {
        if self.names(dir)?.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let ino = self.nodes.keys().next_back().map_or(ROOT, |last| last + 1);
        self.nodes.insert(ino, node);
        self.change(vec![(dir, name.to_owned(), Some(ino))])?;
        Ok(ino)
    }

    pub(super) fn change(&mut self, change: Change) -> io::Result<()> {
        self.changes += 1;
        for (dir, name, to) in &change {
            let Some(Node {
                body: Body::Dir { live, .. },
                ..
            }) = self.nodes.get_mut(dir)
            else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            match to {
                Some(ino) => drop(live.insert(name.clone(), *ino)),
                None => drop(live.remove(name)),
            }
        }
        self.pending.push(change);
        Ok(())
    }

    pub(super) fn check_replaceable(&self, moved: Ino, replaced: Ino) -> io::Result<()> {
        match (self.names(moved).is_ok(), self.names(replaced)) {
            (true, Ok(names)) if names.is_empty() => Ok(()),
            (true, Ok(_)) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
            (true, Err(_)) => Err(io::ErrorKind::NotADirectory.into()),
            (false, Ok(_)) => Err(io::ErrorKind::IsADirectory.into()),
            (false, Err(_)) => Ok(()),
        }
    }

    pub(super) fn check_removable(&self, ino: Ino, kind: Kind) -> io::Result<()> {
        match (kind, self.names(ino)) {
            (Kind::Directory, Ok(names)) if names.is_empty() => Ok(()),
            (Kind::Directory, Ok(_)) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
            (Kind::Directory, Err(_)) => Err(io::ErrorKind::NotADirectory.into()),
            (_, Ok(_)) => Err(io::ErrorKind::IsADirectory.into()),
            (_, Err(_)) => Ok(()),
        }
    }

    pub(super) fn list(&self, dir: Ino) -> io::Result<Vec<OsString>> {
        Ok(self.names(dir)?.keys().cloned().collect())
    }

    pub(super) fn read(&self, ino: Ino) -> io::Result<Vec<u8>> {
        match &self.node(ino)?.body {
            Body::File { live, .. } => Ok(live.clone()),
            Body::Dir { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn append(&mut self, ino: Ino, bytes: &[u8]) -> io::Result<()> {
        self.changes += 1;
        match &mut self.node_mut(ino)?.body {
            Body::File { live, .. } => live.extend_from_slice(bytes),
            Body::Dir { .. } => return Err(io::ErrorKind::IsADirectory.into()),
        }
        Ok(())
    }

    pub(super) fn replace(&mut self, ino: Ino, bytes: &[u8]) -> io::Result<()> {
        match &mut self.node_mut(ino)?.body {
            Body::File { live, .. } => *live = bytes.to_vec(),
            Body::Dir { .. } => return Err(io::ErrorKind::IsADirectory.into()),
        }
        Ok(())
    }

    pub(super) fn set_modified(&mut self, ino: Ino, at_ms: i64) -> io::Result<()> {
        self.node_mut(ino)?.modified_ms = at_ms;
        Ok(())
    }

    pub(super) fn sync_file(&mut self, ino: Ino) -> io::Result<()> {
        match &mut self.node_mut(ino)?.body {
            Body::File { live, durable } => durable.clone_from(live),
            Body::Dir { .. } => return Err(io::ErrorKind::IsADirectory.into()),
        }
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: Ino) -> io::Result<()> {
        self.names(dir)?;
        for change in std::mem::take(&mut self.pending) {
            if change.iter().any(|(changed, ..)| *changed == dir) {
                self.supersede(&change);
                self.make_durable(change);
            } else {
                self.pending.push(change);
            }
        }
        Ok(())
    }

    pub(super) fn set_mode(&mut self, ino: Ino, mode: u32) -> io::Result<()> {
        self.node_mut(ino)?.mode = mode;
        Ok(())
    }

    pub(super) fn metadata(&self, ino: Ino) -> io::Result<Metadata> {
        let node = self.node(ino)?;
        let (kind, bytes) = match &node.body {
            Body::File { live, .. } => (Kind::File, live.len() as u64),
            Body::Dir { .. } => (Kind::Directory, 0),
        };
        Ok(Metadata {
            kind,
            bytes,
            mode: node.mode,
            inode: ino,
            device: 1,
            user: 0,
            group: 0,
            modified_ms: node.modified_ms,
        })
    }

    pub(super) fn lock(&mut self, ino: Ino, process: u64) -> bool {
        if self.is_locked(ino) {
            return false;
        }
        self.locks.insert(ino, process);
        true
    }

    pub(super) fn is_locked(&self, ino: Ino) -> bool {
        self.locking && self.locks.contains_key(&ino)
    }

    pub(super) fn unlock(&mut self, ino: Ino, process: u64) {
        if self.locks.get(&ino) == Some(&process) {
            self.locks.remove(&ino);
        }
    }

    pub(super) fn is_linked(&self, ino: Ino) -> bool {
        self.nodes.values().any(|node| match &node.body {
            Body::Dir { live, .. } => live.values().any(|named| *named == ino),
            Body::File { .. } => false,
        })
    }

    /// Older changes of the same names, still pending, are history once this one is durable.
    fn supersede(&mut self, newer: &Change) {
        for older in &mut self.pending {
            older.retain(|(dir, name, _)| {
                !newer
                    .iter()
                    .any(|(newer_dir, newer_name, _)| newer_dir == dir && newer_name == name)
            });
        }
    }

    fn make_durable(&mut self, change: Change) {
        for (dir, name, to) in change {
            if let Some(Node {
                body: Body::Dir { durable, .. },
                ..
            }) = self.nodes.get_mut(&dir)
            {
                match to {
                    Some(ino) => drop(durable.insert(name, ino)),
                    None => drop(durable.remove(&name)),
                }
            }
        }
    }

    fn names(&self, dir: Ino) -> io::Result<&Names> {
        match &self.node(dir)?.body {
            Body::Dir { live, .. } => Ok(live),
            Body::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn node(&self, ino: Ino) -> io::Result<&Node> {
        self.nodes
            .get(&ino)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn node_mut(&mut self, ino: Ino) -> io::Result<&mut Node> {
        self.nodes
            .get_mut(&ino)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn next_random(&mut self) -> u64 {
        split_mix(&mut self.random)
    }
}

/// What is left of unsynced data: all, a prefix, zeroes, some sectors, or what was synced. What
/// was synced and is still the same stays.
fn forget(live: &[u8], durable: &[u8], random: u64) -> Vec<u8> {
    let pairs = live.iter().zip(durable);
    let same = pairs.take_while(|(live, durable)| live == durable).count();
    let (kept, new) = live.split_at(same);
    let mut left = kept.to_vec();
    match random % 5 {
        0 => left.extend_from_slice(new),
        1 => left.extend_from_slice(&new[..(random >> 8) as usize % (new.len() + 1)]),
        2 => left.resize(live.len(), 0),
        3 => {
            let mut state = random;
            for sector in new.chunks(SECTOR_BYTES) {
                match split_mix(&mut state).is_multiple_of(2) {
                    true => left.extend_from_slice(sector),
                    false => left.resize(left.len() + sector.len(), 0),
                }
            }
        }
        _ => return durable.to_vec(),
    }
    left
}

/// The SplitMix64 generator.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
