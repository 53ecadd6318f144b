//! How much memory and disk there is: what a cgroup allows, or what the machine has.

use std::fs;
use std::path::Path;

/// The share of the available memory that queries use by default.
pub const MEMORY_SHARE_DEFAULT: f64 = 0.65;
/// The share of the free disk that temporary files use by default.
pub const DISK_SHARE_DEFAULT: f64 = 0.90;

/// Bytes of memory that this process may use: the lowest limit of its cgroups, else the machine's.
pub fn memory_available() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| meminfo_total(&text))
        .unwrap_or(1 << 30);
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    cgroup_limits(&cgroups, Path::new("/sys/fs/cgroup"))
        .into_iter()
        .fold(machine, u64::min)
}

/// Files that writes may have open: half of what the system lets this process, so that reading,
/// spilling and the rest of the program can open theirs.
pub fn open_files() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    open_files_limit(&limits).map_or(u64::MAX, |limit| limit / 2)
}

/// The default memory limit in bytes.
pub fn memory_default() -> u64 {
    (memory_available() as f64 * MEMORY_SHARE_DEFAULT) as u64
}

/// The default limit of temporary files in bytes: a share of what is free where they go.
pub fn disk_default(directory: &Path) -> u64 {
    let mut existing = directory;
    loop {
        if let Ok(stat) = rustix::fs::statvfs(existing) {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            return (free as f64 * DISK_SHARE_DEFAULT) as u64;
        }
        match existing.parent() {
            Some(parent) => existing = parent,
            None => return 0,
        }
    }
}

/// The soft limit in a text such as `Max open files   1024   524288   files`; none without one.
fn open_files_limit(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// The limits of a process's cgroups, of version 2 (each ancestor counts) and version 1.
fn cgroup_limits(cgroups: &str, root: &Path) -> Vec<u64> {
    let mut limits = Vec::new();
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let relative = path.trim_start_matches('/');
        let (base, file) = match controllers {
            "" => (root.to_path_buf(), "memory.max"),
            names if names.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let leaf = base.join(relative);
        let within = leaf.ancestors().take_while(|dir| dir.starts_with(&base));
        limits.extend(within.filter_map(|dir| {
            let text = fs::read_to_string(dir.join(file)).ok()?;
            text.trim().parse::<u64>().ok().filter(|bytes| *bytes > 0)
        }));
    }
    limits
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_lowest_limit_of_the_ancestors_counts() {
        let root = tempfile::tempdir().unwrap();
        let leaf = root.path().join("a/b");
        fs::create_dir_all(&leaf).unwrap();
        fs::write(root.path().join("a/memory.max"), "1000\n").unwrap();
        fs::write(leaf.join("memory.max"), "max\n").unwrap();
        assert_eq!(cgroup_limits("0::/a/b\n", root.path()), vec![1000]);
    }

    #[test]
    fn version_one_is_read_too() {
        let root = tempfile::tempdir().unwrap();
        let leaf = root.path().join("memory/x");
        fs::create_dir_all(&leaf).unwrap();
        fs::write(leaf.join("memory.limit_in_bytes"), "500").unwrap();
        assert_eq!(cgroup_limits("5:cpu,memory:/x\n", root.path()), vec![500]);
    }

    #[test]
    fn the_soft_limit_of_open_files_is_found() {
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax open files  64  524288  files\n";
        assert_eq!(open_files_limit(text), Some(64));
        assert_eq!(
            open_files_limit("Max open files  unlimited  unlimited"),
            None
        );
        assert!(open_files() > 0);
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(memory_available() > 1 << 20);
        assert!(memory_default() < memory_available());
    }
}
