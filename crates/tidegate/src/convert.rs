//! From the errors of the crates below to the one error of this crate. Every error of a query
//! passes through here exactly once.

use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use tidegate_catalog as catalog;
use tidegate_checkpoint as checkpoint;
use tidegate_operators::shuffle::Unreadable;
use tidegate_operators::{csv, input, write};
use tidegate_plan::arithmetic;
use tidegate_plan::sql::{self, Code, Parsed};
use tidegate_runtime::run::Panicked;
use tidegate_runtime::staged::Failed;

use crate::error::{Error, ErrorKind};
use crate::redact::redacted;

/// An error of reading or planning a statement.
pub(crate) fn from_sql(error: sql::Error) -> Error {
    let kind = match error.code {
        Code::Limit | Code::Resources => ErrorKind::Limit,
        Code::Overflow | Code::DivisionByZero | Code::InvalidValue => ErrorKind::Data,
        Code::Io => ErrorKind::Io,
        Code::Cancelled => ErrorKind::Cancelled,
        Code::Defect => ErrorKind::Bug,
        Code::UnknownOption => ErrorKind::Usage,
        _ => ErrorKind::Sql,
    };
    Error {
        kind,
        code: error.code.as_str(),
        message: error.message,
        span: error.span,
        hint: error.hint,
        source: None,
    }
}

/// An error of finding or opening a table.
pub(crate) fn from_catalog(error: catalog::Error) -> Error {
    let (kind, code) = match error.kind {
        catalog::Kind::NotFound => (ErrorKind::Sql, "unknown_table"),
        catalog::Kind::Ambiguous => (ErrorKind::Sql, "ambiguous_table"),
        catalog::Kind::Exists => (ErrorKind::Sql, "duplicate"),
        catalog::Kind::Denied => (ErrorKind::Denied, "denied"),
        catalog::Kind::Unsupported => (ErrorKind::Sql, "unsupported"),
        catalog::Kind::Invalid => (ErrorKind::Usage, "invalid_option"),
        catalog::Kind::Schema => (ErrorKind::Data, "schema_mismatch"),
        catalog::Kind::Corrupt => (ErrorKind::Data, "corrupt_file"),
        catalog::Kind::Changed => (ErrorKind::InputChanged, "input_changed"),
        catalog::Kind::Limit => (ErrorKind::Limit, "limit"),
        catalog::Kind::Io => (ErrorKind::Io, "io"),
    };
    Error {
        kind,
        code,
        message: error.message,
        span: None,
        hint: error.hint,
        source: error.source,
    }
}

/// An error of planning or running a plan.
pub(crate) fn from_datafusion(
    error: DataFusionError,
    parsed: Option<&Parsed>,
    state: Option<&SessionState>,
) -> Error {
    let error = match typed(&error) {
        Some(known) => known,
        None => from_sql(sql::from_datafusion(error, parsed, state)),
    };
    match parsed {
        Some(parsed) => placed(error, parsed),
        None => error,
    }
}

/// A mistake of the statement without a place stands at what it speaks of, else at the start
/// of the statement; for what its data did see [`blamed`].
pub(crate) fn placed(error: Error, parsed: &Parsed) -> Error {
    let error = without_secrets(error);
    let of_text = matches!(
        error.kind,
        ErrorKind::Sql | ErrorKind::Usage | ErrorKind::Denied
    );
    if error.span.is_some() || !of_text {
        return error;
    }
    let target = match &parsed.statement {
        sql::Statement::Copy(copy) => copy.target_span.clone(),
        _ => None,
    };
    let place = sql::place(parsed, &error.message);
    error.with_span(place.or(target).unwrap_or_else(|| sql::start(parsed)))
}

/// What the data of a statement did stands at the expression that did it, if there is only one
/// that can have. `views` says whether the statement reads a view: that has expressions of its own.
pub(crate) fn blamed(error: Error, parsed: &Parsed, views: Views) -> Error {
    let of_value = matches!(
        error.code,
        "division_by_zero" | "overflow" | "invalid_value"
    );
    if error.span.is_some() || !of_value || views == Views::Read {
        return error;
    }
    Error {
        span: sql::blame(parsed, &error.message),
        ..error
    }
}

