//! What is to be written where, as plain data: it travels with the plan.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::format::WriteFormat;
use super::options;

/// Files that one write has open at most, unless `MAX_OPEN_FILES` says otherwise.
const OPEN_FILES_MAX: usize = 100;

/// One file or many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// The target is one file.
    File,
    /// The target is a directory of files.
    Directory,
    /// A directory if there is one already, else one file. Only the file system can tell.
    ByTarget,
}

/// What to do when the target exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteMode {
    /// Refuse.
    Error,
    /// Replace it.
    Overwrite,
    /// Add files to a directory.
    Append,
    /// Write nothing.
    Ignore,
}

impl WriteMode {
    pub(super) fn staged(self) -> tidegate_checkpoint::Mode {
        match self {
            Self::Error => tidegate_checkpoint::Mode::Error,
            Self::Overwrite => tidegate_checkpoint::Mode::Overwrite,
            Self::Append => tidegate_checkpoint::Mode::Append,
            Self::Ignore => tidegate_checkpoint::Mode::Ignore,
        }
    }

    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Overwrite => "overwrite",
            Self::Append => "append",
            Self::Ignore => "ignore",
        }
    }

    /// The mode of this name.
    pub fn named(name: &str) -> Result<Self> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "error" | "error_if_exists" | "errorifexists" => Self::Error,
            "overwrite" => Self::Overwrite,
            "append" => Self::Append,
            "ignore" => Self::Ignore,
            _ => {
                return Err(Error::BadOption {
                    name: "mode".to_owned(),
                    value: name.to_owned(),
                    expected: "error, overwrite, append or ignore".to_owned(),
                });
            }
        })
    }
}

/// A literal of an option, as the user wrote it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true`, `false`, or an option without a value.
    Boolean(bool),
    /// A number.
    Number(String),
    /// A string or a bare word.
    Text(String),
    /// `(a, b)`
    List(Vec<String>),
}

/// What a statement says about a write; [`WriteSpec::new`] makes sense of it.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// A path or a URL. A relative path is relative to the working directory of the run.
    pub target: String,
    /// The format's name; else the suffix tells.
    pub format: Option<String>,
    /// The format with its options, when it is that of files which are there: the name and the
    /// suffix are not looked at.
    pub like: Option<WriteFormat>,
    /// The mode's name.
    pub mode: Option<String>,
    /// Columns whose values become directories.
    pub partition_by: Vec<String>,
    /// Files open at the same time at most, unless an option says it.
    pub open_files_max: Option<usize>,
    /// All other options, names in any case.
    pub options: Vec<(String, Value)>,
}

/// What is to be written where.
///
/// ```
/// use tidegate_operators::write::{Layout, Request, Value, WriteSpec};
///
/// let spec = WriteSpec::new(&Request {
///     target: "out/".to_owned(),
///     format: Some("csv".to_owned()),
///     options: vec![("HEADER".to_owned(), Value::Boolean(false))],
///     ..Request::default()
/// })?;
/// assert_eq!(spec.layout, Layout::Directory);
/// assert_eq!(WriteSpec::decode(&spec.encode())?, spec);
/// # Ok::<(), tidegate_operators::write::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WriteSpec {
    /// A path, or a URL such as `s3://bucket/path`.
    pub target: String,
    /// One file or many.
    pub layout: Layout,
    /// The format and its options.
    pub format: WriteFormat,
    /// What to do when the target exists; none replaces a file and refuses a directory that is
    /// not empty.
    pub mode: Option<WriteMode>,
    /// Columns whose values become directories, outermost first.
    pub partition_by: Vec<String>,
    /// Whether these columns are also written into the files.
    pub partition_columns_in_files: bool,
    /// A file larger than this is ended and another begun.
    pub file_bytes_max: Option<u64>,
    /// Bytes of all files at most; more is an error.
    pub bytes_max: Option<u64>,
    /// Files that are open at the same time at most; with more partitions the one that was not
    /// written to for longest is ended.
    pub open_files_max: usize,
}

/// Where a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Local(PathBuf),
    /// The store's URL, `scheme://authority`, and the path in it.
    Remote(String, String),
}

impl WriteSpec {
    /// Makes sense of what a statement says.
    pub fn new(request: &Request) -> Result<Self> {
        let target = request.target.as_str();
        if target.is_empty() {
            return Err(target_error(target, "it is empty"));
        }
        let format = match (&request.like, &request.format) {
            (Some(format), _) => format.clone(),
            // `a.csv.gz` with FORMAT csv keeps the compression of its suffix.
            (None, Some(name)) => {
                same_format(WriteFormat::named(name)?, WriteFormat::from_path(target))
            }
            (None, None) => WriteFormat::from_path(target).ok_or_else(|| Error::NoFormat {
                target: target.to_owned(),
            })?,
        };
        let mut spec = Self {
            target: target.to_owned(),
            layout: Layout::ByTarget,
            format,
            mode: request.mode.as_deref().map(WriteMode::named).transpose()?,
            partition_by: request.partition_by.clone(),
            partition_columns_in_files: false,
            file_bytes_max: None,
            bytes_max: None,
            open_files_max: request.open_files_max.unwrap_or(OPEN_FILES_MAX),
        };
        for (name, value) in &request.options {
            options::set(&mut spec, name, value)?;
        }
        if let WriteFormat::Csv(csv) = &spec.format {
            super::csv::check(csv)?;
        }
        if target.ends_with('/') || !spec.partition_by.is_empty() || spec.file_bytes_max.is_some() {
            spec.layout = Layout::Directory;
        }
        Ok(spec)
    }

