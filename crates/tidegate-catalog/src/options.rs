//! What a user can say about reading files: the named arguments of `read_parquet`, `read_csv`, `read_json` and
//! the OPTIONS of an external table. Each is checked when it is set.

use arrow::datatypes::{DataType, Field, Schema};
use tidegate_operators::csv::{self, Encoding, OnError};
use tidegate_operators::json::{JsonOptions, OnUnknownKey};

use crate::error::{Error, Kind, Result};
use crate::format::{Compression, Format};
use crate::hive;
use crate::near;
use crate::type_name;
use crate::value::Value;

/// What to do when a column's types have no common type without loss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SchemaMode {
    /// An error that names both files.
    #[default]
    Widen,
    /// The column is text.
    WidenToString,
}

/// What to do with a file that cannot be opened as what it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnCorrupt {
    /// An error that names it.
    #[default]
    Error,
    /// Leave it out, with a notice.
    Skip,
}

/// How a path is read. Everything has a default.
///
/// ```
/// # use tidegate_catalog::{ReaderOptions, Value};
/// let mut options = ReaderOptions::default();
/// options.set("hive_partitioning", Value::Bool(false))?;
/// let error = options.set("hive_partitionning", Value::Bool(false)).unwrap_err();
/// assert_eq!(error.hint.as_deref(), Some("did you mean `hive_partitioning`?"));
/// # Ok::<(), tidegate_catalog::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReaderOptions {
    /// The format of every file, whatever its name says.
    pub format: Option<Format>,
    /// The compression every file must have.
    pub compression: Option<Compression>,
    /// Columns from `key=value` directories: yes, no, or when the files agree on them.
    pub hive_partitioning: Option<bool>,
    /// Types of partition columns; the others are inferred.
    pub partition_types: Vec<(String, DataType)>,
    /// Partition values that are not pinned stay text.
    pub partitions_as_text: bool,
    /// See [`SchemaMode`].
    pub schema_mode: SchemaMode,
    /// See [`OnCorrupt`].
    pub on_corrupt: OnCorrupt,
    /// Read the files of a table format as plain files, deleted rows included.
    pub table_format_files: bool,
    /// Parquet columns of bytes without a type are text.
    pub binary_as_string: bool,
    /// A listing with more files is an error.
    pub files_max: Option<usize>,
    /// How CSV files are written, as far as it was said.
    pub csv: csv::Options,
    /// Bytes one JSON record may have.
    pub json_record_bytes_max: Option<u64>,
    /// The columns of an external table: the files are read as these and no others. A column that is a partition key
    /// pins the key's type. With them a directory that is empty is an empty table, and one that is missing is when it
    /// is to be written.
    pub columns: Vec<Field>,
    /// The names that were set by [`ReaderOptions::set`]: one that means nothing to the format found is refused.
    pub given: Vec<String>,
}

/// The options of every reader.
const GENERAL: [&str; 11] = [
    "format",
    "compression",
    "union_by_name",
    "hive_partitioning",
    "partition_types",
    "hive_types",
    "hive_types_autocast",
    "schema_mode",
    "on_corrupt",
    "table_format",
    "files_max",
];
/// The options of Parquet files.
const PARQUET: [&str; 1] = ["binary_as_string"];
/// The options of CSV and JSON files.
const TEXT: [&str; 4] = ["on_error", "ignore_errors", "sample_rows", "sample_size"];
/// The options of JSON files.
const JSON: [&str; 1] = ["maximum_object_size"];
/// The options of CSV files.
const CSV: [&str; 29] = [
    "delim",
    "sep",
    "delimiter",
    "quote",
    "escape",
    "comment",
    "header",
    "skip",
    "null_strings",
    "nullstr",
    "null",
    "allow_quoted_nulls",
    "encoding",
    "all_text",
    "all_varchar",
    "types",
    "dtypes",
    "column_types",
    "columns",
    "names",
    "column_names",
    "max_line_size",
    "maximum_line_size",
    "null_padding",
    "dateformat",
    "date_format",
    "timestampformat",
    "timestamp_format",
    "decimal_separator",
];

