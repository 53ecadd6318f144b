//! What a write does to targets of every kind on the real file system, alone and beside others.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_checkpoint::staged::{pending, settle};
use tidegate_checkpoint::{
    Committed, Error, FaultVfs, Mode, RealVfs, Result, StagedWrite, Vfs, recover,
};

fn directory(target: &Path, mode: Mode) -> Result<Option<StagedWrite>> {
    StagedWrite::directory(Arc::new(RealVfs), target, mode)
}

fn write_file(target: &Path, mode: Mode, bytes: &[u8]) -> Result<Option<Committed>> {
    let Some(write) = StagedWrite::file(Arc::new(RealVfs), target, mode)? else {
        return Ok(None);
    };
    put(&write, "ignored", bytes)?;
    write.commit().map(Some)
}

fn put(write: &StagedWrite, name: &str, bytes: &[u8]) -> Result<()> {
    let mut file = write.create(name)?;
    file.write_all(bytes).unwrap();
    file.finish().map(drop)
}

fn write_directory(target: &Path, mode: Mode, names: &[&str]) -> Result<Option<Committed>> {
    let Some(write) = directory(target, mode)? else {
        return Ok(None);
    };
    for name in names {
        put(&write, name, name.as_bytes())?;
    }
    write.commit().map(Some)
}

/// Every path below, hidden ones too.
fn tree(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(below) = todo.pop() {
        for entry in fs::read_dir(dir.join(&below)).unwrap() {
            let entry = entry.unwrap();
            let path = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                todo.push(path);
            } else {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn says(error: Error, part: &str) {
    let text = error.to_string();
    assert!(text.contains(part), "{text}");
}

#[test]
fn a_file_is_replaced_with_its_permissions_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let done = write_file(&path, Mode::Overwrite, b"new").unwrap().unwrap();
    assert_eq!((done.bytes, done.files[0].name.as_str()), (3, "a.csv"));
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert_eq!(tree(dir.path()), ["a.csv"]);
}

#[test]
fn modes_decide_what_happens_to_a_file_that_exists() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    assert!(write_file(&path, Mode::Error, b"1").unwrap().is_some());
    says(
        write_file(&path, Mode::Error, b"2").unwrap_err(),
        "already exists",
    );
    says(
        write_file(&path, Mode::Append, b"2").unwrap_err(),
        "cannot be appended to",
    );
    assert!(write_file(&path, Mode::Ignore, b"2").unwrap().is_none());
    assert_eq!(fs::read(&path).unwrap(), b"1");
}

#[test]
fn a_dropped_write_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs::write(&path, "old").unwrap();
    let write = StagedWrite::file(Arc::new(RealVfs), &path, Mode::Overwrite)
        .unwrap()
        .unwrap();
    let mut file = write.create("").unwrap();
    file.write_all(b"half").unwrap();
    says(write.commit().unwrap_err(), "not finished");
    drop(file);
    for mode in [Mode::Error, Mode::Overwrite, Mode::Append] {
        let write = directory(&dir.path().join("made/new"), mode)
            .unwrap()
            .unwrap();
        put(&write, "x.csv", b"x").unwrap();
        write.abort();
    }
    assert_eq!(tree(dir.path()), ["a.csv"]);
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "parents made for it are gone"
    );
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn links_are_followed_to_files_and_directories() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real");
    fs::create_dir(&real).unwrap();
    symlink("real/a.csv", dir.path().join("link.csv")).unwrap();
    write_file(&dir.path().join("link.csv"), Mode::Overwrite, b"1").unwrap();
    write_file(&dir.path().join("link.csv"), Mode::Overwrite, b"2").unwrap();
    assert_eq!(fs::read(real.join("a.csv")).unwrap(), b"2");
    assert!(
        fs::symlink_metadata(dir.path().join("link.csv"))
            .unwrap()
            .is_symlink()
    );
    symlink("real", dir.path().join("d")).unwrap();
    write_directory(&dir.path().join("d"), Mode::Overwrite, &["b.csv"]).unwrap();
    assert_eq!(tree(&real), ["b.csv"]);
    symlink("loop", dir.path().join("loop")).unwrap();
    assert!(write_file(&dir.path().join("loop"), Mode::Overwrite, b"1").is_err());
}

