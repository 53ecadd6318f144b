//! A file system in memory that forgets like a disk: what was not synced may be lost when the
//! power fails, and the n-th call can be made to fail, or to be the last one. Seeded.
//!
//! The model is harsher than ext4 or xfs: of the changes to directories that were not synced any
//! subset survives, in any combination; a file's data that was not synced survives whole, as a
//! prefix, as zeroes, in some sectors, or not at all.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::vfs::{Kind, LockFile, Metadata, Vfs, VfsFile, VfsLock, VfsRead};
use disk::{Disk, Ino, Node, ROOT};

mod disk;

/// What happens at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails with EIO; later ones work.
    Eio,
    /// The call fails with ENOSPC (a write after half of its bytes); later ones work.
    Enospc,
    /// The process is killed: this and all later calls of it fail, its locks are free.
    Kill,
    /// The machine loses power: as `Kill` for every process, and what was not synced may be lost.
    PowerLoss,
}

/// One process's view of a disk in memory; [`FaultVfs::process`] gives further ones.
///
/// ```
/// use std::{io::Write, path::Path};
/// use tidegate_checkpoint::fault::{Fault, FaultVfs};
/// use tidegate_checkpoint::vfs::Vfs;
///
/// let vfs = FaultVfs::new(7);
/// vfs.create(Path::new("/a"))?.write_all(b"never synced")?;
/// vfs.power_loss();
/// assert!(vfs.read(Path::new("/a"), 100).is_err(), "this process is dead");
/// assert!(vfs.process().list(Path::new("/"))?.len() <= 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FaultVfs {
    disk: Arc<Mutex<Disk>>,
    process: Arc<Process>,
}

#[derive(Debug)]
struct Process {
    id: u64,
    calls: AtomicU64,
    fired: AtomicBool,
    plan: Option<(u64, Fault)>,
    /// How often the disk had been changed before each call.
    #[cfg(test)]
    changes: Mutex<Vec<u64>>,
}

impl FaultVfs {
    /// An empty disk; the seed decides what a power loss takes.
    pub fn new(seed: u64) -> Self {
        let disk = Arc::new(Mutex::new(Disk::new(seed)));
        Self::attach(disk, None)
    }

    /// A further process on the same disk.
    pub fn process(&self) -> Self {
        Self::attach(Arc::clone(&self.disk), None)
    }

    /// A further process on the same disk whose call number `call` (from 0) suffers `fault`.
    pub fn process_with(&self, call: u64, fault: Fault) -> Self {
        Self::attach(Arc::clone(&self.disk), Some((call, fault)))
    }

    /// Whether the fault has happened.
    pub fn fired(&self) -> bool {
        self.process.fired.load(Ordering::Relaxed)
    }

    /// Calls made by this process.
    pub fn calls(&self) -> u64 {
        self.process.calls.load(Ordering::Relaxed)
    }

    /// Makes [`Vfs::exchange`] answer `Unsupported`, as some network file systems do.
    pub fn forbid_exchange(&self) {
        self.disk.lock().exchange = false;
    }

    /// Makes locks keep nobody out, as some network file systems do.
    pub fn forbid_locks(&self) {
        self.disk.lock().locking = false;
    }

    /// Ends this process as SIGKILL would.
    pub fn kill(&self) {
        self.disk.lock().kill(self.process.id);
    }

    /// Ends all processes and forgets, by the seed, what was not synced.
    pub fn power_loss(&self) {
        self.disk.lock().power_loss();
    }

    fn attach(disk: Arc<Mutex<Disk>>, plan: Option<(u64, Fault)>) -> Self {
        let id = disk.lock().start_process();
        Self::of(disk, id, plan)
    }

    fn of(disk: Arc<Mutex<Disk>>, id: u64, plan: Option<(u64, Fault)>) -> Self {
        let process = Arc::new(Process {
            id,
            calls: AtomicU64::new(0),
            fired: AtomicBool::new(false),
            plan,
            #[cfg(test)]
            changes: Mutex::default(),
        });
        Self { disk, process }
    }

    /// Counts a call, and runs it unless it is the one to fail or the process is dead.
    fn call<T>(&self, work: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        match self.fate() {
            None => {
                let mut disk = self.disk.lock();
                disk.check_alive(self.process.id)?;
                work(&mut disk)
            }
            Some(fault) => Err(self.suffer(fault)),
        }
    }

    fn fate(&self) -> Option<Fault> {
        let call = self.process.calls.fetch_add(1, Ordering::Relaxed);
        #[cfg(test)]
        self.process.changes.lock().push(self.disk.lock().changes);
        let (at, fault) = self.process.plan?;
        (call == at).then_some(fault)
    }

    fn suffer(&self, fault: Fault) -> io::Error {
        self.process.fired.store(true, Ordering::Relaxed);
        match fault {
            Fault::Eio => return rustix::io::Errno::IO.into(),
            Fault::Enospc => return rustix::io::Errno::NOSPC.into(),
            Fault::Kill => self.kill(),
            Fault::PowerLoss => self.power_loss(),
        }
        disk::dead()
    }
}

