//! The `read_csv(…)` call that says what was found out about a file.

use tidegate_operators::csv::{Dialect, OnError};

/// A call of `read_csv` with the options that reading a file needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvCall {
    path: String,
    options: Vec<(&'static str, String)>,
    types: Vec<(String, &'static str)>,
}

impl CsvCall {
    /// The call with the options in which a file differs from what is usual.
    pub(crate) fn of(path: &str, dialect: &Dialect) -> Self {
        let usual = Self::all_options(&Dialect::default());
        let mut options = Self::all_options(dialect);
        options.retain(|option| {
            option.0 == "delim" || option.0 == "header" || !usual.contains(option)
        });
        Self {
            path: path.to_owned(),
            options,
            types: Vec::new(),
        }
    }

    /// The dialect as options, in SQL.
    pub(crate) fn all_options(dialect: &Dialect) -> Vec<(&'static str, String)> {
        let byte = |byte: Option<u8>| quoted(&byte.map_or_else(String::new, character));
        let mut options = vec![
            ("delim", byte(Some(dialect.delimiter))),
            ("quote", byte(dialect.quote)),
            ("header", dialect.header.to_string()),
            ("encoding", quoted(dialect.encoding.name())),
        ];
        if dialect.escape.is_some() && dialect.escape != dialect.quote {
            options.push(("escape", byte(dialect.escape)));
        }
        if dialect.comment.is_some() {
            options.push(("comment", byte(dialect.comment)));
        }
        if dialect.skip > 0 {
            options.push(("skip", dialect.skip.to_string()));
        }
        if !dialect.null_strings.is_empty() {
            let texts: Vec<String> = dialect.null_strings.iter().map(|t| quoted(t)).collect();
            options.push(("null_strings", format!("[{}]", texts.join(", "))));
        }
        if dialect.decimal_separator != b'.' {
            options.push(("decimal_separator", byte(Some(dialect.decimal_separator))));
        }
        if dialect.null_padding {
            options.push(("null_padding", "true".into()));
        }
        if dialect.on_error == OnError::Skip {
            options.push(("on_error", quoted("skip")));
        }
        options
    }

    /// The same call with this option.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self = self.without(name);
        self.options.push((name, value.to_owned()));
        self
    }

    /// The same call without this option.
    pub fn without(mut self, name: &str) -> Self {
        self.options.retain(|(known, _)| *known != name);
        self
    }

    /// The same call with this column as text.
    pub fn with_text(mut self, column: &str) -> Self {
        self.types.push((column.to_owned(), "VARCHAR"));
        self
    }
}

impl std::fmt::Display for CsvCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "read_csv({}", quoted(&self.path))?;
        for (name, value) in &self.options {
            write!(f, ", {name}={value}")?;
        }
        let types: Vec<String> = self
            .types
            .iter()
            .map(|(column, kind)| format!("{}: '{kind}'", quoted(column)))
            .collect();
        match types.is_empty() {
            true => f.write_str(")"),
            false => write!(f, ", types={{{}}})", types.join(", ")),
        }
    }
}

fn character(byte: u8) -> String {
    match byte {
        b'\t' => "\\t".into(),
        other => char::from(other).to_string(),
    }
}

pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_says_what_is_not_usual() {
        let dialect = Dialect {
            delimiter: b'\t',
            quote: None,
            escape: None,
            null_strings: vec!["it's".into()],
            on_error: OnError::Skip,
            ..Dialect::default()
        };
        let call = CsvCall::of("o'k.csv", &dialect);
        assert_eq!(
            call.clone()
                .without("on_error")
                .with_text("a b")
                .to_string(),
            "read_csv('o''k.csv', delim='\\t', quote='', header=true, null_strings=['it''s'], types={'a b': 'VARCHAR'})"
        );
        assert!(call.to_string().ends_with("on_error='skip')"));
    }
}
