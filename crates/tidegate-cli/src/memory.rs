//! Keeps a short run small. Starting, planning and running each pass through much code once, and
//! the system leaves all of it counted to the process; and its first small allocations would each
//! be given a huge page. What was only needed on the way is let go of, and huge pages come once
//! a run is not short.

#[cfg(target_os = "linux")]
pub(crate) use linux::{begin, let_go_of_code, let_go_of_code_once, settle};
#[cfg(not(target_os = "linux"))]
pub(crate) use other::{begin, let_go_of_code, let_go_of_code_once, settle};

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How often planning takes a step to a part of the program that the first statement has not used: later ones would
/// only fetch the same code again.
const STEPS: u8 = 2;

/// Lets go of the code of each step when the first statement is planned.
pub(crate) fn planning_steps() -> Arc<dyn Fn() + Send + Sync> {
    let left = AtomicU8::new(STEPS);
    let one_less = |left: u8| left.checked_sub(1);
    Arc::new(move || {
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        if taken.is_ok() {
            let_go_of_code();
        }
    })
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::c_void;
    use std::ops::Range;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    /// A run that lasts longer may have huge pages: by then it has data.
    const SHORT: Duration = Duration::from_millis(30);

    /// Whether the process may have huge pages at all: who started it may have decided that.
    static MAY_HAVE: AtomicBool = AtomicBool::new(false);

    /// At the very start of the process.
    pub(crate) fn begin() {
        // SAFETY: asks the kernel, and changes nothing.
        let refused = unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) };
        if refused == 0 {
            MAY_HAVE.store(true, Ordering::Relaxed);
            huge_pages(false);
        }
        let_go_of_code();
    }

    /// Waits until a run is not short, and lets it have huge pages.
    pub(crate) async fn settle() {
        tokio::time::sleep(SHORT).await;
        if MAY_HAVE.load(Ordering::Relaxed) {
            huge_pages(true);
        }
    }

    /// Lets go of the pages of the program itself. They stay in the cache of the system: what is
    /// run again comes back page by page without reading anything.
    pub(crate) fn let_go_of_code() {
        let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
            return;
        };
        let Ok(program) = std::env::current_exe() else {
            return;
        };
        let Some(program) = program.to_str() else {
            return;
        };
        let of_program = maps.lines().filter(|line| line.ends_with(program));
        for range in of_program.filter_map(unwritable) {
            let length = range.end - range.start;
            // SAFETY: these are pages of the program's file that nothing can have written to, so
            // that they come back as they were. A refusal of the system only means more memory.
            unsafe {
                libc::madvise(range.start as *mut c_void, length, libc::MADV_DONTNEED);
            }
        }
    }

    /// The same, the first time it is called.
    pub(crate) fn let_go_of_code_once() {
        static DONE: AtomicBool = AtomicBool::new(false);
        if !DONE.swap(true, Ordering::Relaxed) {
            let_go_of_code();
        }
    }

    /// The addresses of a line of `/proc/self/maps`, if it is code, or the tables at the start of
    /// the file. Other pages that cannot be written to now have been, by the loader.
    pub(super) fn unwritable(line: &str) -> Option<Range<usize>> {
        let mut parts = line.split_ascii_whitespace();
        let (addresses, rights, offset) = (parts.next()?, parts.next()?, parts.next()?);
        let tables = rights.starts_with("r--p") && offset.bytes().all(|digit| digit == b'0');
        if !tables && !rights.starts_with("r-xp") {
            return None;
        }
        let (start, end) = addresses.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        Some(address(start)?..address(end)?)
    }

    fn huge_pages(allowed: bool) {
        // SAFETY: changes how the kernel backs memory from now on, and nothing else.
        unsafe {
            libc::prctl(
                libc::PR_SET_THP_DISABLE,
                libc::c_ulong::from(!allowed),
                0,
                0,
                0,
            );
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    pub(crate) fn begin() {}

    pub(crate) fn let_go_of_code() {}

    pub(crate) fn let_go_of_code_once() {}

    pub(crate) async fn settle() {
        std::future::pending().await
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::linux::unwritable;

    #[test]
    fn only_pages_that_nobody_can_have_written_to_are_let_go_of() {
        for (line, expect) in [
            (
                "1000-3000 r--p 00000000 08:01 7 /bin/x",
                Some(0x1000..0x3000),
            ),
            (
                "3000-5000 r-xp 00002000 08:01 7 /bin/x",
                Some(0x3000..0x5000),
            ),
            ("5000-6000 r--p 00004000 08:01 7 /bin/x", None),
            ("6000-7000 rw-p 00005000 08:01 7 /bin/x", None),
            ("7000-8000 rwxp 00000000 08:01 7 /bin/x", None),
            ("", None),
        ] {
            assert_eq!(unwritable(line), expect, "{line}");
        }
    }
}