impl ReaderOptions {
    /// Sets one option by name. Names are those of DuckDB's readers where it has the option.
    pub fn set(&mut self, name: &str, value: Value) -> Result<()> {
        let name = name.to_ascii_lowercase();
        if value == Value::Null {
            return Err(Error::new(
                Kind::Invalid,
                format!("the option `{name}` cannot be NULL"),
            ));
        }
        match name.as_str() {
            "format" => self.format = format(&value, &name)?,
            "compression" => self.compression = compression(&value, &name)?,
            "union_by_name" => union_by_name(&value, &name)?,
            "hive_partitioning" => self.hive_partitioning = automatic(&value, &name)?,
            "partition_types" | "hive_types" => self.partition_types = types(&value, &name)?,
            "hive_types_autocast" => self.partitions_as_text = !value.bool(&name)?,
            "schema_mode" => {
                let words = [
                    ("widen", SchemaMode::Widen),
                    ("widen_to_string", SchemaMode::WidenToString),
                ];
                self.schema_mode = value.word(&name, &words)?;
            }
            "on_corrupt" => {
                self.on_corrupt = value.word(
                    &name,
                    &[("error", OnCorrupt::Error), ("skip", OnCorrupt::Skip)],
                )?;
            }
            "table_format" => self.table_format_files = value.word(&name, &[("files", true)])?,
            "files_max" => self.files_max = usize::try_from(value.int(&name, 1..=i64::MAX)?).ok(),
            "binary_as_string" => self.binary_as_string = value.bool(&name)?,
            "filename" | "file_row_number" => return Err(virtual_column(&name)),
            "rejects_table" | "store_rejects" => return Err(reject_table(&name)),
            _ => self.set_text(&name, &value)?,
        }
        self.given.push(name);
        Ok(())
    }