#[test]
fn files_and_directories_do_not_replace_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    fs::write(&file, "").unwrap();
    says(
        write_file(dir.path(), Mode::Overwrite, b"1").unwrap_err(),
        "it is a directory",
    );
    says(
        directory(&file, Mode::Overwrite).unwrap_err(),
        "it is a file",
    );
    says(
        write_file(&dir.path().join("none/f"), Mode::Error, b"").unwrap_err(),
        "none",
    );
}

#[test]
fn streams_are_written_through() {
    assert!(
        write_file(Path::new("/dev/null"), Mode::Error, b"gone")
            .unwrap()
            .is_some()
    );
    assert!(fs::metadata("/dev/null").unwrap().permissions().mode() & 0o222 != 0);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let reader = std::thread::spawn({
        let path = path.clone();
        move || {
            let mut text = String::new();
            fs::File::open(path)
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            text
        }
    });
    write_file(&path, Mode::Error, b"through").unwrap();
    assert_eq!(reader.join().unwrap(), "through");
    assert_eq!(tree(dir.path()), ["pipe"]);
}

#[test]
fn modes_decide_what_happens_to_a_directory_that_holds_data() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    write_directory(&out, Mode::Error, &["a.csv", "k=1/b.csv"]).unwrap();
    fs::set_permissions(&out, fs::Permissions::from_mode(0o750)).unwrap();
    says(
        write_directory(&out, Mode::Error, &["x.csv"]).unwrap_err(),
        "not empty",
    );
    assert!(
        write_directory(&out, Mode::Ignore, &["x.csv"])
            .unwrap()
            .is_none()
    );
    write_directory(&out, Mode::Append, &["k=1/c.csv", "k=2/d.csv"]).unwrap();
    assert_eq!(tree(&out), ["a.csv", "k=1/b.csv", "k=1/c.csv", "k=2/d.csv"]);
    says(
        write_directory(&out, Mode::Append, &["a.csv"]).unwrap_err(),
        "a.csv` already exists",
    );
    let done = write_directory(&out, Mode::Overwrite, &["z.csv"])
        .unwrap()
        .unwrap();
    assert_eq!(done.notice, None);
    assert_eq!(tree(dir.path()), ["out/z.csv"]);
    assert_eq!(
        fs::metadata(&out).unwrap().permissions().mode() & 0o777,
        0o750
    );
}

#[test]
fn an_empty_directory_may_be_written_in_every_mode() {
    for mode in [Mode::Error, Mode::Overwrite, Mode::Append, Mode::Ignore] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        write_directory(&out, mode, &["a.csv"]).unwrap().unwrap();
        assert_eq!(tree(dir.path()), ["out/a.csv"], "{mode:?}");
    }
}

#[test]
fn no_files_make_an_empty_directory() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    write_directory(&out, Mode::Error, &[]).unwrap();
    assert!(out.is_dir() && tree(&out).is_empty());
}

#[test]
fn an_overwrite_spares_what_is_not_data() {
    let dir = tempfile::tempdir().unwrap();
    for (name, part) in [
        ("notes.md", "`notes.md` in it is not a data file"),
        (".git/config", "`.git` in it is not a data file"),
        ("k=1/Makefile", "`k=1/Makefile` in it is not a data file"),
        ("_notes.md", "`_notes.md` in it is not a data file"),
        ("readme.txt", "`readme.txt` in it is not a data file"),
        ("backup.tar.gz", "`backup.tar.gz` in it is not a data file"),
        ("_archive/2023.csv", "`_archive` in it is not a data file"),
        ("_delta_log/0.json", "Delta Lake"),
        ("metadata/v1.metadata.json", "Iceberg"),
    ] {
        let out = dir.path().join(name.replace('/', "-"));
        fs::create_dir_all(out.join(name).parent().unwrap()).unwrap();
        fs::write(out.join(name), "mine").unwrap();
        fs::write(out.join("a.parquet"), "data").unwrap();
        says(directory(&out, Mode::Overwrite).unwrap_err(), part);
        assert_eq!(fs::read(out.join(name)).unwrap(), b"mine");
    }
    for place in ["/", "/home", "/tmp"] {
        let refused = directory(Path::new(place), Mode::Overwrite);
        assert!(
            matches!(refused, Err(Error::Refused { .. })),
            "{place}: {refused:?}"
        );
    }
    let here = std::env::current_dir().unwrap();
    for place in [here.as_path(), here.parent().unwrap()] {
        says(
            directory(place, Mode::Overwrite).unwrap_err(),
            "refusing to write",
        );
    }
}