/// For a search that tries everything that can happen next, each on a world of its own.
#[cfg(test)]
impl FaultVfs {
    /// The same process on a copy of the disk.
    pub(crate) fn fork(&self) -> Self {
        let disk = self.disk.lock().clone();
        Self::of(Arc::new(Mutex::new(disk)), self.process.id, None)
    }

    /// Another process on this disk, of which the disk is a copy, with a fault to come.
    pub(crate) fn sibling(&self, of: &Self, plan: Option<(u64, Fault)>) -> Self {
        Self::of(Arc::clone(&self.disk), of.process.id, plan)
    }

    /// A file that this process had open when the disk was copied.
    pub(crate) fn still_open(&self, inode: u64) -> Box<dyn VfsFile> {
        Box::new(FaultFile {
            vfs: self.clone(),
            ino: inode,
            sync_failed: false,
            locked: false,
        })
    }

    /// A lock that this process held when the disk was copied.
    pub(crate) fn still_held(&self, inode: u64) -> Box<dyn VfsLock> {
        let vfs = self.clone();
        Box::new(FaultLock { vfs, ino: inode })
    }

    /// The first of the calls between two changes of the disk: to be killed at another is the same.
    pub(crate) fn calls_that_differ(&self) -> Vec<u64> {
        let changes = self.process.changes.lock();
        let is_first = |call: &usize| *call == 0 || changes[*call] != changes[call - 1];
        let calls = (0..changes.len()).filter(is_first);
        calls.map(|call| call as u64).collect()
    }
}

#[derive(Debug)]
struct FaultFile {
    vfs: FaultVfs,
    ino: Ino,
    // A failed sync is final: the same descriptor never succeeds again.
    sync_failed: bool,
    locked: bool,
}

#[derive(Debug)]
struct FaultLock {
    vfs: FaultVfs,
    ino: Ino,
}

impl Write for FaultFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(fault) = self.vfs.fate() {
            if fault == Fault::Enospc {
                let half = &bytes[..bytes.len() / 2];
                self.vfs.disk.lock().append(self.ino, half)?;
            }
            return Err(self.vfs.suffer(fault));
        }
        let mut disk = self.vfs.disk.lock();
        disk.check_alive(self.vfs.process.id)?;
        disk.append(self.ino, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl VfsFile for FaultFile {
    fn sync(&mut self) -> io::Result<()> {
        if self.sync_failed {
            // The lie of a real kernel: pages are marked clean, the second call succeeds.
            return Ok(());
        }
        let ino = self.ino;
        let synced = self.vfs.call(|disk| disk.sync_file(ino));
        self.sync_failed = synced.is_err();
        synced
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        let ino = self.ino;
        self.vfs.call(|disk| disk.set_mode(ino, mode))
    }

    fn set_owner(&mut self, _user: u32, _group: u32) -> io::Result<()> {
        self.vfs.call(|_| Ok(()))
    }

    fn try_lock(&mut self) -> io::Result<bool> {
        let (ino, process) = (self.ino, self.vfs.process.id);
        let locked = self.vfs.call(|disk| Ok(disk.lock(ino, process)))?;
        self.locked = locked;
        Ok(locked && self.vfs.disk.lock().is_linked(ino))
    }
}

impl Drop for FaultFile {
    fn drop(&mut self) {
        if self.locked {
            let process = self.vfs.process.id;
            self.vfs.disk.lock().unlock(self.ino, process);
        }
    }
}

impl VfsLock for FaultLock {
    fn inode(&self) -> u64 {
        self.ino
    }

    fn note(&self, text: &[u8]) -> io::Result<()> {
        self.vfs.call(|disk| disk.replace(self.ino, text))
    }

    fn set_modified(&self, at_ms: i64) -> io::Result<()> {
        self.vfs.call(|disk| disk.set_modified(self.ino, at_ms))
    }
}

impl Drop for FaultLock {
    fn drop(&mut self) {
        let process = self.vfs.process.id;
        self.vfs.disk.lock().unlock(self.ino, process);
    }
}

#[derive(Debug)]
struct FaultRead {
    vfs: FaultVfs,
    ino: Ino,
}

impl VfsRead for FaultRead {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.vfs.call(|disk| {
            let data = disk.read(self.ino)?;
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let to = from.saturating_add(bytes.len());
            let part = data.get(from..to).ok_or(io::ErrorKind::UnexpectedEof)?;
            bytes.copy_from_slice(part);
            Ok(())
        })
    }
}

