//! What can go wrong in writing, for the user.

use datafusion::error::DataFusionError;

/// A result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not written. The target is as it was, unless the message says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such option for this format.
    #[error("unknown option `{name}` for {format}; there are {known}")]
    UnknownOption {
        /// As the user wrote it.
        name: String,
        /// The format it was given for.
        format: &'static str,
        /// All names that would do.
        known: String,
    },
    /// The option is known, its value does not fit.
    #[error("`{value}` is not a value of option `{name}`: {expected}")]
    BadOption {
        /// The option.
        name: String,
        /// As the user wrote it.
        value: String,
        /// What would fit.
        expected: String,
    },
    /// The options name two modes.
    #[error("a write has one mode, not both `{first}` and `{second}`")]
    TwoModes {
        /// The one that was said first.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// The format is neither said nor told by the target's suffix.
    #[error(
        "cannot tell the format of `{target}`; say FORMAT parquet, csv, tsv, json, ndjson or arrow"
    )]
    NoFormat {
        /// The target.
        target: String,
    },
    /// No such format.
    #[error("unknown format `{name}`; there are parquet, csv, tsv, json, ndjson and arrow")]
    UnknownFormat {
        /// As the user wrote it.
        name: String,
    },
    /// The target cannot be written in the way that was asked for.
    #[error("cannot write to `{target}`: {why}")]
    Target {
        /// The target.
        target: String,
        /// The reason.
        why: String,
    },
    /// A column cannot be written in this format.
    #[error("cannot write column `{column}` as {format}: {why}")]
    Column {
        /// The column.
        column: String,
        /// The format.
        format: &'static str,
        /// The reason.
        why: String,
    },
    /// The table that files are to be added to expects what is not written.
    #[error("files with `{said}` are not written: {why}")]
    Dialect {
        /// The option of the table, with its value.
        said: String,
        /// The reason.
        why: &'static str,
    },
    /// A column of PARTITION_BY is not there, or cannot be part of a path.
    #[error("cannot partition by `{column}`: {why}")]
    Partition {
        /// The column.
        column: String,
        /// The reason.
        why: String,
    },
    /// The encoder of a format failed.
    #[error("cannot write {format}: {why}")]
    Encode {
        /// The format.
        format: &'static str,
        /// The reason.
        why: String,
    },
    /// The file system refused; see its own text.
    #[error(transparent)]
    Staged(#[from] tidegate_checkpoint::Error),
    /// Writing bytes failed.
    #[error("cannot write `{target}`: {source}")]
    Io {
        /// The target.
        target: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A temporary table has more bytes than it may.
    #[error(
        "the table needs more temporary disk space than is left of its limit, {bytes_max} bytes"
    )]
    TempLimit {
        /// What was left.
        bytes_max: u64,
    },
    /// The object store refused.
    #[error("cannot write `{target}`: {}", answer(source))]
    Store {
        /// The target.
        target: String,
        /// Its answer.
        source: object_store::Error,
    },
    /// The rows to write could not be had.
    #[error(transparent)]
    Input(#[from] DataFusionError),
}

impl Error {
    /// Whether the disk, a quota or the limit of temporary space is full.
    pub fn is_storage_full(&self) -> bool {
        match self {
            Error::TempLimit { .. } => true,
            Error::Staged(error) => error.is_storage_full(),
            Error::Io { source, .. } => matches!(
                source.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            ),
            _ => false,
        }
    }
}

/// What a store answered, in a line: its own text has whole documents in it.
fn answer(error: &object_store::Error) -> String {
    let text = error.to_string();
    let inside = |before: &str, after: &str| {
        let (_, rest) = text.split_once(before)?;
        rest.split_once(after).map(|(found, _)| found)
    };
    let status = inside("status code: ", ": ").map(|status| format!("the store answers {status}"));
    match (status, inside("<Message>", "</Message>")) {
        (Some(status), Some(message)) => format!("{status}: {message}"),
        (Some(status), None) => status,
        (None, _) => text.lines().next().unwrap_or_default().to_owned(),
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        match error {
            Error::Input(error) => error,
            error => DataFusionError::External(Box::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_store_is_one_line() {
        let check = |text: &str, expect: &str| {
            let source = object_store::Error::Generic {
                store: "S3",
                source: text.into(),
            };
            assert_eq!(answer(&source), expect);
        };
        check(
            "Error performing POST x - Server returned non-2xx status code: 404 Not Found: <?xml?>\n<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>",
            "the store answers 404 Not Found: The specified bucket does not exist",
        );
        check("a\nb", "Generic S3 error: a");
    }
}
