//! A statement of a job: its stored plan, its seals, its commit.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use datafusion::logical_expr::LogicalPlan;
use parking_lot::Mutex;
use tidegate_catalog::local_pin;
use tidegate_checkpoint::job::{Intent, IntentFile, Job, Record, State};
use tidegate_checkpoint::staged::Replaces;
use tidegate_checkpoint::{Intended, RealVfs, recover};
use tidegate_operators::write::CommitGate;
use tidegate_plan::{Registry, StageGraph, decode_graph, encode_graph, scan_files};
use tidegate_runtime::Durable;

use super::failed;
use super::inputs::{ANEW, Inputs, KnownFiles};
use crate::convert;
use crate::error::{Error, ErrorKind, Result};

/// Bytes of an output file that are read at once to check it.
const CHECK_BYTES: usize = 1 << 20;
/// The first bytes of a spec; the last one is the version.
const SPEC: &[u8; 8] = b"TIDSPEC\x01";

/// A statement of a job.
#[derive(Clone)]
pub(crate) struct Step {
    job: Arc<Job>,
    statement: u32,
    /// What earlier statements have read and written.
    known: Arc<Mutex<KnownFiles>>,
    /// Whether the job ends with it.
    ends: bool,
}

/// What is frozen of a statement when it is planned.
pub(super) struct Spec {
    pub(super) inputs: Inputs,
    /// Empty, if the plan cannot be written down.
    graph: Bytes,
}

impl Spec {
    /// The spec of a statement, if it was planned.
    pub(super) fn of(job: &Job, statement: u32) -> Result<Option<Self>> {
        let Some(bytes) = job.spec(statement).map_err(failed)? else {
            return Ok(None);
        };
        let bytes = Bytes::from(bytes);
        let parts = || {
            let rest = bytes.strip_prefix(SPEC)?;
            let (length, rest) = rest.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            let (inputs, graph) = rest.split_at_checked(length)?;
            let inputs = serde_json::from_slice(inputs).ok()?;
            let graph = bytes.slice_ref(graph);
            Some(Self { inputs, graph })
        };
        let spec = parts().ok_or_else(|| {
            let number = statement + 1;
            let message = format!("the spec of statement {number} of the job cannot be read");
            Error::new(ErrorKind::Data, "job_damaged", message).with_hint(ANEW)
        });
        spec.map(Some)
    }

    fn encode(&self) -> Vec<u8> {
        // Plain data: it can always be written.
        let inputs = serde_json::to_vec(&self.inputs).unwrap_or_default();
        let mut bytes = BytesMut::from(&SPEC[..]);
        bytes.put_u64_le(inputs.len() as u64);
        bytes.put_slice(&inputs);
        bytes.put_slice(&self.graph);
        bytes.into()
    }
}

impl Step {
    pub(super) fn new(job: Arc<Job>, statement: u32, known: Arc<Mutex<KnownFiles>>) -> Self {
        Self {
            job,
            statement,
            known,
            ends: false,
        }
    }

    /// The same, with which the job ends.
    pub(super) fn and_end(self) -> Self {
        let ends = true;
        Self { ends, ..self }
    }

    /// What the runtime needs of it.
    pub(crate) fn durable(&self) -> Durable {
        Durable {
            job: Arc::clone(&self.job),
            statement: self.statement,
        }
    }

    /// The rows that it gave or wrote, if it is done.
    pub(crate) fn done(&self) -> Option<u64> {
        let done = self.job.state().done;
        done.get(&self.statement).map(|done| done.rows)
    }

    /// The plan that was stored when it was planned.
    pub(crate) fn graph(&self, registry: &Registry) -> Result<Option<StageGraph>> {
        let spec = Spec::of(&self.job, self.statement)?;
        let Some(spec) = spec.filter(|spec| !spec.graph.is_empty()) else {
            return Ok(None);
        };
        let graph = decode_graph(&spec.graph, registry);
        graph
            .map(Some)
            .map_err(|error| convert::from_plan(error, None, None))
    }

    /// The inputs of its plan, which are what they were to earlier statements.
    pub(crate) fn inputs(&self, plan: &LogicalPlan) -> Result<Inputs> {
        let read = scan_files(plan).map_err(|error| convert::from_datafusion(error, None, None))?;
        let inputs = Inputs::of(&read);
        let mut known = self.known.lock();
        known.before(&self.job, self.statement)?;
        known.check(&self.job, &inputs)?;
        Ok(inputs)
    }

    /// Freezes its inputs and its plan; a plan that cannot be written down is made anew each time.
    pub(crate) fn keep(&self, graph: &StageGraph, inputs: Inputs) -> Result<()> {
        let graph = match graph.encoded() {
            Some(_) => {
                encode_graph(graph).map_err(|error| convert::from_plan(error, None, None))?
            }
            None => Bytes::new(),
        };
        let Some(before) = Spec::of(&self.job, self.statement)? else {
            let spec = Spec { inputs, graph }.encode();
            return self.job.put_spec(self.statement, &spec).map_err(failed);
        };
        match before.inputs == inputs {
            true => Ok(()),
            false => {
                let message = format!(
                    "the files that statement {} reads are not those of the time when it was begun",
                    self.statement + 1
                );
                Err(Error::new(ErrorKind::InputChanged, "input_changed", message).with_hint(ANEW))
            }
        }
    }