/// Only root can give files away, so only root can see it kept.
#[test]
fn an_overwritten_directory_keeps_its_owner_and_permissions() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    for held in [None, Some("a.csv")] {
        fs::create_dir_all(&out).unwrap();
        if let Some(name) = held {
            fs::write(out.join(name), "old").unwrap();
        }
        let given = std::os::unix::fs::chown(&out, Some(4321), Some(4322)).is_ok();
        fs::set_permissions(&out, fs::Permissions::from_mode(0o750)).unwrap();
        write_directory(&out, Mode::Overwrite, &["b.csv"]).unwrap();
        let found = fs::metadata(&out).unwrap();
        assert_eq!(tree(&out), ["b.csv"]);
        assert_eq!(found.mode() & 0o7777, 0o750);
        if given {
            assert_eq!((found.uid(), found.gid()), (4321, 4322));
        }
        fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn an_empty_directory_that_is_lived_in_is_written_into() {
    for mode in [Mode::Error, Mode::Overwrite, Mode::Append, Mode::Ignore] {
        let vfs = Arc::new(FaultVfs::new(0));
        // It is one of the places that this file system protects.
        let here = Path::new("/work");
        vfs.make_dir(here, 0o755).unwrap();
        let before = vfs.metadata(here).unwrap().inode;
        let write = StagedWrite::directory(Arc::<FaultVfs>::clone(&vfs), here, mode)
            .unwrap()
            .unwrap();
        put(&write, "k=1/a.csv", b"1").unwrap();
        write.commit().unwrap();
        assert_eq!(vfs.metadata(here).unwrap().inode, before, "{mode:?}");
        assert_eq!(vfs.list(here).unwrap(), ["k=1"], "{mode:?}");
    }
}

#[test]
fn only_a_decided_commit_is_pending() {
    let dir = tempfile::tempdir().unwrap();
    let all = dir.path().join("_tidegate");
    let commit = all.join("0123456789abcdef");
    fs::create_dir_all(&commit).unwrap();
    fs::write(all.join("lock"), "").unwrap();
    assert!(!pending(&RealVfs, dir.path()).unwrap());
    fs::write(commit.join("intent"), "").unwrap();
    assert!(pending(&RealVfs, dir.path()).unwrap());
}

#[test]
fn the_end_of_a_process_can_wait_for_staging_to_go() {
    use std::time::Duration;
    let dir = tempfile::tempdir().unwrap();
    let write = directory(&dir.path().join("out"), Mode::Error)
        .unwrap()
        .unwrap();
    let file = write.create("a.csv").unwrap();
    assert!(!settle(Duration::ZERO));
    let later = std::thread::spawn(move || {
        drop(write);
        drop(file);
    });
    // Other tests stage at the same time; all of them end.
    assert!(settle(Duration::from_secs(60)));
    later.join().unwrap();
    assert!(tree(dir.path()).is_empty());
}

#[test]
fn file_names_stay_below_the_target() {
    let dir = tempfile::tempdir().unwrap();
    let write = directory(&dir.path().join("out"), Mode::Error)
        .unwrap()
        .unwrap();
    for bad in ["../x", "/x", "a/../../x", "_tidegate/x", ""] {
        assert!(
            matches!(write.create(bad), Err(Error::Misuse { .. })),
            "{bad}"
        );
    }
    assert_ne!(write.part_name(0, "csv"), write.part_name(1, "csv"));
}

#[test]
fn a_forged_intent_cannot_reach_outside() {
    let dir = tempfile::tempdir().unwrap();
    let commit = dir.path().join("out/_tidegate/0123456789abcdef");
    fs::create_dir_all(commit.join("data")).unwrap();
    fs::write(dir.path().join("victim"), "mine").unwrap();
    let body = r#"{"format":1,"add":[],"remove":[{"name":"../victim","inode":1}]}"#;
    let sum = blake3::hash(body.as_bytes());
    fs::write(commit.join("intent"), format!("{body}\n{sum}")).unwrap();
    says(
        recover(&RealVfs, &dir.path().join("out")).unwrap_err(),
        "is damaged",
    );
    fs::write(commit.join("intent"), "torn").unwrap();
    says(
        recover(&RealVfs, &dir.path().join("out")).unwrap_err(),
        "is damaged",
    );
    assert!(dir.path().join("victim").exists());
}

#[test]
fn two_appends_at_once_both_appear() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    write_directory(&out, Mode::Error, &["a.csv"]).unwrap();
    let one = directory(&out, Mode::Append).unwrap().unwrap();
    put(&one, "one.csv", b"1").unwrap();
    // Its start repairs the directory: the living write must not be swept by it.
    let two = directory(&out, Mode::Append).unwrap().unwrap();
    put(&two, "two.csv", b"2").unwrap();
    recover(&RealVfs, &out).unwrap();
    one.commit().unwrap();
    two.commit().unwrap();
    assert_eq!(tree(&out), ["a.csv", "one.csv", "two.csv"]);
}

