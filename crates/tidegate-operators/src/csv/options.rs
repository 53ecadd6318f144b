//! What the user said about a CSV file, in the names of DuckDB's `read_csv` where it has one; and what that means.

use arrow::datatypes::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};

use super::{Dialect, Encoding, Error, OnError};

/// What was said; what was not said is sniffed or has a default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Between fields: one ASCII character, or `\t`.
    #[serde(alias = "sep", alias = "delimiter")]
    pub delim: Option<String>,
    /// Around fields; empty when quotes mean nothing.
    pub quote: Option<String>,
    /// Before a quote inside quotes; the quote itself by default.
    pub escape: Option<String>,
    /// Lines that start with it are left out.
    pub comment: Option<String>,
    /// Whether the first record holds the names.
    pub header: Option<bool>,
    /// Physical lines to leave out at the head.
    pub skip: Option<u64>,
    /// Texts that are NULL instead of the empty field.
    #[serde(alias = "nullstr", alias = "null")]
    pub null_strings: Option<Vec<String>>,
    /// `null_strings` count in quotes too.
    pub allow_quoted_nulls: Option<bool>,
    /// See [`Encoding::parse`].
    pub encoding: Option<String>,
    /// What to do with a record that cannot be read.
    pub on_error: Option<OnError>,
    /// DuckDB's name for `on_error = 'skip'`.
    pub ignore_errors: Option<bool>,
    /// Records to infer types from.
    #[serde(alias = "sample_size")]
    pub sample_rows: Option<usize>,
    /// Every column is text.
    #[serde(alias = "all_varchar")]
    pub all_text: Option<bool>,
    /// Types of some columns, by name.
    #[serde(alias = "dtypes", alias = "column_types")]
    pub types: Vec<(String, String)>,
    /// Names and types of all columns, in order.
    pub columns: Vec<(String, String)>,
    /// Names of the first columns, in order; they replace those of the header.
    #[serde(alias = "column_names")]
    pub names: Option<Vec<String>>,
    /// Bytes a record may have.
    #[serde(alias = "maximum_line_size")]
    pub max_line_size: Option<usize>,
    /// Fill records that are too short with NULL.
    pub null_padding: Option<bool>,
    /// How dates are written, in the letters of strftime.
    #[serde(alias = "date_format")]
    pub dateformat: Option<String>,
    /// How timestamps are written, in the letters of strftime.
    #[serde(alias = "timestamp_format")]
    pub timestampformat: Option<String>,
    /// `.` or `,`.
    pub decimal_separator: Option<String>,
}

impl Options {
    /// `sample_rows` when nothing is said.
    pub const SAMPLE_ROWS_DEFAULT: usize = 20_480;

    /// Records to infer types from.
    pub fn sample_rows(&self) -> usize {
        self.sample_rows.unwrap_or(Self::SAMPLE_ROWS_DEFAULT).max(1)
    }

    /// The type said for a column, by name in any case.
    ///
    /// # Errors
    /// The type is not known.
    pub fn type_of(&self, column: &str) -> Result<Option<DataType>, Error> {
        let said = self
            .columns
            .iter()
            .chain(&self.types)
            .find(|(name, _)| name.eq_ignore_ascii_case(column));
        let Some((_, text)) = said else {
            return Ok(None);
        };
        match parse_type(text) {
            Some(kind) => Ok(Some(kind)),
            None => Err(Error::option(
                "types",
                format!("`{text}` is no type that can be read from CSV"),
            )
            .column(column)),
        }
    }

    /// The dialect as far as it was said, with defaults for the rest.
    ///
    /// # Errors
    /// An option that is not usable, by name.
    pub fn dialect(&self, file: &str) -> Result<Dialect, Error> {
        let byte = |name: &str, said: &Option<String>, default: Option<u8>| {
            character(file, name, said, default)
        };
        let quote = byte("quote", &self.quote, Some(b'"'))?;
        let dialect = Dialect {
            delimiter: byte("delim", &self.delim, Some(b','))?
                .ok_or_else(|| Error::option(file, "`delim` must not be empty"))?,
            quote,
            escape: byte("escape", &self.escape, quote)?.or(quote),
            comment: byte("comment", &self.comment, None)?,
            header: self.header.unwrap_or(true),
            skip: self.skip.unwrap_or(0),
            null_strings: self.null_strings.clone().unwrap_or_default(),
            quoted_nulls: self.allow_quoted_nulls.unwrap_or(false),
            null_padding: self.null_padding.unwrap_or(false),
            on_error: self.on_error(file)?,
            max_line_bytes: self.max_line_bytes(file)?,
            encoding: self.encoding(file)?.unwrap_or_default(),
            decimal_separator: byte("decimal_separator", &self.decimal_separator, Some(b'.'))?
                .unwrap_or(b'.'),
            date_format: self.dateformat.clone(),
            timestamp_format: self.timestampformat.clone(),
            given_names: self.given_names(),
            column_names: Vec::new(),
        };
        self.agree(file, &dialect)?;
        Ok(dialect)
    }

