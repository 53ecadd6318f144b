//! DataFusion's and Arrow's errors in our words: a code, one line, a place, advice. What they
//! say of their own insides (rule names, types of Rust, trees) never reaches a user.

use arrow::error::ArrowError;
use datafusion::common::{Column, DataFusionError, SchemaError};
use datafusion::execution::SessionState;

use crate::arithmetic;

use super::error::{Code, Error, did_you_mean, near};
use super::naming;
use super::overflow::overflow;
use super::source::Source;
use super::statement::Parsed;
use super::wording;

/// An error of planning or running a statement; `parsed` gives it its place, `state` the names
/// of functions to suggest.
pub fn from_datafusion(
    error: DataFusionError,
    parsed: Option<&Parsed>,
    state: Option<&SessionState>,
) -> Error {
    let error = translate(error, parsed.map(|parsed| parsed.source.as_ref()), state);
    match parsed {
        Some(parsed) if error.code.is_of_the_text() => super::plan::placed(error, parsed),
        _ => error,
    }
}

pub(crate) fn translate(
    error: DataFusionError,
    source: Option<&Source>,
    state: Option<&SessionState>,
) -> Error {
    Translator { source, state }.translate(&error)
}

struct Translator<'a> {
    source: Option<&'a Source>,
    state: Option<&'a SessionState>,
}

