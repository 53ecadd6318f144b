//! A text of several statements, split before anything runs.

use std::ops::Range;

use tidegate_plan::sql::Parsed;

use crate::planner;
use crate::query::QueryKind;

/// One statement of a [`Script`].
#[derive(Debug, Clone)]
pub struct Statement {
    /// The statement's own text.
    pub text: String,
    /// Where it stands in the script, in bytes.
    pub span: Range<usize>,
    pub(crate) parsed: Parsed,
}

impl Statement {
    pub(crate) fn new(parsed: Parsed) -> Self {
        Self {
            text: parsed.text.clone(),
            span: parsed.span.clone(),
            parsed,
        }
    }

    /// What running it gives.
    pub fn kind(&self) -> QueryKind {
        planner::kind(&self.parsed.statement)
    }

    /// Whether running it gives rows (a query) rather than an effect.
    pub fn returns_rows(&self) -> bool {
        self.kind() == QueryKind::Rows
    }

    /// A verb for reports: `SELECT`, `COPY`, `CREATE VIEW` and so on.
    pub fn verb(&self) -> &'static str {
        self.parsed.statement.verb()
    }
}

/// The statements of a text, in order.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// The statements, in the order in which they are to run.
    pub statements: Vec<Statement>,
}
