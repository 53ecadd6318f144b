//! What was meant: the command line, the settings and the streams turned into one thing to do.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use tidegate::{Origin, Settings, Value};

use crate::args::{Args, Examination, Given, JobCall};
use crate::failure::Failure;
use crate::params;
use crate::render::Format;
use crate::report::Source;

/// Where `-` reads from and `-o -` writes to.
const STREAM: &str = "-";

/// What a session is made for.
#[derive(Debug)]
pub(crate) struct Call {
    /// Directories and files to register.
    pub(crate) paths: Vec<PathBuf>,
    /// Values of `$name`.
    pub(crate) params: Vec<(String, Value)>,
    /// What to do in the session.
    pub(crate) task: Task,
}

/// What to do in a session.
#[derive(Debug)]
pub(crate) enum Task {
    /// Run these texts.
    Run(Run),
    /// Describe files or look for what is wrong with them.
    Examine(Examination),
    /// List, tell of, stop or remove durable jobs.
    Jobs(JobCall),
    /// Open the REPL.
    Repl,
}

/// Texts to run, and how.
#[derive(Debug)]
pub(crate) struct Run {
    /// The texts, in order.
    pub(crate) sources: Vec<Source>,
    /// Whether one of them is standard input, so that no data can be read from it.
    pub(crate) reads_stdin: bool,
    /// Where the one result goes instead of standard output.
    pub(crate) output: Option<Output>,
    /// What to do after an error.
    pub(crate) after_error: AfterError,
    /// The durable job that the texts are.
    pub(crate) job: Option<NamedJob>,
}

/// A durable job.
#[derive(Debug, Clone)]
pub(crate) struct NamedJob {
    /// Its name.
    pub(crate) name: String,
    /// Whether it begins anew.
    pub(crate) restart: bool,
    /// Where the result of its last query goes.
    pub(crate) output: Option<String>,
    /// The arguments that make it another job when they change.
    pub(crate) notes: Vec<(&'static str, String)>,
}

/// What to do after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterError {
    /// End.
    Stop,
    /// Go on with the next statement, and fail in the end.
    GoOn,
}

/// The file of `-o`.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it holds.
    pub(crate) format: Format,
}

impl Call {
    /// A sub-command that looks at files.
    pub(crate) fn examination(examination: Examination) -> Self {
        Self {
            paths: Vec::new(),
            params: Vec::new(),
            task: Task::Examine(examination),
        }
    }

    /// Decides what was meant; reads the texts that are to be run.
    pub(crate) fn new(args: Args, given: &[Given], settings: &Settings) -> Result<Self, Failure> {
        let params = args.params.iter().map(|text| params::parse(text));
        let output = args.output.as_deref().filter(|p| *p != Path::new(STREAM));
        let task = match (given.is_empty(), std::io::stdin().is_terminal()) {
            (true, true) if output.is_some() => {
                let message = "there is no query whose result -o could write";
                return Err(Failure::usage("no_query", message).with_hint("give it with -c or -f"));
            }
            (true, true) => Task::Repl,
            _ => Task::Run(Run {
                sources: sources(given, settings)?,
                reads_stdin: given.is_empty() || given.contains(&Given::File(STREAM.into())),
                output: output.map(|path| to_file(path, settings)).transpose()?,
                after_error: match args.keep_going {
                    true => AfterError::GoOn,
                    false => AfterError::Stop,
                },
                job: None,
            }),
        };
        Ok(Self {
            params: params.collect::<Result<_, _>>()?,
            paths: args.paths,
            task,
        })
    }
}

fn to_file(path: &Path, settings: &Settings) -> Result<Output, Failure> {
    let named = settings.get("format").unwrap_or_default();
    let told = matches!(settings.origin("format"), Ok(Origin::Flag));
    let format = match (Format::of_name(&named), Format::of_suffix(path)) {
        (Some(format), _) if told => Some(format),
        (_, Some(format)) => Some(format),
        (named, None) => named,
    };
    match format {
        Some(format) => Ok(Output {
            path: path.into(),
            format,
        }),
        None => {
            let message = format!("`{}` does not say its format", path.display());
            let hint = "end it in .csv, .tsv, .json, .ndjson, .parquet, .arrow, .md, .html or .txt, or name the format with -F";
            Err(Failure::usage("unknown_suffix", message).with_hint(hint))
        }
    }
}

fn sources(given: &[Given], settings: &Settings) -> Result<Vec<Source>, Failure> {
    if given.is_empty() {
        return Ok(vec![stdin(settings)?]);
    }
    let many = given.iter().filter(|g| matches!(g, Given::Text(_))).count() > 1;
    let mut texts = 0;
    let source = |given: &Given| match given {
        Given::Text(text) => {
            texts += 1;
            let name = if many {
                format!("-c {texts}")
            } else {
                "-c".into()
            };
            Ok(Source {
                name,
                text: text.clone(),
            })
        }
        Given::File(path) if path == Path::new(STREAM) => stdin(settings),
        Given::File(path) => file(path, settings),
    };
    given.iter().map(source).collect()
}

pub(crate) fn stdin(settings: &Settings) -> Result<Source, Failure> {
    let bytes = read(std::io::stdin().lock(), "standard input", settings)?;
    source("stdin".into(), bytes)
}

pub(crate) fn file(path: &Path, settings: &Settings) -> Result<Source, Failure> {
    let name = path.display().to_string();
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::usage("missing_path", format!("there is no file `{name}`"))
        }
        _ => Failure::io(&format!("cannot read `{name}`"), error),
    })?;
    let bytes = read(file, &format!("`{name}`"), settings)?;
    source(name, bytes)
}

/// Reads one byte more than a text of SQL may have, so that the engine can say that it is too long.
fn read(from: impl Read, what: &str, settings: &Settings) -> Result<Vec<u8>, Failure> {
    let most = settings.get("sql_bytes").ok();
    let most = most.and_then(|text| tidegate::parse_bytes(&text).ok());
    let mut bytes = Vec::new();
    from.take(most.map_or(u64::MAX, |most| most.saturating_add(1)))
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::io(&format!("cannot read {what}"), error))?;
    Ok(bytes)
}

/// A text of SQL out of its bytes.
pub(crate) fn source(name: String, bytes: Vec<u8>) -> Result<Source, Failure> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("`{name}` is not UTF-8 at byte {at}");
        Failure::Failed(tidegate::Error::new(
            tidegate::ErrorKind::Sql,
            "not_utf8",
            message,
        ))
    })?;
    // A byte order mark becomes spaces, so that places in the text stay where they are.
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => format!("   {rest}"),
        None => text,
    };
    Ok(Source { name, text })
}