    /// Notes that it is done. Of what it wrote nothing sealed is needed any more.
    pub(crate) fn finish(&self, rows: u64, stages: usize, at_ms: i64) -> Result<()> {
        if self.done().is_some() {
            return Ok(());
        }
        let state = self.job.state();
        let intent = state.intents.get(&self.statement);
        let record = Record::Done {
            statement: self.statement,
            rows,
            hash: None,
            pins: intent.map(pins).unwrap_or_default(),
            at_ms,
        };
        self.job.append(record).map_err(failed)?;
        for stage in 0..stages {
            let dropped = self.job.drop_stage(self.statement, stage as u32);
            dropped.map_err(failed)?;
        }
        Ok(())
    }

    /// Ends the job, if it has no other statement: what it gave has arrived.
    pub(crate) fn end(&self, at_ms: i64) -> Result<()> {
        match self.ends {
            true => super::end(&self.job, at_ms),
            false => Ok(()),
        }
    }

    /// What writes down the intent before files are published.
    pub(crate) fn gate(&self) -> CommitGate {
        let (job, statement) = (Arc::clone(&self.job), self.statement);
        CommitGate(Arc::new(move |intended: &Intended, rows| {
            let files = intended.files.iter().map(|file| IntentFile {
                name: file.name.clone(),
                bytes: file.bytes,
                blake3: file.blake3.clone(),
            });
            job.append(Record::Intent {
                statement,
                target: intended.directory.display().to_string(),
                files: files.collect(),
                rows,
                replaces: intended.replaces,
            })
        }))
    }

    /// The rows of its files, if they were published although it is not noted.
    pub(crate) fn published(&self) -> Result<Option<u64>> {
        let intents = self.job.state().intents;
        let Some(intent) = intents.get(&self.statement) else {
            return Ok(None);
        };
        // A commit that was decided is completed before anybody looks.
        recover(&RealVfs, Path::new(&intent.target)).map_err(failed)?;
        let wrong = |file: &IntentFile| wrong_at(&path_of(intent, file), file);
        let Some(why) = intent.files.iter().find_map(wrong) else {
            return Ok(Some(intent.rows));
        };
        // Names that were free are there: it was published, and somebody changed it since.
        let is_there = |file: &IntentFile| path_of(intent, file).exists();
        match intent.replaces == Replaces::Nothing && intent.files.iter().any(is_there) {
            false => Ok(None),
            true => {
                let message = format!("{why}; statement {} had published it", self.statement + 1);
                let error = Error::new(ErrorKind::InputChanged, "output_changed", message);
                Err(error.with_hint(format!("remove the output and {ANEW}")))
            }
        }
    }

    /// A directory for a table that it makes.
    pub(crate) fn table(&self, name: &str) -> Result<String> {
        let tables = tables(&self.job);
        std::fs::create_dir_all(&tables).map_err(|error| {
            let message = format!("cannot make `{}`: {error}", tables.display());
            crate::Error::new(crate::ErrorKind::Io, "io", message)
        })?;
        let path = tables.join(format!("{:05}-{name}", self.statement + 1));
        Ok(format!("{}/", path.display()))
    }
}

/// Where the tables of a job are that have no location of their own.
pub(super) fn tables(job: &Job) -> PathBuf {
    job.dir().join("tables")
}

/// What is wrong with the files that the statements of a job have published.
pub(super) fn outputs_wrong(state: &State) -> Vec<String> {
    let published = state.published().into_iter();
    let wrong = published.filter_map(|((target, name), published)| {
        wrong_at(&Path::new(target).join(name), published.file)
    });
    wrong.collect()
}

/// The files that the statements of a job have published and that are not there.
pub(super) fn outputs_gone(state: &State) -> Vec<PathBuf> {
    let published = state.published().into_keys();
    let paths = published.map(|(target, name)| Path::new(target).join(name));
    paths
        .filter(|path| path.is_absolute() && !path.exists())
        .collect()
}

fn path_of(intent: &Intent, file: &IntentFile) -> PathBuf {
    Path::new(&intent.target).join(&file.name)
}

/// What tells each file of an intent from a changed one; empty for what is not on this machine.
fn pins(intent: &Intent) -> Vec<String> {
    let pin = |file| local_pin(&path_of(intent, file)).unwrap_or_default();
    intent.files.iter().map(pin).collect()
}

/// What is wrong with a published file.
pub(super) fn wrong_at(path: &Path, file: &IntentFile) -> Option<String> {
    let shown = path.display();
    match hash_of(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Some(format!("`{shown}` is not there"))
        }
        Err(error) => Some(format!("`{shown}` cannot be read: {error}")),
        Ok((bytes, _)) if bytes != file.bytes => Some(format!(
            "`{shown}` has {bytes} bytes, and was written with {}",
            file.bytes
        )),
        Ok((_, hash)) if hash != file.blake3 => Some(format!("`{shown}` is not what was written")),
        Ok(_) => None,
    }
}

fn hash_of(path: &Path) -> std::io::Result<(u64, String)> {
    use std::io::Read as _;
    // A pipe would be waited for.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    let mut file = std::fs::File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHECK_BYTES];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hasher.finalize().to_hex().to_string())),
            read => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}