    /// The spec as bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The spec from its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| Error::Encode {
            format: "the plan of a write",
            why: error.to_string(),
        })
    }

    pub(super) fn place(&self) -> Result<Place> {
        let Some((scheme, rest)) = self.target.split_once("://") else {
            return Ok(Place::Local(PathBuf::from(&self.target)));
        };
        if scheme.eq_ignore_ascii_case("file") {
            return Ok(Place::Local(PathBuf::from(rest)));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if path.trim_matches('/').is_empty() {
            return Err(target_error(
                &self.target,
                "it names no file or directory in the store",
            ));
        }
        Ok(Place::Remote(
            format!("{scheme}://{authority}"),
            path.to_owned(),
        ))
    }
}

fn target_error(target: &str, why: &str) -> Error {
    Error::Target {
        target: target.to_owned(),
        why: why.to_owned(),
    }
}

fn same_format(said: WriteFormat, told: Option<WriteFormat>) -> WriteFormat {
    match (said, told) {
        (WriteFormat::Csv(mut said), Some(WriteFormat::Csv(told))) => {
            said.compression = told.compression;
            WriteFormat::Csv(said)
        }
        (WriteFormat::Json(mut said), Some(WriteFormat::Json(told))) => {
            said.compression = told.compression;
            WriteFormat::Json(said)
        }
        (said, _) => said,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn spec(target: &str, format: Option<&str>, options: &[(&str, Value)]) -> Result<WriteSpec> {
        WriteSpec::new(&Request {
            target: target.to_owned(),
            format: format.map(str::to_owned),
            options: options
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            ..Request::default()
        })
    }

    #[test]
    fn the_target_tells_format_and_layout() {
        for (target, format, suffix, layout) in [
            ("a.parquet", None, "parquet", Layout::ByTarget),
            ("a.CSV", None, "csv", Layout::ByTarget),
            ("d/a.tsv.zst", None, "tsv.zst", Layout::ByTarget),
            ("a.jsonl.gz", Some("ndjson"), "ndjson.gz", Layout::ByTarget),
            ("out", Some("arrow"), "arrow", Layout::ByTarget),
            ("out/", Some("csv"), "csv", Layout::Directory),
            ("s3://b/out/", Some("json"), "json", Layout::Directory),
        ] {
            let spec = spec(target, format, &[]).unwrap();
            assert_eq!(
                (spec.format.suffix().as_str(), spec.layout),
                (suffix, layout),
                "{target}"
            );
        }
        let text = |result: Result<WriteSpec>| result.unwrap_err().to_string();
        assert!(text(spec("out", None, &[])).contains("cannot tell the format of `out`"));
        assert!(text(spec("a.parquet.gz", None, &[])).contains("cannot tell the format"));
        assert!(text(spec("out", Some("xlsx"), &[])).contains("unknown format `xlsx`"));
    }

    #[test]
    fn options_are_checked_by_name_and_value() {
        let text = |name: &str, value: &str| {
            let value = Value::Text(value.to_owned());
            spec("a.csv", None, &[(name, value)])
                .unwrap_err()
                .to_string()
        };
        assert!(text("headr", "x").starts_with("unknown option `headr` for csv; there are"));
        assert!(text("header", "perhaps").contains("`perhaps` is not a value of option `header`"));
        assert!(text("delimiter", "ab").contains("one character"));
        assert!(text("compression", "snappy").contains("none, gzip, zstd, bzip2 or xz"));
        assert!(text("compression_level", "99").contains("compression_level"));
        assert!(text("row_group_size", "10").contains("unknown option"));
        assert!(text("date_format", "%Q").contains("date_format"));
    }

    #[test]
    fn options_reach_the_format() {
        let word = |text: &str| Value::Text(text.to_owned());
        let number = |text: &str| Value::Number(text.to_owned());
        let spec = spec(
            "a.parquet",
            None,
            &[
                ("COMPRESSION", word("gzip")),
                ("compression_level", number("9")),
                ("ROW_GROUP_SIZE", number("1000")),
                ("ROW_GROUP_SIZE_BYTES", word("2MB")),
                ("max_open_files", number("3")),
            ],
        );
        let spec = spec.unwrap();
        let WriteFormat::Parquet(options) = &spec.format else {
            unreachable!("{:?}", spec.format);
        };
        assert_eq!(options.compression, super::super::ParquetCompression::Gzip);
        assert_eq!(
            (options.compression_level, options.row_group_rows),
            (Some(9), 1000)
        );
        assert_eq!(
            (options.row_group_bytes, spec.open_files_max),
            (2_000_000, 3)
        );
        assert_eq!(WriteSpec::decode(&spec.encode()).unwrap(), spec);
    }
}
