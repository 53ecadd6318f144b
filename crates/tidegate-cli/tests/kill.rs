//! The program is killed while it writes, at seeded random moments: what it was writing is the old
//! or the new state, whole, and nothing stays behind for long.
//!
//! `cargo test` kills a few; `TIDEGATE_CAMPAIGN=200 cargo test -p tidegate-cli --test kill` kills
//! 200, and `TIDEGATE_SEED=7` chooses other moments. A failure prints the seed and the case.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod shell;

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use shell::Shell;
use tidegate_testing::random::Random;

const KILLS: u64 = 14;
const SEED: u64 = 20_260_718;
/// Rows that the write under test makes, and rows that are there before.
const ROWS: u64 = 60_000;
const OLD: u64 = 1_000;

/// What a target holds: nothing, or rows and the sum of their column `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Holds { rows: u64, sum: u64 },
}

/// 1 to `rows`.
const fn series(rows: u64) -> State {
    State::Holds {
        rows,
        sum: rows * (rows + 1) / 2,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Refused when something is there.
    Make,
    Replace,
    Add,
}

impl Effect {
    fn on(self, before: State) -> State {
        match (self, before, series(ROWS)) {
            (Self::Make, State::Holds { .. }, _) => before,
            (
                Self::Add,
                State::Holds { rows, sum },
                State::Holds {
                    rows: more,
                    sum: added,
                },
            ) => State::Holds {
                rows: rows + more,
                sum: sum + added,
            },
            (_, _, made) => made,
        }
    }
}

/// A way to write.
#[derive(Debug)]
struct Scenario {
    name: &'static str,
    target: &'static str,
    /// `$ROWS` stands for the query of the rows.
    sql: &'static str,
    /// Whether something is there before.
    old: Option<&'static str>,
    effect: Effect,
}

const OLD_PARQUET: &str = "COPY ($OLD) TO 'work/t/' (FORMAT parquet, MODE overwrite)";
const OLD_PARTS: &str = "COPY ($OLD) TO 'work/t/' (FORMAT parquet, PARTITION_BY (k))";

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a Parquet file, replaced",
        target: "work/t.parquet",
        sql: "COPY ($ROWS) TO 'work/t.parquet' (FORMAT parquet)",
        old: Some("COPY ($OLD) TO 'work/t.parquet' (FORMAT parquet)"),
        effect: Effect::Replace,
    },
    Scenario {
        name: "a CSV file, replaced",
        target: "work/t.csv",
        sql: "COPY ($ROWS) TO 'work/t.csv'",
        old: Some("COPY ($OLD) TO 'work/t.csv'"),
        effect: Effect::Replace,
    },
    Scenario {
        name: "a new directory",
        target: "work/t/",
        sql: "COPY ($ROWS) TO 'work/t/' (FORMAT parquet)",
        old: None,
        effect: Effect::Make,
    },
    Scenario {
        name: "a directory, overwritten",
        target: "work/t/",
        sql: "COPY ($ROWS) TO 'work/t/' (FORMAT parquet, MODE overwrite)",
        old: Some(OLD_PARQUET),
        effect: Effect::Replace,
    },
    Scenario {
        name: "a directory, appended to",
        target: "work/t/",
        sql: "COPY ($ROWS) TO 'work/t/' (FORMAT parquet, MODE append)",
        old: Some(OLD_PARQUET),
        effect: Effect::Add,
    },
    Scenario {
        name: "a partitioned directory, overwritten",
        target: "work/t/",
        sql: "COPY ($ROWS) TO 'work/t/' (FORMAT parquet, MODE overwrite, PARTITION_BY (k))",
        old: Some(OLD_PARTS),
        effect: Effect::Replace,
    },
    Scenario {
        name: "a partitioned directory, appended to",
        target: "work/t/",
        sql: "COPY ($ROWS) TO 'work/t/' (FORMAT parquet, MODE append, PARTITION_BY (k))",
        old: Some(OLD_PARTS),
        effect: Effect::Add,
    },
    Scenario {
        name: "CREATE TABLE AS at a location",
        target: "work/t/",
        sql: "CREATE TABLE t STORED AS PARQUET LOCATION 'work/t/' AS $ROWS",
        old: None,
        effect: Effect::Make,
    },
    Scenario {
        name: "INSERT INTO",
        target: "work/t/",
        sql: "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 'work/t/'; INSERT INTO t $ROWS",
        old: Some(OLD_PARQUET),
        effect: Effect::Add,
    },
];

fn filled(sql: &str) -> String {
    let query = |rows| format!("SELECT value AS n, value % 3 AS k FROM generate_series(1, {rows})");
    sql.replace("$ROWS", &query(ROWS))
        .replace("$OLD", &query(OLD))
}

/// A scenario in a directory of its own.
struct Stand {
    shell: Shell,
    scenario: &'static Scenario,
    old: State,
}

