//! What can be wrong with a statement: a stable code, one line in the user's words,
//! where in the script, and what to do next.

use std::ops::Range;

/// The stable name of a kind of mistake: programs may match on it, messages may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The text is not SQL.
    Syntax,
    /// The statement is longer or deeper than a limit allows: raise the limit or split the statement.
    Limit,
    /// The SQL is understood and refused.
    Unsupported,
    /// No table, view or file of this name.
    UnknownTable,
    /// No column of this name.
    UnknownColumn,
    /// A name fits more than one column: qualify it.
    AmbiguousColumn,
    /// No function of this name.
    UnknownFunction,
    /// No setting, option or keyword of this name.
    UnknownOption,
    /// No type of this name.
    UnknownType,
    /// The types do not fit.
    TypeMismatch,
    /// Aggregates, windows or GROUP BY are used where they cannot be.
    Grouping,
    /// A parameter has no value.
    MissingParameter,
    /// Two things have one name.
    Duplicate,
    /// A number is outside its type.
    Overflow,
    /// A division by zero.
    DivisionByZero,
    /// A value cannot be read as the type asked for.
    InvalidValue,
    /// Memory, disk or another budget is used up.
    Resources,
    /// A file cannot be read or written.
    Io,
    /// The query was cancelled.
    Cancelled,
    /// The statement is meaningless in another way.
    Invalid,
    /// A defect of this program: please report it.
    Defect,
}

impl Code {
    /// Whether the text of the statement is what is wrong, and not its data or its surroundings.
    pub fn is_of_the_text(self) -> bool {
        !matches!(
            self,
            Self::Overflow
                | Self::DivisionByZero
                | Self::InvalidValue
                | Self::Resources
                | Self::Io
                | Self::Cancelled
                | Self::Defect
        )
    }

    /// The code as it is printed and put into JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Limit => "limit",
            Self::Unsupported => "unsupported",
            Self::UnknownTable => "unknown_table",
            Self::UnknownColumn => "unknown_column",
            Self::AmbiguousColumn => "ambiguous_column",
            Self::UnknownFunction => "unknown_function",
            Self::UnknownOption => "unknown_option",
            Self::UnknownType => "unknown_type",
            Self::TypeMismatch => "type_mismatch",
            Self::Grouping => "grouping",
            Self::MissingParameter => "missing_parameter",
            Self::Duplicate => "duplicate",
            Self::Overflow => "overflow",
            Self::DivisionByZero => "division_by_zero",
            Self::InvalidValue => "invalid_value",
            Self::Resources => "resources",
            Self::Io => "io",
            Self::Cancelled => "cancelled",
            Self::Invalid => "invalid",
            Self::Defect => "defect",
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A mistake in a script, or one met while a statement ran.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The stable kind.
    pub code: Code,
    /// One line: lower case, no full stop.
    pub message: String,
    /// Where, in bytes of the script.
    pub span: Option<Range<usize>>,
    /// What to do next, if that is known.
    pub hint: Option<String>,
}

impl Error {
    /// An error without a place.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            span: None,
            hint: None,
        }
    }

    /// The same error at a place; a place already known stays.
    #[must_use]
    pub fn at(mut self, span: impl Into<Option<Range<usize>>>) -> Self {
        if self.span.is_none() {
            self.span = span.into();
        }
        self
    }

    /// The same error with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn syntax(message: impl Into<String>) -> Self {
        Self::new(Code::Syntax, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Code::Unsupported, message)
    }
}

/// A result with this module's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The candidates nearest to a misspelt name, best first, at most three.
pub fn near<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let lower = name.to_lowercase();
    let allowed = match name.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        6..=8 => 2,
        _ => 3,
    };
    let mut scored: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter_map(|candidate| {
            let folded = candidate.to_lowercase();
            let distance = strsim::damerau_levenshtein(&lower, &folded);
            let prefix = lower.len() >= 3 && folded.starts_with(&lower);
            (distance <= allowed || prefix).then_some((distance, candidate))
        })
        .collect();
    scored.sort_unstable();
    scored.dedup();
    scored
        .into_iter()
        .take(3)
        .map(|(_, name)| name.to_string())
        .collect()
}

/// `did you mean` with the near names, if there are any.
pub fn did_you_mean(names: &[String]) -> Option<String> {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => None,
        [one] => Some(format!("did you mean {one}?")),
        [first @ .., last] => Some(format!("did you mean {} or {last}?", first.join(", "))),
    }
}