    fn set_text(&mut self, name: &str, value: &Value) -> Result<()> {
        let csv = &mut self.csv;
        match name {
            "delim" | "sep" | "delimiter" => csv.delim = Some(value.text(name)?.to_owned()),
            "quote" => csv.quote = Some(value.text(name)?.to_owned()),
            "escape" => csv.escape = Some(value.text(name)?.to_owned()),
            "comment" => csv.comment = Some(value.text(name)?.to_owned()),
            "header" => csv.header = Some(value.bool(name)?),
            "skip" => csv.skip = u64::try_from(value.int(name, 0..=i64::MAX)?).ok(),
            "null_strings" | "nullstr" | "null" => csv.null_strings = Some(value.texts(name)?),
            "allow_quoted_nulls" => csv.allow_quoted_nulls = Some(value.bool(name)?),
            "encoding" => csv.encoding = Some(encoding(value, name)?),
            "on_error" => {
                let words = [
                    ("fail", OnError::Fail),
                    ("error", OnError::Fail),
                    ("skip", OnError::Skip),
                ];
                csv.on_error = Some(value.word(name, &words)?);
            }
            "ignore_errors" => csv.ignore_errors = Some(value.bool(name)?),
            "sample_rows" | "sample_size" => csv.sample_rows = Some(sample_rows(value, name)?),
            "all_text" | "all_varchar" => csv.all_text = Some(value.bool(name)?),
            "types" | "dtypes" | "column_types" => csv.types = csv_types(value, name)?,
            "columns" => csv.columns = csv_types(value, name)?,
            "names" | "column_names" => csv.names = Some(value.texts(name)?),
            "max_line_size" | "maximum_line_size" => {
                csv.max_line_size = usize::try_from(value.int(name, 1..=i64::MAX)?).ok();
            }
            "null_padding" => csv.null_padding = Some(value.bool(name)?),
            "dateformat" | "date_format" => csv.dateformat = Some(value.text(name)?.to_owned()),
            "timestampformat" | "timestamp_format" => {
                csv.timestampformat = Some(value.text(name)?.to_owned())
            }
            "decimal_separator" => csv.decimal_separator = Some(value.text(name)?.to_owned()),
            "maximum_object_size" => {
                self.json_record_bytes_max = u64::try_from(value.int(name, 1..=i64::MAX)?).ok();
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    /// Refuses an option that was set and means nothing to files of this format.
    pub(crate) fn check_for(&self, found: Format) -> Result<()> {
        let means_something = |name: &&String| {
            let name = name.as_str();
            GENERAL.contains(&name)
                || match found {
                    Format::Parquet => PARQUET.contains(&name),
                    Format::Json => TEXT.contains(&name) || JSON.contains(&name),
                    Format::Arrow | Format::Avro => false,
                    Format::Csv | Format::Tsv | Format::Psv => {
                        TEXT.contains(&name) || CSV.contains(&name)
                    }
                }
        };
        match self.given.iter().find(|name| !means_something(name)) {
            None => Ok(()),
            Some(name) => {
                let what = format!(
                    "the option `{name}` means nothing to {} files",
                    found.name()
                );
                Err(Error::new(Kind::Invalid, what)
                    .hint("leave it out, or say what the files are with `format = '…'`"))
            }
        }
    }

    /// How files of this format are expected to be written as far as it was said, with defaults
    /// for the rest: for a table that has no files yet.
    pub fn dialect(&self, format: Format) -> Result<csv::Dialect> {
        let byte = format.delimiter().map(char::from).map(String::from);
        let mut said = self.csv.clone();
        said.delim = said.delim.or(byte.map(|byte| match byte.as_str() {
            "\t" => "\\t".to_owned(),
            _ => byte,
        }));
        said.dialect("").map_err(crate::records::from_csv)
    }

    /// Keeps text as text and floats as floats, although a file may hold such values only as look
    /// like another type: for a table whose columns are known.
    pub fn keep_types(&mut self, columns: &Schema) {
        for field in columns.fields() {
            let kept = field.data_type().is_string() || field.data_type().is_floating();
            let said = |(name, _): &(String, String)| name.eq_ignore_ascii_case(field.name());
            if kept && !self.csv.types.iter().chain(&self.csv.columns).any(said) {
                let kind = crate::records::csv_type(field.data_type());
                self.csv.types.push((field.name().clone(), kind));
            }
        }
    }

    pub(crate) fn json(&self) -> Result<JsonOptions> {
        let default = JsonOptions::default();
        let on_error = match (self.csv.on_error, self.csv.ignore_errors) {
            (Some(said), None) => said,
            (None, Some(true)) => OnError::Skip,
            (None, _) => OnError::Fail,
            (Some(OnError::Fail), Some(true)) | (Some(OnError::Skip), Some(false)) => {
                return Err(Error::new(
                    Kind::Invalid,
                    "`on_error` and `ignore_errors` say opposite things",
                ));
            }
            (Some(said), Some(_)) => said,
        };
        Ok(JsonOptions {
            on_error,
            record_bytes_max: self
                .json_record_bytes_max
                .unwrap_or(default.record_bytes_max),
            on_unknown_key: match self.columns.is_empty() {
                true => OnUnknownKey::Refuse,
                false => OnUnknownKey::Ignore,
            },
        })
    }

    /// The name of every option.
    pub fn names() -> Vec<&'static str> {
        GENERAL
            .iter()
            .chain(&PARQUET)
            .chain(&TEXT)
            .chain(&JSON)
            .chain(&CSV)
            .copied()
            .collect()
    }

    pub(crate) fn hive(&self) -> hive::Said {
        hive::Said {
            wanted: self.hive_partitioning,
            types: self.partition_types.clone(),
            types_if_key: self
                .columns
                .iter()
                .map(|field| (field.name().clone(), field.data_type().clone()))
                .collect(),
            all_text: self.partitions_as_text,
        }
    }
}

/// A format, or one of DuckDB's words for how JSON is laid out, which is told by the first bytes here.
fn format(value: &Value, name: &str) -> Result<Option<Format>> {
    match value.text(name)?.to_ascii_lowercase().as_str() {
        "auto" => Ok(None),
        "array" | "newline_delimited" | "nd" | "unstructured" => Ok(Some(Format::Json)),
        text => Format::parse(text).map(Some),
    }
}

fn encoding(value: &Value, name: &str) -> Result<String> {
    let text = value.text(name)?;
    match Encoding::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(Error::new(
            Kind::Invalid,
            format!("`{text}` is no encoding that can be read"),
        )
        .hint("encodings are utf-8, utf-16, utf-16le, utf-16be, latin1 and windows-1252")),
    }
}

/// `-1` is every row, as in DuckDB.
fn sample_rows(value: &Value, name: &str) -> Result<usize> {
    match value.int(name, -1..=i64::MAX)? {
        -1 => Ok(usize::MAX),
        0 => Err(value.wrong(name, "a whole number from 1, or -1 for every row")),
        rows => usize::try_from(rows).map_err(|_| value.wrong(name, "a smaller number")),
    }
}

fn csv_types(value: &Value, name: &str) -> Result<Vec<(String, String)>> {
    let types = value.texts_by_name(name)?;
    match types
        .iter()
        .find(|(_, text)| csv::parse_type(text).is_none())
    {
        None => Ok(types),
        Some((column, text)) => {
            let known = type_name::parse(text);
            let error = Error::new(
                Kind::Invalid,
                format!("the type `{text}` of `{column}` cannot be read from CSV"),
            );
            Err(match known.err().and_then(|error| error.hint) {
                Some(hint) => error.hint(hint),
                None => error,
            })
        }
    }
}

fn reject_table(name: &str) -> Error {
    Error::new(
        Kind::Unsupported,
        format!("the option `{name}` is not needed"),
    )
    .hint("with `on_error = 'skip'` the rows left out are in the table `reject_rows`")
}

fn compression(value: &Value, name: &str) -> Result<Option<Compression>> {
    match value.text(name)?.to_ascii_lowercase().as_str() {
        "auto" | "auto_detect" => Ok(None),
        "none" | "uncompressed" => Err(Error::new(
            Kind::Unsupported,
            "compression cannot be turned off",
        )
        .hint("leave `compression` out: it is told by the first bytes of each file")),
        text => Compression::parse(text).map(Some),
    }
}

fn union_by_name(value: &Value, name: &str) -> Result<()> {
    if value.bool(name)? {
        return Ok(());
    }
    Err(Error::new(
        Kind::Unsupported,
        "`union_by_name = false` is not supported: columns are always matched by name",
    ))
}

fn automatic(value: &Value, name: &str) -> Result<Option<bool>> {
    match value {
        Value::Text(text) if text.eq_ignore_ascii_case("auto") => Ok(None),
        _ => value.bool(name).map(Some),
    }
}

fn types(value: &Value, name: &str) -> Result<Vec<(String, DataType)>> {
    let entries = value.texts_by_name(name)?;
    entries
        .into_iter()
        .map(|(column, text)| Ok((column, type_name::parse(&text)?)))
        .collect()
}

fn virtual_column(name: &str) -> Error {
    let column = if name == "filename" { "_file" } else { "_row" };
    Error::new(
        Kind::Unsupported,
        format!("the option `{name}` is not needed"),
    )
    .hint(format!(
        "every table of files has the column `{column}`: name it in the query"
    ))
}

fn unknown(name: &str) -> Error {
    let error = Error::new(Kind::Invalid, format!("there is no reader option `{name}`"));
    let near = near::near_names(name, ReaderOptions::names());
    match near::did_you_mean(&near) {
        Some(hint) => error.hint(hint),
        None => error.hint(format!("options are {}", ReaderOptions::names().join(", "))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fails(name: &str, value: impl Into<Value>) -> String {
        let error = ReaderOptions::default()
            .set(name, value.into())
            .unwrap_err();
        format!("{error} | {}", error.hint.as_deref().unwrap_or_default())
    }

    #[test]
    fn the_readme_lists_every_option() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
        let text = std::fs::read_to_string(path).unwrap();
        for name in ReaderOptions::names() {
            let row = |line: &str| line.starts_with("| `") && line.contains(&format!("`{name}`"));
            assert!(text.lines().any(row), "{name}");
        }
    }

    #[test]
    fn options_are_checked_when_they_are_set() {
        let mut options = ReaderOptions::default();
        options
            .set(
                "HIVE_TYPES",
                Value::Map(vec![("y".into(), "INTEGER".into())]),
            )
            .unwrap();
        options
            .set("schema_mode", "Widen_To_String".into())
            .unwrap();
        options.set("on_corrupt", "skip".into()).unwrap();
        options.set("compression", "gzip".into()).unwrap();
        options.set("union_by_name", true.into()).unwrap();
        assert_eq!(options.partition_types, [("y".to_owned(), DataType::Int32)]);
        assert_eq!(options.schema_mode, SchemaMode::WidenToString);
        assert_eq!(options.on_corrupt, OnCorrupt::Skip);
        assert_eq!(options.compression, Some(Compression::Gz));
    }

    #[test]
    fn mistakes_say_what_to_do() {
        assert_eq!(
            fails("on_corupt", "skip"),
            "there is no reader option `on_corupt` | did you mean `on_corrupt`?"
        );
        assert_eq!(
            fails("on_corrupt", "ignore"),
            "the option `on_corrupt` is 'error' or 'skip', not `ignore` | "
        );
        assert_eq!(
            fails("files_max", 0),
            "the option `files_max` is a whole number from 1, not `0` | "
        );
        assert_eq!(
            fails("filename", true),
            "the option `filename` is not needed | every table of files has the column `_file`: name it in the query"
        );
    }
}