impl Stand {
    fn new(scenario: &'static Scenario) -> Self {
        let shell = Shell::new();
        std::fs::create_dir(shell.path("tmp")).unwrap();
        let mut stand = Self {
            shell,
            scenario,
            old: State::Absent,
        };
        std::fs::create_dir(stand.shell.path("work")).unwrap();
        if let Some(sql) = scenario.old {
            assert_eq!(
                stand.run(&filled(sql)),
                (0, String::new()),
                "{}",
                scenario.name
            );
            stand.old = series(OLD);
        }
        stand
    }

    fn start(&self, sql: &str) -> Child {
        let mut command = self.shell.interruptible();
        command
            .env("TMPDIR", self.shell.path("tmp"))
            .args(["--threads", "2", "-q", "-c", sql])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn run(&self, sql: &str) -> (i32, String) {
        end(self.start(sql))
    }

    fn write(&self) -> String {
        filled(self.scenario.sql)
    }

    fn target(&self) -> PathBuf {
        self.shell.path(self.scenario.target.trim_end_matches('/'))
    }

    /// What the program itself reads.
    fn state(&self) -> State {
        if !self.target().exists() {
            return State::Absent;
        }
        let sql = format!("SELECT count(*), sum(n) FROM '{}'", self.scenario.target);
        let output = self.start(&sql).wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<u64> = text
            .lines()
            .skip(1)
            .flat_map(|line| line.split(','))
            .filter_map(|number| number.parse().ok())
            .collect();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            numbers.len(),
            2,
            "`{sql}`: {text}{stderr}\n{:#?}",
            self.paths()
        );
        State::Holds {
            rows: numbers[0],
            sum: numbers[1],
        }
    }

    /// Everything below `work`, relative.
    fn paths(&self) -> Vec<String> {
        let root = self.shell.path("work");
        let mut found = Vec::new();
        walk(&root, &mut |path| {
            let below = path.strip_prefix(&root).unwrap();
            found.push(below.to_string_lossy().into_owned());
        });
        found.sort();
        found
    }

    fn staging(&self) -> Vec<String> {
        let hidden = |path: &String| path.split('/').any(|name| name.starts_with(['_', '.']));
        self.paths().into_iter().filter(hidden).collect()
    }

    /// Whatever readers see is data of the target.
    fn check_names(&self) {
        let target = self.scenario.target.trim_start_matches("work/");
        let staging = self.staging();
        for path in self.paths() {
            let ours = staging.contains(&path)
                || path == target.trim_end_matches('/')
                || path.strip_prefix(target).is_some_and(|name| {
                    let last = name.rsplit('/').next().unwrap_or_default();
                    last.starts_with("k=") || last.starts_with("part-")
                });
            assert!(ours, "`{path}` is neither data nor staging");
        }
    }

    /// Nothing is left, neither beside the target nor among the temporary files.
    fn check_clean(&self) {
        assert_eq!(self.staging(), Vec::<String>::new(), "staging is left");
        let tmp: Vec<_> = std::fs::read_dir(self.shell.path("tmp")).unwrap().collect();
        assert!(tmp.is_empty(), "temporary files are left: {tmp:?}");
    }

    /// After a kill: whole; and the next use finds it as if nothing had happened.
    fn check_killed(&self) -> State {
        self.check_names();
        let (old, new) = (self.old, self.scenario.effect.on(self.old));
        let found = self.state();
        assert!(
            found == old || found == new,
            "torn: {found:?}, not {old:?} or {new:?}"
        );
        assert_eq!(self.state(), found, "the second look differs");
        let (code, stderr) = self.run(&self.write());
        let refused = self.scenario.effect == Effect::Make && found != State::Absent;
        assert_eq!(code, i32::from(refused), "writing again: {stderr}");
        assert_eq!(
            self.state(),
            self.scenario.effect.on(found),
            "after writing again"
        );
        self.check_clean();
        found
    }
}

fn end(child: Child) -> (i32, String) {
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), stderr)
}

fn walk(dir: &Path, see: &mut impl FnMut(&Path)) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        see(&entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), see);
        }
    }
}

/// When to send the signal.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// After this part of the time that the write took undisturbed.
    After(f64),
    /// So long after something staged was seen.
    Staged(Duration),
    /// So long after the decision: an intent is there, or the target has changed.
    Decided(Duration),
}

impl Moment {
    fn random(random: &mut Random) -> Self {
        let soon = Duration::from_micros(random.below(3_000) as u64);
        let later = Duration::from_micros(random.below(60_000) as u64);
        match random.below(6) {
            0 | 1 => Self::After(random.fraction()),
            2 => Self::After(0.85 + 0.2 * random.fraction()),
            3 => Self::Staged(later),
            4 => Self::Staged(soon),
            _ => Self::Decided(soon),
        }
    }

