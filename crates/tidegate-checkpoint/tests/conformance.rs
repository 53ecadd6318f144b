//! One suite for both file systems: the model that tests trust must behave as the real one.
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Write};
use std::path::Path;

use tidegate_checkpoint::vfs::{Kind, LockFile, Vfs};
use tidegate_checkpoint::{FaultVfs, RealVfs};

#[test]
fn the_real_file_system_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&RealVfs, dir.path());
}

#[test]
fn the_model_conforms() {
    let vfs = FaultVfs::new(1);
    vfs.make_dir(Path::new("/d"), 0o755).unwrap();
    conforms(&vfs, Path::new("/d"));
}

fn conforms(vfs: &dyn Vfs, root: &Path) {
    files(vfs, &sub(vfs, root, "files"));
    renames(vfs, &sub(vfs, root, "renames"));
    exchanges(vfs, &sub(vfs, root, "exchanges"));
    locks(vfs, &sub(vfs, root, "locks"));
}

fn sub(vfs: &dyn Vfs, root: &Path, name: &str) -> std::path::PathBuf {
    let dir = root.join(name);
    vfs.make_dir(&dir, 0o755).unwrap();
    dir
}

fn put(vfs: &dyn Vfs, path: &Path, bytes: &[u8]) {
    let mut file = vfs.create(path).unwrap();
    file.write_all(bytes).unwrap();
    file.sync().unwrap();
}

fn get(vfs: &dyn Vfs, path: &Path) -> Vec<u8> {
    vfs.read(path, 1000).unwrap()
}

fn fails<T>(result: std::io::Result<T>, kind: ErrorKind) {
    assert_eq!(result.err().map(|error| error.kind()), Some(kind));
}

fn files(vfs: &dyn Vfs, dir: &Path) {
    let a = dir.join("a");
    fails(vfs.metadata(&a), ErrorKind::NotFound);
    fails(vfs.create(&dir.join("none/a")), ErrorKind::NotFound);
    put(vfs, &a, b"tide");
    fails(vfs.create(&a), ErrorKind::AlreadyExists);
    fails(vfs.make_dir(&a, 0o755), ErrorKind::AlreadyExists);
    fails(vfs.create(&a.join("b")), ErrorKind::NotADirectory);
    fails(vfs.list(&a), ErrorKind::NotADirectory);
    fails(vfs.read(&a, 3), ErrorKind::FileTooLarge);
    assert_eq!(get(vfs, &a), b"tide");
    let found = vfs.metadata(&a).unwrap();
    assert_eq!((found.kind, found.bytes), (Kind::File, 4));
    vfs.set_mode(&a, 0o640).unwrap();
    assert_eq!(vfs.link_metadata(&a).unwrap().mode, 0o640);
    vfs.check_writable(&a).unwrap();
    put(vfs, &dir.join("c"), b"");
    put(vfs, &dir.join("b"), b"");
    assert_eq!(vfs.list(dir).unwrap(), ["a", "b", "c"]);
    assert_eq!(
        vfs.canonicalize(&dir.join("x/../a")).is_ok(),
        vfs.metadata(&dir.join("x/../a")).is_ok()
    );
    vfs.sync_dir(dir).unwrap();
    fails(vfs.remove_dir(&a), ErrorKind::NotADirectory);
    assert!(vfs.remove_file(dir).is_err());
    fails(vfs.remove_dir(dir), ErrorKind::DirectoryNotEmpty);
    vfs.remove_file(&a).unwrap();
    fails(vfs.remove_file(&a), ErrorKind::NotFound);
    assert_ne!(vfs.unique(), vfs.unique());
}

fn renames(vfs: &dyn Vfs, dir: &Path) {
    let (a, b, d, e) = (dir.join("a"), dir.join("b"), dir.join("d"), dir.join("e"));
    put(vfs, &a, b"1");
    put(vfs, &b, b"2");
    fails(vfs.rename_new(&a, &b), ErrorKind::AlreadyExists);
    vfs.rename(&a, &b).unwrap();
    assert_eq!(
        (get(vfs, &b), vfs.list(dir).unwrap().len()),
        (b"1".to_vec(), 1)
    );
    vfs.rename_new(&b, &a).unwrap();
    fails(vfs.rename(&b, &a), ErrorKind::NotFound);
    vfs.make_dir(&d, 0o755).unwrap();
    vfs.make_dir(&e, 0o755).unwrap();
    put(vfs, &d.join("x"), b"3");
    fails(vfs.rename(&a, &d), ErrorKind::IsADirectory);
    fails(vfs.rename(&d, &a), ErrorKind::NotADirectory);
    vfs.rename(&d, &e).unwrap();
    assert_eq!(get(vfs, &e.join("x")), b"3");
    vfs.make_dir(&d, 0o755).unwrap();
    fails(vfs.rename(&d, &e), ErrorKind::DirectoryNotEmpty);
}

fn exchanges(vfs: &dyn Vfs, dir: &Path) {
    let (a, b) = (dir.join("a"), dir.join("b"));
    vfs.make_dir(&a, 0o755).unwrap();
    put(vfs, &a.join("x"), b"1");
    fails(vfs.exchange(&a, &b), ErrorKind::NotFound);
    put(vfs, &b, b"2");
    vfs.exchange(&a, &b).unwrap();
    assert_eq!(
        (get(vfs, &a), get(vfs, &b.join("x"))),
        (b"2".to_vec(), b"1".to_vec())
    );
}

fn locks(vfs: &dyn Vfs, dir: &Path) {
    let path = dir.join("lock");
    fails(
        vfs.try_lock(&path, LockFile::MustExist),
        ErrorKind::NotFound,
    );
    let held = vfs.try_lock(&path, LockFile::Create).unwrap().unwrap();
    assert_eq!(held.inode(), vfs.metadata(&path).unwrap().inode);
    assert!(vfs.try_lock(&path, LockFile::Create).unwrap().is_none());
    assert!(vfs.is_locked(&path).unwrap());
    held.note(b"a longer text").unwrap();
    held.note(b"text").unwrap();
    held.set_modified(1_700_000_000_123).unwrap();
    assert_eq!(get(vfs, &path), b"text");
    assert_eq!(vfs.metadata(&path).unwrap().modified_ms, 1_700_000_000_123);
    vfs.remove_file(&path).unwrap();
    let second = vfs.try_lock(&path, LockFile::Create).unwrap().unwrap();
    drop(held);
    assert!(vfs.try_lock(&path, LockFile::MustExist).unwrap().is_none());
    drop(second);
    assert!(!vfs.is_locked(&path).unwrap());
    fails(vfs.is_locked(&dir.join("none")), ErrorKind::NotFound);
    assert!(vfs.try_lock(&path, LockFile::MustExist).unwrap().is_some());
    let mut file = vfs.create(&dir.join("self")).unwrap();
    assert!(file.try_lock().unwrap());
    assert!(
        vfs.try_lock(&dir.join("self"), LockFile::MustExist)
            .unwrap()
            .is_none()
    );
    drop(file);
    assert!(
        vfs.try_lock(&dir.join("self"), LockFile::MustExist)
            .unwrap()
            .is_some()
    );
    let mut swept = vfs.create(&dir.join("swept")).unwrap();
    vfs.remove_file(&dir.join("swept")).unwrap();
    assert!(
        !swept.try_lock().unwrap(),
        "a removed file cannot be locked"
    );
}