#[test]
fn two_writes_of_a_new_directory_appear_whole_or_fail() {
    for (mode, both) in [
        (Mode::Error, false),
        (Mode::Append, true),
        (Mode::Overwrite, true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let one = directory(&out, mode).unwrap().unwrap();
        let two = directory(&out, mode).unwrap().unwrap();
        put(&one, "one.csv", b"1").unwrap();
        put(&two, "two.csv", b"2").unwrap();
        one.commit().unwrap();
        assert_eq!(two.commit().is_ok(), both, "{mode:?}");
        let expected: &[&str] = match mode {
            Mode::Append => &["out/one.csv", "out/two.csv"],
            Mode::Overwrite => &["out/two.csv"],
            _ => &["out/one.csv"],
        };
        assert_eq!(tree(dir.path()), expected, "{mode:?}");
    }
}

#[test]
fn an_append_into_a_directory_that_was_replaced_fails_clearly() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    write_directory(&out, Mode::Error, &["a.csv"]).unwrap();
    let append = directory(&out, Mode::Append).unwrap().unwrap();
    put(&append, "late.csv", b"1").unwrap();
    write_directory(&out, Mode::Overwrite, &["b.csv"]).unwrap();
    assert!(append.commit().is_err());
    assert_eq!(tree(dir.path()), ["out/b.csv"]);
}

#[test]
fn a_read_only_file_is_not_replaced_behind_its_back() {
    let vfs = FaultVfs::new(0);
    let path = Path::new("/a.csv");
    use tidegate_checkpoint::Vfs;
    vfs.create(path).unwrap();
    vfs.set_mode(path, 0o444).unwrap();
    let refused = StagedWrite::file(Arc::new(vfs), path, Mode::Overwrite);
    assert!(refused.unwrap_err().is_permission_denied());
}

#[test]
fn a_reader_beside_writers_never_takes_one_for_dead() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..60 {
                let write = directory(&out, Mode::Append).unwrap().unwrap();
                put(&write, &write.part_name(0, "csv"), b"1").unwrap();
                write.commit().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            assert!(!tidegate_checkpoint::staged::pending(&RealVfs, &out).unwrap());
        }
    });
}

#[test]
fn many_threads_appending_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("a.csv"), "").unwrap();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let out = out.clone();
            std::thread::spawn(move || {
                for round in 0..10 {
                    let write = directory(&out, Mode::Append).unwrap().unwrap();
                    for part in 0..3 {
                        put(
                            &write,
                            &format!("k={round}/{}", write.part_name(part, "csv")),
                            &[writer],
                        )
                        .unwrap();
                    }
                    write.commit().unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(tree(&out).len(), 1 + 8 * 10 * 3);
}