    /// Waits for it; false when the program ended before.
    fn wait(self, stand: &Stand, child: &mut Child, whole: Duration) -> bool {
        let (begin, before) = (Instant::now(), identity(&stand.target()));
        let mut seen: Option<Instant> = None;
        while child.try_wait().unwrap().is_none() {
            let now = match self {
                Self::After(part) => begin.elapsed() >= whole.mul_f64(part),
                Self::Staged(more) | Self::Decided(more) => {
                    if seen.is_none() && self.is_there(stand, before) {
                        seen = Some(Instant::now());
                    }
                    seen.is_some_and(|seen| seen.elapsed() >= more)
                }
            };
            if now {
                return true;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        false
    }

    fn is_there(self, stand: &Stand, before: Option<(u64, i64)>) -> bool {
        match self {
            Self::Decided(_) => {
                identity(&stand.target()) != before
                    || stand.staging().iter().any(|path| path.ends_with("/intent"))
            }
            Self::After(_) | Self::Staged(_) => !stand.staging().is_empty(),
        }
    }
}

fn identity(path: &Path) -> Option<(u64, i64)> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(path).ok()?;
    // A directory's own time changes with its staging.
    let time = if found.is_dir() {
        0
    } else {
        found.mtime_nsec()
    };
    Some((found.ino(), time))
}

fn number(variable: &str, default: u64) -> u64 {
    let said = std::env::var(variable).ok();
    said.and_then(|said| said.parse().ok()).unwrap_or(default)
}

fn undisturbed(scenario: &'static Scenario) -> Duration {
    let stand = Stand::new(scenario);
    let begin = Instant::now();
    let (code, stderr) = stand.run(&stand.write());
    let took = begin.elapsed();
    assert_eq!(code, 0, "{}: {stderr}", scenario.name);
    assert_eq!(
        stand.state(),
        scenario.effect.on(stand.old),
        "{}",
        scenario.name
    );
    stand.check_clean();
    took
}

#[test]
fn a_killed_write_leaves_the_old_or_the_new_state_whole() {
    let (seed, kills) = (
        number("TIDEGATE_SEED", SEED),
        number("TIDEGATE_CAMPAIGN", KILLS),
    );
    let times: Vec<Duration> = SCENARIOS.iter().map(undisturbed).collect();
    let (mut too_late, mut old, mut new) = (0, 0, 0);
    for case in 0..kills {
        let mut random = Random::of_case(seed, case);
        let at = (case as usize) % SCENARIOS.len();
        let stand = Stand::new(&SCENARIOS[at]);
        let moment = Moment::random(&mut random);
        eprintln!(
            "seed {seed}, case {case}: {}, {moment:?}",
            SCENARIOS[at].name
        );
        let mut child = stand.start(&stand.write());
        let in_time = moment.wait(&stand, &mut child, times[at]);
        child.kill().unwrap();
        child.wait().unwrap();
        let found = stand.check_killed();
        too_late += u64::from(!in_time);
        old += u64::from(in_time && found == stand.old);
        new += u64::from(in_time && found != stand.old);
    }
    eprintln!(
        "{kills} kills, seed {seed}: {old} left the old state, {new} the new one, {too_late} came too late"
    );
    assert!(old > 0, "no kill came in time");
}

#[test]
fn a_write_that_is_interrupted_ends_with_130_and_leaves_the_old_state() {
    let mut random = Random::new(number("TIDEGATE_SEED", SEED));
    for (at, signal) in [
        (0, Signal::TERM),
        (3, Signal::INT),
        (4, Signal::TERM),
        (5, Signal::HUP),
    ] {
        let stand = Stand::new(&SCENARIOS[at]);
        let moment = Moment::Staged(Duration::from_micros(random.below(2_000) as u64));
        // More rows than it can write before the signal comes.
        let sql = stand.write().replace(&ROWS.to_string(), "2000000000");
        let mut child = stand.start(&sql);
        assert!(moment.wait(&stand, &mut child, Duration::ZERO));
        let sent = Instant::now();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let (code, stderr) = end(child);
        assert_eq!(code, 130, "{signal:?}: {stderr}");
        assert!(
            sent.elapsed() < Duration::from_secs(5),
            "{:?}",
            sent.elapsed()
        );
        stand.check_clean();
        assert_eq!(
            stand.state(),
            stand.old,
            "{signal:?} at {}",
            SCENARIOS[at].name
        );
    }
}

#[test]
fn two_that_write_at_once_are_both_whole_or_one_is_told() {
    for at in [0, 2, 3, 4, 5, 6] {
        let stand = Stand::new(&SCENARIOS[at]);
        let children = [stand.start(&stand.write()), stand.start(&stand.write())];
        let ended = children.map(end);
        let done = ended.iter().filter(|(code, _)| *code == 0).count();
        assert!(done >= 1, "{}: {ended:?}", SCENARIOS[at].name);
        for (code, stderr) in &ended {
            let told = *code == 1 && stderr.starts_with("error: ");
            assert!(
                *code == 0 || told,
                "{}: {code} {stderr}",
                SCENARIOS[at].name
            );
        }
        let effect = SCENARIOS[at].effect;
        let expected = (0..done).fold(stand.old, |state, _| effect.on(state));
        assert_eq!(stand.state(), expected, "{}: {ended:?}", SCENARIOS[at].name);
        assert!(
            effect != Effect::Make || done == 1,
            "both made it: {ended:?}"
        );
        stand.check_clean();
    }
}
