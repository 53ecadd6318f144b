//! The shell in a real pseudo-terminal, driven by keys and watched through its screen. Nothing
//! sleeps: every step waits for what it expects to see, and says what it saw instead.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::ioctl::{Getter, Setter, ioctl};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::screen::Screen;

/// How long a step may take. Long, for machines that are busy; a step that works takes no time.
const PATIENCE: Duration = Duration::from_secs(60);
const PROMPT: &str = "tidegate>";

/// Linux' requests on the near end of a pseudo-terminal: unlock the far end, tell its number.
const TIOCSPTLCK: rustix::ioctl::Opcode = 0x4004_5431;
const TIOCGPTN: rustix::ioctl::Opcode = 0x8004_5430;

pub(crate) const CTRL_C: &str = "\x03";
pub(crate) const CTRL_D: &str = "\x04";
pub(crate) const CTRL_R: &str = "\x12";
pub(crate) const UP: &str = "\x1b[A";
pub(crate) const RIGHT: &str = "\x1b[C";
pub(crate) const TAB: &str = "\t";
pub(crate) const ENTER: &str = "\r";

struct Seen {
    screen: Screen,
    closed: bool,
}

/// A terminal with a program in it.
pub(crate) struct Terminal {
    near: File,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    pub(crate) child: Child,
}

/// How the program is started.
pub(crate) struct Start<'a> {
    pub(crate) arguments: Vec<&'a str>,
    pub(crate) environment: Vec<(&'a str, String)>,
    pub(crate) size: (u16, u16),
    pub(crate) stdout: Option<File>,
}

impl Default for Start<'_> {
    fn default() -> Self {
        Self {
            arguments: vec!["--no-rc"],
            environment: vec![],
            size: (40, 100),
            stdout: None,
        }
    }
}

impl Terminal {
    /// Starts the shell in a directory, and waits for its first prompt.
    pub(crate) fn open(directory: &Path, start: Start<'_>) -> Self {
        let terminal = Self::spawn(directory, start);
        terminal.prompts(1);
        terminal
    }