impl Translator<'_> {
    fn translate(&self, error: &DataFusionError) -> Error {
        match error {
            DataFusionError::Context(_, inner) => self.translate(inner),
            DataFusionError::Shared(inner) => self.translate(inner),
            DataFusionError::Diagnostic(diagnostic, inner) => {
                let span = diagnostic.span.and_then(|span| {
                    let source = self.source?;
                    let start = source.offset(span.start.line, span.start.column);
                    let end = source.offset(span.end.line, span.end.column);
                    Some(start..end.max(start))
                });
                let error = self.translate(inner).at(span);
                let candidates: Vec<&str> = diagnostic
                    .notes
                    .iter()
                    .filter_map(|note| note.message.strip_prefix("possible column "))
                    .filter(|name| !name.starts_with(char::is_control))
                    .collect();
                match (error.code, candidates.as_slice()) {
                    (Code::AmbiguousColumn, [_, _, ..]) => {
                        error.hint(format!("write {}", candidates.join(" or ")))
                    }
                    _ => error,
                }
            }
            DataFusionError::Collection(errors) => match errors.first() {
                Some(first) => self.translate(first),
                None => Error::new(Code::Defect, "a list of errors without an error"),
            },
            DataFusionError::ArrowError(error, _) => self.arrow(error),
            DataFusionError::ParquetError(error) => {
                Error::new(Code::Io, wording::line(&error.to_string()))
            }
            DataFusionError::ObjectStore(error) => {
                Error::new(Code::Io, wording::line(&error.to_string()))
            }
            DataFusionError::IoError(error) => io(error),
            DataFusionError::SchemaError(error, _) => self.schema(error),
            DataFusionError::ResourcesExhausted(message) => resources(message),
            DataFusionError::External(error) => self.external(error.as_ref()),
            DataFusionError::NotImplemented(message) => wording::not_implemented(message),
            DataFusionError::Plan(message)
            | DataFusionError::Execution(message)
            | DataFusionError::Internal(message)
            | DataFusionError::Configuration(message)
            | DataFusionError::Substrait(message)
            | DataFusionError::Ffi(message) => {
                let internal = matches!(error, DataFusionError::Internal(_));
                self.text(message, internal)
            }
            DataFusionError::SQL(error, _) => Error::syntax(wording::line(&error.to_string())),
            DataFusionError::ExecutionJoin(error)
                if error.to_string().contains("offset overflow") =>
            {
                too_much_text()
            }
            DataFusionError::ExecutionJoin(_) => {
                Error::new(Code::Defect, "a part of the query stopped unexpectedly")
                    .hint("please report it with the statement")
            }
        }
    }

    fn external(&self, error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
        if let Some(error) = error.downcast_ref::<Error>() {
            return error.clone();
        }
        if let Some(error) = error.downcast_ref::<DataFusionError>() {
            return self.translate(error);
        }
        if let Some(error) = error.downcast_ref::<arithmetic::Error>() {
            return Error::new(Code::Overflow, error.to_string())
                .hint("cast to a wider type first: DECIMAL(38, 0) or DOUBLE");
        }
        if let Some(error) = error.downcast_ref::<ArrowError>() {
            return self.arrow(error);
        }
        match error.downcast_ref::<std::io::Error>() {
            Some(error) => io(error),
            None => self.text(&error.to_string(), false),
        }
    }

    fn arrow(&self, error: &ArrowError) -> Error {
        match error {
            ArrowError::DivideByZero => division_by_zero(),
            ArrowError::ArithmeticOverflow(message) => overflow(message),
            ArrowError::CastError(message) | ArrowError::ParseError(message) => {
                wording::bad_value(message)
            }
            ArrowError::ExternalError(error) => self.external(error.as_ref()),
            ArrowError::IoError(_, error) => io(error),
            ArrowError::MemoryError(message) => resources(message),
            ArrowError::InvalidArgumentError(message) | ArrowError::ComputeError(message) => {
                self.text(message, false)
            }
            other => self.text(&other.to_string(), false),
        }
    }

    fn schema(&self, error: &SchemaError) -> Error {
        match error {
            SchemaError::FieldNotFound {
                field,
                valid_fields,
            } => unknown_column(field, valid_fields).at(self.column_span(field)),
            SchemaError::AmbiguousReference { field } => {
                ambiguous(&field.name).at(self.column_span(field))
            }
            SchemaError::DuplicateQualifiedField { name, .. }
            | SchemaError::DuplicateUnqualifiedField { name } => Error::new(
                Code::Duplicate,
                format!("two columns are named `{}`", naming::plain(name)),
            )
            .hint("give one of them another name with AS, or name the columns instead of `*`"),
        }
    }

    fn column_span(&self, column: &Column) -> Option<std::ops::Range<usize>> {
        let span = column.spans().first()?;
        let source = self.source?;
        let start = source.offset(span.start.line, span.start.column);
        Some(start..source.offset(span.end.line, span.end.column).max(start))
    }

    fn text(&self, message: &str, internal: bool) -> Error {
        if let Some(name) = between(message, "Invalid function '", "'") {
            return self.unknown_function(name);
        }
        if let Some(name) = between(message, "table function '", "' not found") {
            return self.unknown_table_function(name);
        }
        wording::known(message).unwrap_or_else(|| wording::other(message, internal))
    }

    fn unknown_function(&self, name: &str) -> Error {
        let error = Error::new(
            Code::UnknownFunction,
            format!("there is no function `{name}`"),
        );
        let hint = match self.state {
            Some(state) => {
                let names = state
                    .scalar_functions()
                    .keys()
                    .chain(state.aggregate_functions().keys())
                    .chain(state.window_functions().keys())
                    .map(String::as_str)
                    .filter(|name| !crate::is_internal(name));
                did_you_mean(&near(name, names))
            }
            None => None,
        };
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    fn unknown_table_function(&self, name: &str) -> Error {
        let error = Error::new(
            Code::UnknownFunction,
            format!("there is no table function `{name}`"),
        );
        let known = self
            .state
            .map(|state| state.table_functions().keys().map(String::as_str));
        let names = known.into_iter().flatten().chain(super::tables::READERS);
        match did_you_mean(&near(name, names)) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

fn unknown_column(field: &Column, valid: &[Column]) -> Error {
    let mut valid: Vec<&Column> = valid.iter().collect();
    if let Some(relation) = &field.relation {
        let of_relation: Vec<&Column> = valid
            .iter()
            .copied()
            .filter(|column| column.relation.as_ref() == Some(relation))
            .collect();
        if of_relation.is_empty() {
            return unknown_relation(relation.table(), &valid);
        }
        valid = of_relation;
    }
    let message = match &field.relation {
        Some(relation) if !hidden(relation.table()) => {
            format!("there is no column `{}` in `{relation}`", field.name)
        }
        _ => format!("there is no column `{}`", field.name),
    };
    let mut names: Vec<&str> = valid
        .iter()
        .map(|column| naming::plain(&column.name))
        .collect();
    names.sort_unstable();
    names.dedup();
    let same: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| name.eq_ignore_ascii_case(&field.name))
        .collect();
    if same.len() > 1 {
        let spelled: Vec<String> = same.iter().map(|name| format!("\"{name}\"")).collect();
        return Error::new(
            Code::AmbiguousColumn,
            format!("`{}` fits more than one column", field.name),
        )
        .hint(format!("write {}", spelled.join(" or ")));
    }
    let error = Error::new(Code::UnknownColumn, message);
    if ["FROM", "WHERE", "GROUP", "ORDER", "SELECT"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(&field.name))
    {
        return error.hint("something is missing before it, or it is a name that needs \"quotes\"");
    }
    if let Some(hint) = did_you_mean(&near(&field.name, names.iter().copied())) {
        return error.hint(hint);
    }
    const LISTED_MAX: usize = 12;
    match names.as_slice() {
        [] => error,
        [one] => error.hint(format!("the only one is `{one}`")),
        few if few.len() <= LISTED_MAX => error.hint(format!("the columns are {}", quoted(few))),
        _ => error,
    }
}

/// `q.a` where nothing here is called `q`.
fn unknown_relation(name: &str, valid: &[&Column]) -> Error {
    let mut names: Vec<&str> = valid
        .iter()
        .filter_map(|column| column.relation.as_ref())
        .map(|relation| relation.table())
        .filter(|name| !hidden(name))
        .collect();
    names.sort_unstable();
    names.dedup();
    let error = Error::new(
        Code::UnknownTable,
        format!("there is no table or alias `{name}` here"),
    );
    match names.as_slice() {
        [] => error,
        [one] => error.hint(format!("the only one is `{one}`")),
        names => error.hint(format!("there are {}", quoted(names))),
    }
}

/// `` `a`, `b` ``.
fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

fn hidden(relation: &str) -> bool {
    relation.starts_with(char::is_control) || relation == "?table?"
}

fn ambiguous(name: &str) -> Error {
    Error::new(
        Code::AmbiguousColumn,
        format!(
            "the column `{}` is in more than one table",
            naming::plain(name)
        ),
    )
    .hint(format!(
        "write the table before it: t.{}",
        naming::plain(name)
    ))
}

pub(crate) fn division_by_zero() -> Error {
    Error::new(Code::DivisionByZero, "division by zero")
        .hint("write x / NULLIF(y, 0) to get NULL instead")
}

/// What the limit of temporary files says where a query spills; it has no kind of its own.
const SPILL_LIMIT: &str = "used disk space during the spilling process";

/// Arrow counts the bytes of a batch's texts in 32 bits; some of it panics when there are more.
pub fn too_much_text() -> Error {
    let message = "the texts of a batch of rows have more than 2 GiB";
    Error::new(Code::Resources, message)
        .hint("make shorter texts, or SET batch_rows to less than it is")
}

fn io(error: &std::io::Error) -> Error {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let text = error.to_string();
    if text.contains(SPILL_LIMIT) {
        return resources(&text);
    }
    let code = match error.kind() {
        StorageFull | QuotaExceeded => Code::Resources,
        _ => Code::Io,
    };
    Error::new(code, wording::line(&text))
}

fn resources(message: &str) -> Error {
    let disk = message.to_lowercase().contains("disk");
    let (what, hint) = if disk {
        let hint = "start with a larger `--temp-limit`, or read fewer rows or columns";
        ("temporary disk space", hint)
    } else {
        let hint = "raise `memory_limit`, or read fewer rows or columns";
        ("memory", hint)
    };
    Error::new(
        Code::Resources,
        format!("the query needs more {what} than it may use"),
    )
    .hint(hint)
}

/// The text between two marks.
pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_text_is_no_number_that_does_not_fit() {
        for message in [
            "byte array offset overflow",
            "task 7 panicked with message \"offset overflow\"",
        ] {
            let error = DataFusionError::Execution(message.into());
            let told = translate(error, None, None);
            assert_eq!(told.message, too_much_text().message, "{message}");
        }
    }
}