    fn given_names(&self) -> Vec<String> {
        match &self.names {
            Some(names) => names.clone(),
            None => self.columns.iter().map(|(name, _)| name.clone()).collect(),
        }
    }

    fn on_error(&self, file: &str) -> Result<OnError, Error> {
        match (self.on_error, self.ignore_errors) {
            (Some(OnError::Fail), Some(true)) | (Some(OnError::Skip), Some(false)) => Err(
                Error::option(file, "`on_error` and `ignore_errors` say opposite things"),
            ),
            (Some(said), _) => Ok(said),
            (None, Some(true)) => Ok(OnError::Skip),
            (None, _) => Ok(OnError::Fail),
        }
    }

    fn max_line_bytes(&self, file: &str) -> Result<usize, Error> {
        let bytes = self.max_line_size.unwrap_or(Dialect::LINE_BYTES_DEFAULT);
        if bytes == 0 || bytes > Dialect::LINE_BYTES_LIMIT {
            let limit = Dialect::LINE_BYTES_LIMIT;
            return Err(Error::option(
                file,
                format!("`max_line_size` must be from 1 to {limit}, not {bytes}"),
            ));
        }
        Ok(bytes)
    }

    pub(super) fn encoding(&self, file: &str) -> Result<Option<Encoding>, Error> {
        let Some(name) = &self.encoding else {
            return Ok(None);
        };
        match Encoding::parse(name) {
            Some(encoding) => Ok(Some(encoding)),
            None => Err(
                Error::option(file, format!("`{name}` is no encoding that can be read"))
                    .hint("there are utf-8, utf-16, utf-16le, utf-16be, latin1 and windows-1252"),
            ),
        }
    }

    /// No two roles may have the same character.
    fn agree(&self, file: &str, dialect: &Dialect) -> Result<(), Error> {
        let mut roles = vec![("delim", dialect.delimiter)];
        roles.extend(dialect.quote.map(|byte| ("quote", byte)));
        roles.extend(
            dialect
                .escape
                .filter(|_| !dialect.doubles())
                .map(|byte| ("escape", byte)),
        );
        roles.extend(dialect.comment.map(|byte| ("comment", byte)));
        if self.decimal_separator.is_some() && self.delim.is_some() {
            roles.push(("decimal_separator", dialect.decimal_separator));
        }
        for (at, (role, byte)) in roles.iter().enumerate() {
            if let Some((other, _)) = roles[..at].iter().find(|(_, taken)| taken == byte) {
                let byte = char::from(*byte).escape_default();
                return Err(Error::option(
                    file,
                    format!("`{other}` and `{role}` are both `{byte}`"),
                ));
            }
        }
        for (name, format) in [
            ("dateformat", &self.dateformat),
            ("timestampformat", &self.timestampformat),
        ] {
            let Some(format) = format else { continue };
            if chrono::format::StrftimeItems::new(format)
                .any(|item| item == chrono::format::Item::Error)
            {
                return Err(Error::option(
                    file,
                    format!("`{name}` has a letter that means nothing in `{format}`"),
                ));
            }
        }
        Ok(())
    }
}

/// One ASCII character that is no line end, NUL, letter or digit.
fn character(
    file: &str,
    name: &str,
    said: &Option<String>,
    default: Option<u8>,
) -> Result<Option<u8>, Error> {
    let Some(said) = said else { return Ok(default) };
    match said.as_bytes() {
        [] => Ok(None),
        b"\\t" => Ok(Some(b'\t')),
        &[byte]
            if byte.is_ascii()
                && !byte.is_ascii_alphanumeric()
                && !matches!(byte, b'\n' | b'\r' | 0) =>
        {
            Ok(Some(byte))
        }
        _ => Err(Error::option(
            file,
            format!(
                "`{name}` must be one ASCII character that is no letter, digit or line end, not `{}`",
                said.escape_debug()
            ),
        )),
    }
}