impl Vfs for FaultVfs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        let ino = self.call(|disk| {
            let (dir, name) = disk.parent(path)?;
            disk.add(dir, &name, Node::file(0o644))
        })?;
        Ok(Box::new(FaultFile {
            vfs: self.clone(),
            ino,
            sync_failed: false,
            locked: false,
        }))
    }

    fn open_stream(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        let ino = self.call(|disk| disk.find(path))?;
        Ok(Box::new(FaultFile {
            vfs: self.clone(),
            ino,
            sync_failed: false,
            locked: false,
        }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn VfsRead>> {
        let ino = self.call(|disk| disk.find(path))?;
        let vfs = self.clone();
        Ok(Box::new(FaultRead { vfs, ino }))
    }

    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.call(|disk| {
            let data = disk.read(disk.find(path)?)?;
            if data.len() as u64 > bytes_max {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            Ok(data)
        })
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.call(|disk| disk.metadata(disk.find(path)?))
    }

    fn link_metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.metadata(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.call(|disk| disk.find(path).map(|_| ()))?;
        Err(io::ErrorKind::InvalidInput.into())
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.call(|disk| disk.find(path).map(|_| ()))?;
        Ok(normal_names(path)?
            .iter()
            .fold(PathBuf::from("/"), |path, name| path.join(name)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.call(|disk| disk.list(disk.find(dir)?))
    }

    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.call(|disk| {
            let (dir, name) = disk.parent(path)?;
            disk.add(dir, &name, Node::dir(mode & !0o022)).map(|_| ())
        })
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.call(|disk| disk.set_mode(disk.find(path)?, mode))
    }

    fn set_owner(&self, path: &Path, _user: u32, _group: u32) -> io::Result<()> {
        self.call(|disk| disk.find(path).map(drop))
    }

    fn check_writable(&self, path: &Path) -> io::Result<()> {
        self.call(|disk| {
            let mode = disk.metadata(disk.find(path)?)?.mode;
            if mode & 0o200 == 0 {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|disk| disk.rename(from, to))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|disk| {
            if disk.find(to).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            disk.rename(from, to)
        })
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.call(|disk| disk.swap(one, other))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(|disk| disk.remove(path, Kind::File))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call(|disk| disk.remove(path, Kind::Directory))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(|disk| disk.sync_dir(disk.find(dir)?))
    }

    fn try_lock(&self, path: &Path, file: LockFile) -> io::Result<Option<Box<dyn VfsLock>>> {
        let process = self.process.id;
        let locked = self.call(|disk| {
            let ino = match disk.find(path) {
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && file == LockFile::Create =>
                {
                    let (dir, name) = disk.parent(path)?;
                    disk.add(dir, &name, Node::file(0o644))?
                }
                found => found?,
            };
            Ok(disk.lock(ino, process).then_some(ino))
        })?;
        Ok(locked.map(|ino| {
            let vfs = self.clone();
            Box::new(FaultLock { vfs, ino }) as Box<dyn VfsLock>
        }))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.call(|disk| Ok(disk.is_locked(disk.find(path)?)))
    }

    fn pause(&self, _time: Duration) {
        std::thread::yield_now();
    }

    fn unique(&self) -> u64 {
        self.disk.lock().unique()
    }

    fn protected(&self) -> Vec<PathBuf> {
        vec![PathBuf::from("/home/user"), PathBuf::from("/work")]
    }
}

/// The names of an absolute path, `.` and `..` resolved.
fn normal_names(path: &Path) -> io::Result<Vec<&OsStr>> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(name),
            Component::ParentDir => drop(names.pop()),
            Component::RootDir | Component::CurDir => {}
            Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(names)
}

impl Disk {
    fn find(&self, path: &Path) -> io::Result<Ino> {
        normal_names(path)?
            .into_iter()
            .try_fold(ROOT, |dir, name| self.entry(dir, name))
    }

    fn parent(&self, path: &Path) -> io::Result<(Ino, OsString)> {
        let mut names = normal_names(path)?;
        let name = names.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let dir = names
            .into_iter()
            .try_fold(ROOT, |dir, name| self.entry(dir, name))?;
        Ok((dir, name.to_owned()))
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        let moved = self.entry(from_dir, &from_name)?;
        if let Ok(replaced) = self.entry(to_dir, &to_name) {
            if replaced == moved {
                return Ok(());
            }
            self.check_replaceable(moved, replaced)?;
        }
        self.change(vec![
            (from_dir, from_name, None),
            (to_dir, to_name, Some(moved)),
        ])
    }

    fn swap(&mut self, one: &Path, other: &Path) -> io::Result<()> {
        if !self.exchange {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let (one_dir, one_name) = self.parent(one)?;
        let (other_dir, other_name) = self.parent(other)?;
        let one = self.entry(one_dir, &one_name)?;
        let other = self.entry(other_dir, &other_name)?;
        self.change(vec![
            (one_dir, one_name, Some(other)),
            (other_dir, other_name, Some(one)),
        ])
    }

    fn remove(&mut self, path: &Path, kind: Kind) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        self.check_removable(self.entry(dir, &name)?, kind)?;
        self.change(vec![(dir, name, None)])
    }
}