    pub(crate) fn spawn(directory: &Path, start: Start<'_>) -> Self {
        let (near, far) = pair();
        let (rows, columns) = start.size;
        set_size(&near, rows, columns);
        // Where the tests run in the background of a shell signals are ignored, and the program would be told so.
        let mut command = Command::new("/usr/bin/env");
        let program = ["--default-signal=INT,HUP", env!("CARGO_BIN_EXE_tidegate")];
        let stdio = |file: &File| Stdio::from(file.try_clone().expect("a descriptor is free"));
        command
            .args(program)
            .args(&start.arguments)
            .current_dir(directory)
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .env("TERM", "xterm-256color")
            .env("HOME", directory)
            .env("XDG_STATE_HOME", directory.join("state"))
            .env("LANG", "C.UTF-8")
            .envs(start.environment)
            .stdin(stdio(&far))
            .stdout(start.stdout.map_or_else(|| stdio(&far), Stdio::from))
            .stderr(stdio(&far));
        // SAFETY: between fork and exec only two system calls are made, which allocate nothing.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(std::io::stdin())?;
                Ok(())
            });
        }
        let child = command.spawn().expect("the shell starts");
        drop(far);
        let screen = Screen::new(rows.into(), columns.into());
        let seen = Seen {
            screen,
            closed: false,
        };
        let seen = Arc::new((Mutex::new(seen), Condvar::new()));
        watch(near.try_clone().expect("a descriptor is free"), &seen);
        Self { near, seen, child }
    }

    /// Types keys.
    pub(crate) fn keys(&self, keys: &str) {
        (&self.near)
            .write_all(keys.as_bytes())
            .expect("the terminal takes keys");
    }

    /// Types a line and waits until the next prompt; gives what was shown in between.
    pub(crate) fn run(&self, line: &str) -> String {
        let before = self.text();
        let prompts = count_prompts(&before);
        self.keys(line);
        self.keys(ENTER);
        self.prompts(prompts + 1);
        let text = self.text();
        let from = text.rmatch_indices(PROMPT).map(|(at, _)| at);
        let starts: Vec<usize> = from.collect();
        let lines_before = before.lines().count().saturating_sub(1);
        let shown: Vec<&str> = text[..starts[0]].lines().skip(lines_before + 1).collect();
        shown.join("\n").trim_end().to_string()
    }

    /// Waits until so many prompts have been shown, and the last one is empty.
    pub(crate) fn prompts(&self, count: usize) {
        self.wait(&format!("prompt {count}"), |screen| {
            screen.cursor_line() == PROMPT && count_prompts(&screen.text()) >= count
        });
    }

    /// How many prompts have been shown.
    pub(crate) fn prompt_count(&self) -> usize {
        count_prompts(&self.text())
    }

    /// Waits until a text is shown anywhere.
    pub(crate) fn expect(&self, text: &str) {
        self.wait(&format!("`{text}`"), |screen| screen.text().contains(text));
    }

    /// Waits until the cursor's line is this.
    pub(crate) fn expect_line(&self, line: &str) {
        self.wait(&format!("the line `{line}`"), |screen| {
            screen.cursor_line() == line
        });
    }

    /// Waits for anything that can be told from the screen.
    pub(crate) fn wait(&self, what: &str, holds: impl Fn(&Screen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let (seen, changed) = &*self.seen;
        let mut seen = seen.lock().expect("no thread failed with the lock");
        while !holds(&seen.screen) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !seen.closed,
                "waited for {what}; the screen ({}) shows:\n{}",
                if seen.closed { "closed" } else { "open" },
                seen.screen.text()
            );
            seen = changed
                .wait_timeout(seen, left)
                .expect("no thread failed with the lock")
                .0;
        }
    }

    /// All that was shown so far.
    pub(crate) fn text(&self) -> String {
        self.look(Screen::text)
    }

    /// Reads something off the screen.
    pub(crate) fn look<T>(&self, read: impl Fn(&Screen) -> T) -> T {
        let seen = self.seen.0.lock().expect("no thread failed with the lock");
        read(&seen.screen)
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let mut seen = self.seen.0.lock().expect("no thread failed with the lock");
        seen.screen.resize(rows.into(), columns.into());
        set_size(&self.near, rows, columns);
    }

    /// Waits until the program has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        let (seen, changed) = &*self.seen;
        let mut guard = seen.lock().expect("no thread failed with the lock");
        while !guard.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited for the end; the screen shows:\n{}",
                guard.screen.text()
            );
            guard = changed
                .wait_timeout(guard, left)
                .expect("no thread failed with the lock")
                .0;
        }
        drop(guard);
        self.child.wait().expect("the shell can be waited for")
    }

    /// Sends a signal to the shell.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id()).ok();
        let id = id.and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(id.expect("a process has an id"), signal)
            .expect("the shell runs");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn count_prompts(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with(PROMPT)).count()
}

/// Reads what the program writes until it has closed its end.
fn watch(mut near: File, seen: &Arc<(Mutex<Seen>, Condvar)>) {
    let seen = Arc::clone(seen);
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        loop {
            let read = near.read(&mut bytes).unwrap_or(0);
            let (lock, changed) = &*seen;
            let Ok(mut guard) = lock.lock() else { return };
            match read {
                0 => guard.closed = true,
                read => guard.screen.feed(&bytes[..read]),
            }
            changed.notify_all();
            if read == 0 {
                return;
            }
        }
    });
}

/// The two ends of a new pseudo-terminal.
fn pair() -> (File, File) {
    use std::os::unix::fs::OpenOptionsExt;
    let no_controlling = rustix::fs::OFlags::NOCTTY.bits() as i32;
    let open = |path: &str| {
        File::options()
            .read(true)
            .write(true)
            .custom_flags(no_controlling)
            .open(path)
            .expect("the machine has pseudo-terminals")
    };
    let near = open("/dev/ptmx");
    // SAFETY: both requests are Linux' own for this device, with the types they take and give.
    let number: u32 = unsafe {
        ioctl(&near, Setter::<TIOCSPTLCK, i32>::new(0)).expect("it can be unlocked");
        ioctl(&near, Getter::<TIOCGPTN, u32>::new()).expect("it has a number")
    };
    let far = open(&format!("/dev/pts/{number}"));
    (near, far)
}

fn set_size(terminal: &File, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).expect("a terminal has a size");
}