/// A type by its SQL name, of those that can be read from CSV.
pub fn parse_type(text: &str) -> Option<DataType> {
    let text = text.trim().to_ascii_uppercase();
    let (name, arguments) = match text.split_once('(') {
        Some((name, rest)) => (name.trim(), Some(rest.trim_end().strip_suffix(')')?)),
        None => (text.as_str(), None),
    };
    if let "DECIMAL" | "NUMERIC" = name {
        let mut numbers = arguments
            .unwrap_or("18, 3")
            .split(',')
            .map(|number| number.trim().parse::<u8>());
        let precision = numbers.next()?.ok()?;
        let scale = numbers.next().transpose().ok()?.unwrap_or(0);
        let fits = (1..=38).contains(&precision) && scale <= precision && numbers.next().is_none();
        return fits.then_some(DataType::Decimal128(precision, scale as i8));
    }
    if let ("VARCHAR" | "CHAR" | "CHARACTER VARYING", Some(length)) = (name, arguments) {
        return length
            .trim()
            .parse::<u32>()
            .ok()
            .map(|_| DataType::Utf8View);
    }
    if arguments.is_some() {
        return None;
    }
    Some(match name {
        "BOOLEAN" | "BOOL" => DataType::Boolean,
        "TINYINT" | "INT1" => DataType::Int8,
        "SMALLINT" | "INT2" => DataType::Int16,
        "INTEGER" | "INT" | "INT4" => DataType::Int32,
        "BIGINT" | "INT8" | "LONG" => DataType::Int64,
        "HUGEINT" => DataType::Decimal128(38, 0),
        "UTINYINT" => DataType::UInt8,
        "USMALLINT" => DataType::UInt16,
        "UINTEGER" => DataType::UInt32,
        "UBIGINT" => DataType::UInt64,
        "REAL" | "FLOAT4" | "FLOAT" => DataType::Float32,
        "DOUBLE" | "FLOAT8" | "DOUBLE PRECISION" => DataType::Float64,
        "DATE" => DataType::Date32,
        "TIMESTAMP" | "DATETIME" | "TIMESTAMP WITHOUT TIME ZONE" => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        "TIMESTAMP_S" => DataType::Timestamp(TimeUnit::Second, None),
        "TIMESTAMP_MS" => DataType::Timestamp(TimeUnit::Millisecond, None),
        "TIMESTAMP_NS" => DataType::Timestamp(TimeUnit::Nanosecond, None),
        "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        "VARCHAR" | "TEXT" | "STRING" | "CHAR" | "BPCHAR" => DataType::Utf8View,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_of_types() {
        let check =
            |text: &str, expect: Option<DataType>| assert_eq!(parse_type(text), expect, "{text}");
        check("bigint", Some(DataType::Int64));
        check(" Decimal( 10 , 2 ) ", Some(DataType::Decimal128(10, 2)));
        check("NUMERIC(5)", Some(DataType::Decimal128(5, 0)));
        check("varchar(20)", Some(DataType::Utf8View));
        for text in [
            "",
            "DECIMAL(39,0)",
            "DECIMAL(3,4)",
            "DECIMAL(1,1,1)",
            "INT(3)",
            "BLOB",
            "DECIMAL(",
            "VARCHAR(x)",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let check = |json: &str, expect: &str| {
            let options: Options = serde_json::from_str(json).unwrap();
            let error = options.dialect("a.csv").unwrap_err();
            assert!(error.reason.contains(expect), "{json}: {error}");
        };
        check(r#"{"delim": "ab"}"#, "`delim` must be one ASCII character");
        check(r#"{"sep": ""}"#, "`delim` must not be empty");
        check(r#"{"quote": "\n"}"#, "`quote` must be");
        check(
            r#"{"delim": ";", "quote": ";"}"#,
            "`delim` and `quote` are both `;`",
        );
        check(r#"{"encoding": "ebcdic"}"#, "`ebcdic` is no encoding");
        check(r#"{"max_line_size": 0}"#, "`max_line_size` must be from 1");
        check(
            r#"{"on_error": "fail", "ignore_errors": true}"#,
            "say opposite things",
        );
        check(r#"{"dateformat": "%Q"}"#, "means nothing");
        assert!(serde_json::from_str::<Options>(r#"{"delimm": "x"}"#).is_err());
    }
}
