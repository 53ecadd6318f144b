//! SQL: a script becomes statements, a statement becomes a logical plan, and a mistake
//! becomes one line with a place and advice.
//!
//! 1. [`parse_script`] checks the limits, reads the text through our own dialect, refuses
//!    every clause that would be ignored and rewrites friendly SQL;
//! 2. the caller finds the tables of [`references`] and
//! 3. [`plan`]s the statement with them.
//!
//! Pure: no file is opened and nothing runs. The parser may run on a thread with a larger stack.

mod statement;

mod create;
mod dialect;
mod literals;
mod parse;
mod refused;
mod small;
mod source;
mod stack;
mod walk;

mod balance;
mod guard;
mod guard_exprs;
mod naming;
mod rewrite;
mod tables;

mod calls;
mod cast_names;
mod casts;
mod describe;
mod distribute_by;
mod exponents;
mod names;
mod otherwise;
mod parameters;
mod plan;
mod timestamp_text;
mod types;
mod using;
mod value_text;
mod virtual_columns;
mod whole;
mod zones;

mod blame;
mod error;
mod errors;
mod overflow;
mod subqueries;
mod wording;

#[cfg(test)]
mod tests;

pub use blame::{blame, place, start};
pub use casts::functions;
pub use error::{Code, Error, Result, did_you_mean, near};
pub use errors::{from_datafusion, too_much_text};
pub use parameters::Parameters;
pub use plan::{Inputs, given_meaning, plan, references};
pub use source::{Limits, Source};
pub use statement::{
    Argument, Column, Copy, CreateExternalTable, CreateTableAs, CreateView, Drop, Explain, Insert,
    Name, Parsed, Query, Set, Show, Statement, TableRef, TableRefKind, Value,
};
pub use tables::READERS;
pub(crate) use timestamp_text::time_of_text;
pub use types::{arrow_type, sql_name};
pub(crate) use value_text::of as text_of_time;

use std::sync::Arc;

/// Reads a script: statements separated by semicolons, with comments anywhere.
///
/// ```
/// let script = tidegate_plan::sql::parse_script("FROM 'trips/' LIMIT 5; SHOW TABLES")?;
/// assert_eq!(script.len(), 2);
/// # Ok::<(), tidegate_plan::sql::Error>(())
/// ```
pub fn parse_script(text: &str) -> Result<Vec<Parsed>> {
    parse_script_within(text, &Limits::default())
}

/// Reads a script under other limits than the default ones.
pub fn parse_script_within(text: &str, limits: &Limits) -> Result<Vec<Parsed>> {
    let (source, pieces) = source::split(text, limits)?;
    let read = |piece| parsed(&source, piece, text, limits);
    pieces.into_iter().map(read).collect()
}

/// As [`parse_script_within`], with an error in the place of each statement that cannot be read.
pub fn parse_each_within(text: &str, limits: &Limits) -> Result<Vec<Result<Parsed>>> {
    let (source, pieces) = source::split(text, limits)?;
    let read = |piece| parsed(&source, piece, text, limits);
    Ok(pieces.into_iter().map(read).collect())
}

fn parsed(
    source: &Arc<Source>,
    piece: source::Piece,
    text: &str,
    limits: &Limits,
) -> Result<Parsed> {
    let span = piece.span.clone();
    let piece = distribute_by::piped(piece, source).map_err(|error| error.at(span))?;
    let (statement, nesting) = stack::with_room(piece.shape.nesting, piece.shape.links, || {
        let work = std::panic::AssertUnwindSafe(|| parse::statement(source, &piece, limits));
        std::panic::catch_unwind(work).unwrap_or_else(|_| Err(stack::defect()))
    })
    .map_err(|error| error.at(piece.span.clone()))?;
    Ok(Parsed {
        statement,
        text: text[piece.span.clone()].to_string(),
        span: piece.span,
        source: Arc::clone(source),
        nesting,
    })
}
