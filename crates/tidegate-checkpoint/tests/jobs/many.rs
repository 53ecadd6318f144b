//! Ten thousand sealed tasks are found again at once.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_checkpoint::RealVfs;
use tidegate_checkpoint::frames::FrameWriter;
use tidegate_checkpoint::job::{Jobs, Open, TaskKey};
use tidegate_checkpoint::vfs::{LockFile, Metadata, Vfs, VfsFile, VfsLock, VfsRead};

const TASKS: u32 = 10_000;

#[test]
fn ten_thousand_sealed_tasks_are_found_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let name = "many".parse().unwrap();
    let jobs = |vfs: Arc<dyn Vfs>| Jobs::new(vfs, dir.path().to_path_buf(), Arc::new(|| 0));
    let begin = Instant::now();
    let quick: Arc<dyn Vfs> = Arc::new(Unsynced);
    let Open::New(job) = jobs(Arc::clone(&quick)).open(&name, b"many").unwrap() else {
        unreachable!("it is new");
    };
    job.put_spec(0, b"spec").unwrap();
    for task in 0..TASKS {
        let key = TaskKey {
            statement: 0,
            stage: task % 7,
            task,
        };
        let (place, origin) = (job.place(key, 0), job.origin(key, 0));
        let mut writer = FrameWriter::create_durable(Arc::clone(&quick), &place, origin).unwrap();
        writer.append(0, 1, b"a row").unwrap();
        job.seal(key, 0, writer.finish().unwrap(), Duration::ZERO)
            .unwrap();
    }
    drop(job);
    let written = begin.elapsed();

    let begin = Instant::now();
    let Open::Resumed(job) = jobs(Arc::new(RealVfs)).open(&name, b"many").unwrap() else {
        unreachable!("it was made");
    };
    let opened = begin.elapsed();
    let tasks = job.sealed(0).unwrap();
    let found = begin.elapsed();
    assert_eq!((tasks.good.len(), tasks.bad.len()), (TASKS as usize, 0));
    eprintln!(
        "{TASKS} tasks: sealed in {written:.1?}, opened in {opened:.2?}, found in {found:.2?}"
    );
    assert!(found < Duration::from_secs(5), "{found:?}");
}

/// The real file system without the waiting for the disk: for what is written only to be read here.
#[derive(Debug)]
struct Unsynced;

struct UnsyncedFile(Box<dyn VfsFile>);

impl Write for UnsyncedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl VfsFile for UnsyncedFile {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        self.0.set_mode(mode)
    }

    fn set_owner(&mut self, user: u32, group: u32) -> io::Result<()> {
        self.0.set_owner(user, group)
    }

    fn try_lock(&mut self) -> io::Result<bool> {
        self.0.try_lock()
    }
}

impl Vfs for Unsynced {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(UnsyncedFile(RealVfs.create(path)?)))
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open_stream(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        RealVfs.open_stream(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn VfsRead>> {
        RealVfs.open_read(path)
    }

    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        RealVfs.read(path, bytes_max)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        RealVfs.metadata(path)
    }

    fn link_metadata(&self, path: &Path) -> io::Result<Metadata> {
        RealVfs.link_metadata(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        RealVfs.read_link(path)
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        RealVfs.canonicalize(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        RealVfs.list(dir)
    }

    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        RealVfs.make_dir(path, mode)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        RealVfs.set_mode(path, mode)
    }

    fn set_owner(&self, path: &Path, user: u32, group: u32) -> io::Result<()> {
        RealVfs.set_owner(path, user, group)
    }

    fn check_writable(&self, path: &Path) -> io::Result<()> {
        RealVfs.check_writable(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealVfs.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealVfs.rename_new(from, to)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        RealVfs.exchange(one, other)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealVfs.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealVfs.remove_dir(path)
    }

    fn try_lock(&self, path: &Path, file: LockFile) -> io::Result<Option<Box<dyn VfsLock>>> {
        RealVfs.try_lock(path, file)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        RealVfs.is_locked(path)
    }

    fn pause(&self, time: Duration) {
        RealVfs.pause(time);
    }

    fn unique(&self) -> u64 {
        RealVfs.unique()
    }

    fn protected(&self) -> Vec<PathBuf> {
        RealVfs.protected()
    }
}