/// Whether a statement reads views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Views {
    /// It reads one.
    Read,
    /// It reads none.
    None,
}

/// The error without credentials that the statement or a path may hold.
fn without_secrets(error: Error) -> Error {
    let clean = |text: String| match redacted(&text) {
        std::borrow::Cow::Borrowed(_) => text,
        std::borrow::Cow::Owned(clean) => clean,
    };
    Error {
        message: clean(error.message),
        hint: error.hint.map(clean),
        ..error
    }
}

/// An error of compiling a plan.
pub(crate) fn from_plan(
    error: tidegate_plan::Error,
    parsed: Option<&Parsed>,
    state: Option<&SessionState>,
) -> Error {
    match error {
        tidegate_plan::Error::DataFusion(error) => from_datafusion(error, parsed, state),
        tidegate_plan::Error::Undecodable(_) => {
            Error::new(ErrorKind::Bug, "defect", error.to_string())
        }
        tidegate_plan::Error::Unsupported(message) => {
            Error::new(ErrorKind::Sql, "unsupported", message)
        }
    }
}

/// The error of one of our own crates inside an error of DataFusion.
fn typed(error: &DataFusionError) -> Option<Error> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(known) = known(error) {
            return Some(known);
        }
        next = match error.downcast_ref::<DataFusionError>() {
            Some(DataFusionError::External(inner)) => Some(inner.as_ref()),
            Some(DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner)) => {
                Some(inner.as_ref())
            }
            Some(DataFusionError::Shared(inner)) => Some(inner.as_ref()),
            _ => error.source(),
        };
    }
    None
}

fn known(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    if let Some(error) = error.downcast_ref::<catalog::Error>() {
        return Some(from_catalog(catalog::Error {
            kind: error.kind,
            message: error.message.clone(),
            file: error.file.clone(),
            hint: error.hint.clone(),
            source: None,
        }));
    }
    if let Some(error) = error.downcast_ref::<sql::Error>() {
        return Some(from_sql(error.clone()));
    }
    if let Some(error) = error.downcast_ref::<arithmetic::Error>() {
        return Some(Error::new(ErrorKind::Data, "overflow", error.to_string()));
    }
    if let Some(error) = error.downcast_ref::<csv::Error>() {
        return Some(from_csv(error));
    }
    if let Some(error) = error.downcast_ref::<input::Error>() {
        return Some(from_input(error));
    }
    if let Some(error) = error.downcast_ref::<write::Error>() {
        return Some(from_write(error));
    }
    if let Some(error) = error.downcast_ref::<checkpoint::Error>() {
        return Some(from_checkpoint(error));
    }
    if let Some(error) = error.downcast_ref::<Unreadable>() {
        return Some(Error::new(ErrorKind::Io, "shuffle", error.to_string()));
    }
    if let Some(error) = error.downcast_ref::<Failed>() {
        return Some(Error::new(ErrorKind::Io, "task", error.to_string()));
    }
    let panicked = error.downcast_ref::<Panicked>()?;
    if panicked.to_string().contains("offset overflow") {
        return Some(from_sql(sql::too_much_text()));
    }
    Some(
        Error::new(ErrorKind::Bug, "panic", panicked.to_string())
            .with_hint("this is a defect; please report it with the statement"),
    )
}

/// What to do when a file is no longer what it was when the query was planned.
const AGAIN: &str = "run the query again";

/// A file that cannot be read.
fn from_input(error: &input::Error) -> Error {
    let (kind, code) = match error {
        input::Error::Io { .. } | input::Error::Store { .. } => (ErrorKind::Io, "io"),
        input::Error::Changed { .. } => (ErrorKind::InputChanged, "input_changed"),
        input::Error::Damaged { .. } => (ErrorKind::Data, "corrupt_file"),
        input::Error::Limit { .. } => (ErrorKind::Limit, "limit"),
    };
    let found = Error::new(kind, code, error.to_string());
    match kind {
        ErrorKind::InputChanged => found.with_hint(AGAIN),
        _ => found,
    }
}

