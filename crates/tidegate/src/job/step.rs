//! A statement of a job: its stored plan, its seals, its commit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tidegate_checkpoint::job::{IntentFile, Job, Record};
use tidegate_checkpoint::{Intended, RealVfs, recover};
use tidegate_operators::write::CommitGate;
use tidegate_plan::{Registry, StageGraph, decode_graph, encode_graph};
use tidegate_runtime::Durable;

use super::failed;
use crate::convert;
use crate::error::Result;

/// Bytes of an output file that are read at once to check it.
const CHECK_BYTES: usize = 1 << 20;

/// A statement of a job.
#[derive(Clone)]
pub(crate) struct Step {
    job: Arc<Job>,
    statement: u32,
    /// Whether the job ends with it.
    ends: bool,
}

impl Step {
    pub(super) fn new(job: Arc<Job>, statement: u32) -> Self {
        Self {
            job,
            statement,
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
        let Some(bytes) = self.job.spec(self.statement).map_err(failed)? else {
            return Ok(None);
        };
        let graph = decode_graph(&Bytes::from(bytes), registry);
        graph
            .map(Some)
            .map_err(|error| convert::from_plan(error, None, None))
    }

    /// Stores its plan; what cannot be written down is planned anew each time.
    pub(crate) fn keep(&self, graph: &StageGraph) -> Result<()> {
        if graph.encoded().is_none() {
            return Ok(());
        }
        let bytes = encode_graph(graph).map_err(|error| convert::from_plan(error, None, None))?;
        self.job.put_spec(self.statement, &bytes).map_err(failed)
    }

    /// Notes that it is done. Of what it wrote nothing sealed is needed any more.
    pub(crate) fn finish(&self, rows: u64, stages: usize, at_ms: i64) -> Result<()> {
        if self.done().is_some() {
            return Ok(());
        }
        let record = Record::Done {
            statement: self.statement,
            rows,
            hash: None,
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
        let mut files = intent.files.iter();
        let all = files.all(|file| wrong(&intent.target, file).is_none());
        Ok(all.then_some(intent.rows))
    }

    /// A directory for a table that it makes.
    pub(crate) fn table(&self, name: &str) -> Result<String> {
        let tables = self.job.dir().join("tables");
        std::fs::create_dir_all(&tables).map_err(|error| {
            let message = format!("cannot make `{}`: {error}", tables.display());
            crate::Error::new(crate::ErrorKind::Io, "io", message)
        })?;
        let path = tables.join(format!("{:05}-{name}", self.statement + 1));
        Ok(format!("{}/", path.display()))
    }
}

/// What is wrong with the files that a job has published.
pub(super) fn outputs_wrong(records: &[Record]) -> Vec<String> {
    let done = |number: u32| {
        let is_it = |record: &Record| matches!(record, Record::Done { statement, .. } if *statement == number);
        records.iter().any(is_it)
    };
    // A later statement may have replaced a file.
    let mut last = BTreeMap::new();
    for record in records {
        if let Record::Intent {
            statement,
            target,
            files,
            ..
        } = record
            && done(*statement)
        {
            // It may have replaced the directory with all that was there: what is gone is not amiss.
            last.retain(|(of, name): &(&String, &String), _| {
                *of != target || Path::new(of).join(name).exists()
            });
            last.extend(files.iter().map(|file| ((target, &file.name), file)));
        }
    }
    let files = last.into_iter();
    files
        .filter_map(|((target, _), file)| wrong(target, file))
        .collect()
}

/// What is wrong with a published file.
fn wrong(target: &str, file: &IntentFile) -> Option<String> {
    let path = PathBuf::from(target).join(&file.name);
    let shown = path.display();
    match hash_of(&path) {
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
