//! The README stays true: every command of its blocks marked `console` is run by the built program,
//! in order, in a scratch copy of `testdata/`, and must print what the README says.
//!
//! `TIDEGATE_TOUR_UPDATE=1` writes what came out into the README. Read the difference before you accept it.

#![cfg(target_os = "linux")]
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

#[path = "repl_terminal/pty.rs"]
mod pty;
#[path = "repl_terminal/screen.rs"]
mod screen;

use std::path::{Path, PathBuf};
use std::process::Command;

use pty::{Start, Terminal};

const UPDATE: &str = "TIDEGATE_TOUR_UPDATE";
/// Stands in the README for the directory a reader is in.
const READERS_PLACE: &str = "home/you/tidegate";
const PROMPT: &str = "tidegate> ";

/// A command as it is typed, and what the README says it prints.
#[derive(Debug)]
struct Step {
    typed: Vec<String>,
    says: Vec<String>,
}

#[test]
fn every_command_of_the_readme_prints_what_it_says() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(top.join("README.md")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let place = scratch.path().canonicalize().unwrap();
    copy(&top.join("testdata"), &place.join("testdata"));

    let mut written = String::new();
    let mut wrong = Vec::new();
    let mut lines = readme.lines();
    let mut steps = 0;
    while let Some(line) = lines.next() {
        written.push_str(line);
        written.push('\n');
        if line != "```console" {
            continue;
        }
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let mut repl = None;
        for step in parse(&block) {
            steps += 1;
            let shown = run(&step, &place, &mut repl);
            if shown != step.says {
                wrong.push(format!(
                    "{}\n--- the README says\n{}\n--- it prints\n{}",
                    step.typed.join("\n"),
                    step.says.join("\n"),
                    shown.join("\n")
                ));
            }
            for line in step.typed.iter().chain(&shown) {
                written.push_str(line);
                written.push('\n');
            }
        }
        written.push_str("```\n");
    }
    assert!(steps >= 20, "the README has only {steps} commands");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(top.join("README.md"), written).unwrap();
        return;
    }
    let advice = format!("{UPDATE}=1 writes what is printed into README.md");
    assert!(wrong.is_empty(), "{}\n\n{advice}", wrong.join("\n\n"));
}

/// A step begins with `$ ` or the prompt of the REPL; `> ` continues it.
fn parse(block: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block {
        let owned = line.to_string();
        if line.starts_with("$ ") || line.starts_with(PROMPT) {
            let (typed, says) = (vec![owned], Vec::new());
            steps.push(Step { typed, says });
            continue;
        }
        let step = steps.last_mut().expect("a block begins with a command");
        match line.starts_with("> ") && step.says.is_empty() {
            true => step.typed.push(owned),
            false => step.says.push(owned),
        }
    }
    steps
}

fn run(step: &Step, place: &Path, repl: &mut Option<Terminal>) -> Vec<String> {
    let shown = match (step.typed[0].strip_prefix(PROMPT), repl.as_ref()) {
        (Some(line), Some(terminal)) => terminal.run(line),
        (Some(_), None) => panic!("a prompt without `$ tidegate` before it"),
        (None, _) if opens_repl(&step.typed) => {
            *repl = Some(open_repl(&step.typed[0], place));
            return Vec::new();
        }
        (None, _) => shell(&command(&step.typed), place),
    };
    let here = place.display().to_string();
    let here = here.trim_start_matches('/');
    let lines = shown.trim_end().lines();
    lines
        .map(|line| line.trim_end().replace(here, READERS_PLACE))
        .collect()
}

/// A call that names a directory and nothing else.
fn opens_repl(typed: &[String]) -> bool {
    typed.len() == 1 && typed[0] == "$ tidegate testdata/"
}

fn open_repl(line: &str, place: &Path) -> Terminal {
    let mut arguments: Vec<&str> = line.split(' ').skip(2).collect();
    arguments.extend(["--no-rc", "--no-pager", "--color", "never"]);
    let size = (60, 120);
    let start = Start {
        arguments,
        size,
        ..Start::default()
    };
    Terminal::open(place, start)
}

/// What is typed as one command; `cargo run` is the program that was built.
fn command(typed: &[String]) -> String {
    let lines: Vec<&str> = typed.iter().map(|line| &line[2..]).collect();
    lines
        .join("\n")
        .replace("cargo run -p tidegate-cli --", "tidegate")
}

/// Runs it by the system's shell; both streams as a terminal shows them.
fn shell(command: &str, place: &Path) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_tidegate"));
    let path = std::env::var("PATH").unwrap_or_default();
    let directory = program.parent().unwrap().display();
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{command}")])
        .current_dir(place)
        .env_clear()
        .env("PATH", format!("{directory}:{path}"))
        .env("HOME", place.join("home"))
        .env("LANG", "C.UTF-8")
        .env("TIDEGATE_FORMAT", "table")
        .env("TIDEGATE_PARTITIONS", "2")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let from: PathBuf = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(std::fs::copy(&from, &to).unwrap()),
        }
    }
}
