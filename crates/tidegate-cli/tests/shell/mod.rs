//! Runs the built program: what goes in as arguments and standard input, what comes out.
#![allow(dead_code, unreachable_pub)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A run that has ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Ended {
    fn new(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A directory of its own, with nothing of the user's environment.
pub struct Shell {
    directory: tempfile::TempDir,
}

impl Shell {
    /// An empty directory.
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// A path inside of the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file into the directory.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        let parent = path.parent().expect("inside of the directory");
        std::fs::create_dir_all(parent).expect("made");
        std::fs::write(path, text).expect("written");
    }

    /// Reads a file of the directory.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("readable")
    }

    /// The files below a directory: path below it, and bytes.
    pub fn files(&self, name: &str) -> Vec<(String, Vec<u8>)> {
        let base = self.path(name);
        let (mut found, mut todo) = (Vec::new(), vec![base.clone()]);
        while let Some(dir) = todo.pop() {
            for entry in std::fs::read_dir(dir).expect("readable") {
                let path = entry.expect("readable").path();
                if path.is_dir() {
                    todo.push(path);
                    continue;
                }
                let below = path.strip_prefix(&base).expect("below");
                let bytes = std::fs::read(&path).expect("readable");
                found.push((below.display().to_string(), bytes));
            }
        }
        found
    }

    /// The names in the directory, hidden ones included.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).expect("listed");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            let entry = entry.expect("an entry");
            entry.file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    /// The program, ready to be given arguments.
    pub fn command(&self) -> Command {
        self.prepared(Command::new(program()))
    }

    /// The same, heeding signals even where the tests run in the background of a shell, which has them ignored.
    pub fn interruptible(&self) -> Command {
        let mut command = Command::new("/usr/bin/env");
        command.arg("--default-signal=INT,HUP").arg(program());
        self.prepared(command)
    }

    fn prepared(&self, mut command: Command) -> Command {
        command
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.path("home"))
            .stdin(Stdio::null());
        command
    }

    /// Runs it with arguments.
    pub fn run(&self, args: &[&str]) -> Ended {
        Ended::new(&self.command().args(args).output().expect("it runs"))
    }

    /// Runs it with arguments and standard input.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Ended {
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut stdin = child.stdin.take().expect("piped");
        // It may end without reading everything.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        Ended::new(&child.wait_with_output().expect("it ends"))
    }

    /// Runs it with environment variables.
    pub fn run_with(&self, variables: &[(&str, &str)], args: &[&str]) -> Ended {
        let mut command = self.command();
        command.envs(variables.iter().copied()).args(args);
        Ended::new(&command.output().expect("it runs"))
    }

    /// Runs a line of the system's shell, in which `tidegate` is the program.
    pub fn script(&self, line: &str) -> Ended {
        let mut command = Command::new("sh");
        command
            .args(["-c", line])
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", search_path());
        Ended::new(&command.output().expect("it runs"))
    }
}

/// The built program.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tidegate"))
}

fn search_path() -> String {
    let own = program().parent().expect("a directory");
    let rest = std::env::var("PATH").unwrap_or_default();
    format!("{}:{rest}", own.display())
}
