//! The options of CSV files that are added to a table: what its reader expects of them.

use super::error::{Error, Result};
use super::format::{CsvOptions, CsvTable};
use crate::csv::{Dialect, Encoding};

impl CsvOptions {
    /// The options of files that a table of this dialect reads as they were written.
    ///
    /// # Errors
    /// The table expects something of its files that is not written.
    ///
    /// ```
    /// use tidegate_operators::csv::Dialect;
    /// use tidegate_operators::write::CsvOptions;
    ///
    /// let dialect = Dialect { delimiter: b';', null_strings: vec!["NA".into()], ..Dialect::default() };
    /// let options = CsvOptions::for_table(&dialect)?;
    /// assert_eq!((options.delimiter, options.null.as_str()), (b';', "NA"));
    /// assert!(CsvOptions::for_table(&Dialect { skip: 2, ..dialect }).is_err());
    /// # Ok::<(), tidegate_operators::write::Error>(())
    /// ```
    pub fn for_table(dialect: &Dialect) -> Result<Self> {
        if dialect.skip > 0 {
            let said = format!("skip = {}", dialect.skip);
            return Err(unwritable(
                said,
                "its files begin with lines that are left out",
            ));
        }
        if dialect.encoding != Encoding::Utf8 {
            let said = format!("encoding = '{}'", dialect.encoding.name());
            return Err(unwritable(said, "files are written in UTF-8"));
        }
        Ok(Self {
            header: dialect.header,
            delimiter: dialect.delimiter,
            quote: dialect.quote,
            escape: dialect.escape.or(dialect.quote).unwrap_or(b'"'),
            null: null_text(dialect)?,
            decimal_separator: dialect.decimal_separator,
            date_format: dialect.date_format.clone(),
            timestamp_format: dialect.timestamp_format.clone(),
            table: Some(CsvTable {
                nulls: dialect.null_strings.clone(),
                quoted_nulls: dialect.quoted_nulls,
                comment: dialect.comment,
                line_bytes_max: dialect.max_line_bytes,
            }),
            ..Self::default()
        })
    }
}

/// The first of the table's texts for NULL that can stand in a field as it is.
fn null_text(dialect: &Dialect) -> Result<String> {
    if dialect.null_strings.is_empty() {
        return Ok(String::new());
    }
    let torn = |byte: &u8| {
        *byte == dialect.delimiter || Some(*byte) == dialect.quote || matches!(byte, b'\r' | b'\n')
    };
    let stands = |text: &&String| {
        let bytes = text.as_bytes();
        !bytes.iter().any(torn) && (bytes.is_empty() || bytes.first() != dialect.comment.as_ref())
    };
    let said = || format!("null_strings = ['{}']", dialect.null_strings.join("', '"));
    dialect
        .null_strings
        .iter()
        .find(stands)
        .cloned()
        .ok_or_else(|| unwritable(said(), "no such text can stand in a field without quotes"))
}

fn unwritable(said: String, why: &'static str) -> Error {
    Error::Dialect { said, why }
}
