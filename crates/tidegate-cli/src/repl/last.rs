//! `_`, the last result, as a table. It is kept in memory, so only up to a limit; a result beyond
//! it is not kept at all, for half a table would answer wrongly.

use tidegate::arrow::array::RecordBatch;
use tidegate::arrow::datatypes::SchemaRef;
use tidegate::{Error, ErrorKind, Session, format_bytes};

use super::lexer::{self, Kind};

/// The name of the last result.
pub(crate) const NAME: &str = "_";
/// Memory for the last result where the setting `last_result_limit` does not say otherwise.
const LIMIT_BYTES: u64 = 64 << 20;

/// Gathers the rows of a result while they are shown.
pub(crate) struct Gathered {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    bytes: u64,
    limit: u64,
}

/// What is known of `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Last {
    /// There has been no result yet.
    Never,
    /// It is there.
    Kept,
    /// The last result had more bytes than this limit.
    TooLarge(u64),
}

impl Gathered {
    /// Starts with no rows.
    pub(crate) fn new(session: &Session, schema: SchemaRef) -> Self {
        let set = session.settings().get("last_result_limit").ok();
        let limit = set.and_then(|text| tidegate::parse_bytes(&text).ok());
        Self {
            schema,
            batches: Vec::new(),
            bytes: 0,
            limit: limit.unwrap_or(LIMIT_BYTES),
        }
    }

    /// Takes rows, or lets go of all of them once they are too many.
    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        let bytes = batch.get_array_memory_size() as u64;
        self.bytes = self.bytes.saturating_add(bytes);
        match self.bytes > self.limit {
            true => self.batches = Vec::new(),
            false => self.batches.push(batch.clone()),
        }
    }

    /// Whether the rows were too many.
    pub(crate) fn overflowed(&self) -> bool {
        self.bytes > self.limit
    }

    /// Makes it the table `_`.
    pub(crate) async fn keep(self, session: &Session) -> Last {
        if self.overflowed() {
            return Last::TooLarge(self.limit);
        }
        match session.register_batches(NAME, self.schema, self.batches) {
            Ok(()) => Last::Kept,
            Err(_) => Last::Never,
        }
    }
}

impl Last {
    /// The error of a statement that names `_` when it is not there.
    pub(crate) fn check(&self, sql: &str) -> Result<(), Error> {
        let named = lexer::tokens(sql)
            .into_iter()
            .find(|token| token.kind == Kind::Word && token.of(sql) == NAME);
        let (Some(token), message, hint) = (match self {
            Last::Kept => return Ok(()),
            Last::Never => (
                named,
                "there is no last result yet, so `_` names nothing".to_string(),
                "run a query first".to_string(),
            ),
            Last::TooLarge(limit) => (
                named,
                format!(
                    "the last result was larger than {}, so `_` was not kept",
                    format_bytes(*limit)
                ),
                "write it to a file with .once or COPY, or make it a table with CREATE TABLE AS"
                    .to_string(),
            ),
        }) else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Usage, "no_last_result", message)
            .with_span(token.span)
            .with_hint(hint))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_a_statement_that_names_it_is_told() {
        assert!(Last::Never.check("select '_', a_b, \"_\" from t").is_ok());
        let error = Last::Never.check("select * from _").unwrap_err();
        assert_eq!(error.span, Some(14..15));
        let error = Last::TooLarge(1 << 20).check("from _").unwrap_err();
        assert_eq!(
            error.message,
            "the last result was larger than 1MiB, so `_` was not kept"
        );
    }
}
