//! The process that tries cases: one after the other, each in a session of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidegate::{ErrorKind, Session, Settings};
use tidegate_testing::random::Random;

use crate::mutate::mutated;
use crate::samples;

/// Says in the environment that a process is a worker, and what it has to do.
pub(crate) const VARIABLE: &str = "MUTATIONS_WORKER";
const LIMIT: &str = "256MiB";
/// The limit, and what the program, its threads and buffers outside of queries take.
const RESIDENT_MAX_KIB: u64 = (256 + 128) << 10;
const TIMEOUT: Duration = Duration::from_secs(10);
/// What a timeout may take to be noticed on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

/// Panics of this process, caught or not.
static PANICS: AtomicU64 = AtomicU64::new(0);

const QUERIES: &[&str] = &[
    "SELECT * FROM '$F'",
    "SELECT * FROM '$F'",
    "SELECT count(*) FROM '$F'",
    "SELECT * FROM '$F' ORDER BY 1",
    "SELECT max(n) FROM '$F' WHERE n > 50",
];

/// What one worker has to do.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) dir: PathBuf,
    pub(crate) worker: u64,
    pub(crate) seed: u64,
    pub(crate) next: u64,
    pub(crate) step: u64,
    pub(crate) end: u64,
}

impl Job {
    pub(crate) fn to_text(&self) -> String {
        let Self {
            dir,
            worker,
            seed,
            next,
            step,
            end,
        } = self;
        format!("{worker},{seed},{next},{step},{end},{}", dir.display())
    }

    pub(crate) fn from_text(text: &str) -> Self {
        let parts: Vec<&str> = text.splitn(6, ',').collect();
        let number = |at: usize| parts[at].parse().unwrap();
        Self {
            worker: number(0),
            seed: number(1),
            next: number(2),
            step: number(3),
            end: number(4),
            dir: parts[5].into(),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}-{}.txt", self.worker))
    }

    /// The case it is at.
    pub(crate) fn progress(&self) -> u64 {
        let text = fs::read_to_string(self.file("progress")).unwrap_or_default();
        text.parse().unwrap_or(self.next).max(self.next)
    }

    /// What was wrong, a line each.
    pub(crate) fn findings(&self) -> Vec<String> {
        let text = fs::read_to_string(self.file("findings")).unwrap_or_default();
        text.lines().map(String::from).collect()
    }

    pub(crate) fn summary(&self) -> String {
        fs::read_to_string(self.file("summary")).unwrap_or_default()
    }

    fn found(&self, case: u64, what: &str) {
        use std::io::Write;
        let path = self.file("findings");
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        writeln!(file, "case {case}: {}", what.replace('\n', " ")).unwrap();
        keep(self, case);
    }

    /// The damaged file of a case, and the query that reads it.
    fn make(&self, case: u64) -> (&'static str, Vec<u8>, &'static str) {
        let mut random = Random::of_case(self.seed, case);
        let names = samples::names();
        let name = names[case as usize % names.len()];
        let sound = fs::read(self.dir.join(name)).unwrap();
        let bytes = mutated(&sound, &mut random);
        (name, bytes, QUERIES[random.below(QUERIES.len())])
    }
}

/// Keeps the file of a case for whoever looks into it.
pub(crate) fn keep(job: &Job, case: u64) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutations");
    let (name, bytes, _) = job.make(case);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(format!("{case}-{name}")), bytes).unwrap();
}

/// Tries all cases of a job.
pub(crate) fn run(job: &Job) {
    std::panic::set_hook(Box::new(|info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        let place = info.location().map(ToString::to_string);
        eprintln!(
            "panic at {}: {:?}",
            place.unwrap_or_default(),
            info.payload_as_str()
        );
    }));
    let mut endings: BTreeMap<String, u64> = BTreeMap::new();
    let mut most = 0;
    for case in (job.next..job.end).step_by(job.step as usize) {
        fs::write(job.file("progress"), case.to_string()).unwrap();
        // Starts the high-water mark of resident memory anew.
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let panics = PANICS.load(Ordering::SeqCst);
        let ending = match attempt(job, case) {
            Ok(ending) => ending,
            Err(what) => {
                job.found(case, &what);
                "finding".into()
            }
        };
        *endings.entry(ending).or_default() += 1;
        if PANICS.load(Ordering::SeqCst) > panics {
            job.found(case, "something panicked");
        }
        let resident = resident_kib();
        most = most.max(resident);
        if resident > RESIDENT_MAX_KIB {
            job.found(case, &format!("{resident} KiB were resident"));
        }
    }
    let summary = format!(
        "worker {}: {endings:?}, at most {most} KiB resident\n",
        job.worker
    );
    fs::write(job.file("summary"), summary).unwrap();
}

/// The most memory that was resident since the mark was started.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Reads the file of a case; says how it ended, or what is wrong.
fn attempt(job: &Job, case: u64) -> Result<String, String> {
    let (name, bytes, query) = job.make(case);
    let file = format!("w{}-{name}", job.worker);
    let path = job.dir.join("cases").join(&file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    let settings = Settings::default()
        .threads(1)
        .timeout(TIMEOUT)
        .memory_limit(LIMIT);
    let session = Session::builder()
        .settings(settings.unwrap())
        .build()
        .unwrap();
    let sql = query.replace("$F", &path.display().to_string());
    let begin = Instant::now();
    let read = session.block_on(async {
        let mut rows = 0;
        let mut stream = session.sql(&sql).await?.stream().await?;
        while let Some(batch) = stream.next().await {
            rows += batch?.num_rows();
        }
        Ok::<usize, tidegate::Error>(rows)
    });
    let took = begin.elapsed();
    if took > TIMEOUT + SLACK {
        return Err(format!("{name}: it took {took:?}: {read:?}"));
    }
    match read {
        Ok(_) => Ok("answer".into()),
        Err(error) => judge(&error, &file).map_err(|what| format!("{what}: `{query}`: {error}")),
    }
}

fn judge(error: &tidegate::Error, file: &str) -> Result<String, String> {
    let kind = format!("{:?}", error.kind);
    let named = error.message.contains(file);
    let inner = [
        "panicked",
        "Internal",
        "internal error",
        "RecordBatch",
        "DataFusion",
    ];
    if let Some(word) = inner.iter().find(|word| error.message.contains(*word)) {
        return Err(format!("the message says `{word}`"));
    }
    match error.kind {
        ErrorKind::Data | ErrorKind::Io | ErrorKind::InputChanged if named => Ok(kind),
        // The query compares a column with a number, and the damage made text of it.
        ErrorKind::Data if error.message.ends_with("is not a BIGINT") => Ok("Data cast".into()),
        // The damage renamed a column, or made another one that cannot be sorted.
        ErrorKind::Sql | ErrorKind::Usage => Ok(kind),
        ErrorKind::Limit => Ok(format!("Limit {}", error.code)),
        _ if !named => Err(format!("an error of kind {kind} does not name the file")),
        _ => Err(format!("an error of kind {kind}")),
    }
}