/// A row that cannot be read: the message says file, line and column, the hint the way out.
fn from_csv(error: &csv::Error) -> Error {
    let bare = csv::Error {
        hint: None,
        ..error.clone()
    };
    let found = Error::new(ErrorKind::Data, "bad_row", bare.to_string());
    match &error.hint {
        Some(hint) => found.with_hint(hint.to_string()),
        None => found,
    }
}

/// Of the files that the stages of a query write for each other.
fn from_checkpoint(error: &checkpoint::Error) -> Error {
    match error {
        checkpoint::Error::TempLimit { .. } => {
            Error::new(ErrorKind::Limit, "resources", error.to_string())
                .with_hint("start with a larger `--temp-limit`, or SET execution = 'pipelined'")
        }
        error if error.is_storage_full() => {
            Error::new(ErrorKind::Limit, "disk_full", error.to_string())
        }
        error => Error::new(ErrorKind::Io, "shuffle", error.to_string()),
    }
}

/// An error of a job's directory.
pub(crate) fn from_job(error: &checkpoint::Error) -> Error {
    let text = error.to_string();
    match error {
        checkpoint::Error::Owned { .. } => Error::new(ErrorKind::Usage, "job_owned", text)
            .with_hint("wait for it, or stop it with `tidegate job cancel NAME`"),
        checkpoint::Error::Corrupt { .. } => {
            Error::new(ErrorKind::Data, "job_damaged", text).with_hint("`--restart` begins anew")
        }
        error if error.is_storage_full() => Error::new(ErrorKind::Limit, "disk_full", text),
        _ => Error::new(ErrorKind::Io, "job", text),
    }
}

/// An error of a write.
pub(crate) fn from_write(error: &write::Error) -> Error {
    use write::Error as Write;
    let usage = |code, message: String| Error::new(ErrorKind::Usage, code, message);
    match error {
        Write::UnknownOption {
            name,
            format,
            known,
        } => {
            let message = format!("there is no option `{name}` for {format}");
            let near = sql::did_you_mean(&sql::near(name, known.split(", ")));
            let hint = near.unwrap_or_else(|| format!("options are {known}"));
            usage("unknown_option", message).with_hint(hint)
        }
        Write::BadOption {
            name,
            value,
            expected,
        } => {
            let message = format!("`{value}` is not a value of the option `{name}`");
            let expected = expected.trim_start_matches("it is ");
            usage("invalid_option", message).with_hint(format!("it takes {expected}"))
        }
        Write::NoFormat { target } => {
            let message = format!("the suffix of `{target}` says no format that can be written");
            usage("unknown_format", message)
                .with_hint("say FORMAT parquet, csv, tsv, json, ndjson or arrow")
        }
        Write::UnknownFormat { name } => usage(
            "unknown_format",
            format!("`{name}` is no format that can be written"),
        )
        .with_hint("formats are parquet, csv, tsv, json, ndjson and arrow"),
        Write::Target { .. } => usage("target", error.to_string()),
        Write::TwoModes { .. } => usage("invalid_option", error.to_string()),
        Write::Dialect { .. } => Error::new(ErrorKind::Sql, "unsupported", error.to_string()),
        Write::Column { .. } => Error::new(ErrorKind::Sql, "unsupported", error.to_string()),
        Write::Partition { .. } => Error::new(ErrorKind::Sql, "partition", error.to_string()),
        Write::Staged(checkpoint::Error::Exists { .. }) => usage("exists", error.to_string()),
        Write::TempLimit { .. } => Error::new(ErrorKind::Limit, "resources", error.to_string())
            .with_hint("start with a larger `--temp-limit`, or give the table a LOCATION"),
        error if error.is_storage_full() => {
            Error::new(ErrorKind::Limit, "disk_full", error.to_string())
        }
        error => Error::new(ErrorKind::Io, "write", error.to_string()),
    }
}
