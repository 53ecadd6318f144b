//! Whether files may be added to a directory: what is there and what is new must be one table afterwards.

use arrow::datatypes::{DataType, SchemaRef};
use tidegate_operators::csv;
use tidegate_operators::source;

use crate::catalog::{Catalog, Inputs};
use crate::error::{Error, Kind, Result};
use crate::file::DataFile;
use crate::format::{self, Format};
use crate::hive;
use crate::path::{percent_decode, without_secrets};
use crate::table::Reading;
use crate::union::FileColumns;
use crate::walk::some_of;
use crate::widen::{sql_name, widen};

/// The columns of so many files are looked at: a directory may have very many.
const FILES_READ_MAX: usize = 100;

/// What is to be added to a directory.
#[derive(Debug, Clone)]
pub struct Appended {
    /// What the names of the new files end with: `csv.gz`.
    pub suffix: String,
    /// Of separated values, the delimiter and whether there is a header.
    pub separated: Option<(u8, bool)>,
    /// The columns that become directories, outermost first.
    pub partition_by: Vec<String>,
    /// The columns of the new files.
    pub schema: SchemaRef,
}

impl Catalog {
    /// An error if a directory could no longer be read as one table, or with other values, once `new` is added to it.
    /// What cannot be read even now is left to the writer.
    pub async fn check_append(&self, directory: &str, new: &Appended) -> Result<()> {
        let Ok(mut inputs) = self.inputs(directory, &Default::default()).await else {
            return Ok(());
        };
        let text = without_secrets(directory);
        let Some(new_format) = format::by_extension(&format!("part.{}", new.suffix)) else {
            return Ok(());
        };
        inputs.files.retain(|file| !format::is_not_data(&file.path));
        if inputs.files.is_empty() {
            return Ok(());
        }
        check_formats(&text, &inputs.files, new_format)?;
        check_keys(&text, &inputs, new)?;
        inputs.files.truncate(FILES_READ_MAX);
        let Ok((format, found)) = self.found(text.clone(), inputs).await else {
            return Ok(());
        };
        if format != new_format {
            return Err(other_format(&text, format, new_format));
        }
        let header = match &found.reading {
            Reading::Records {
                format: source::Format::Csv { dialect, .. },
                ..
            } => check_dialect(&text, dialect, new)?,
            _ => true,
        };
        match header {
            true => check_columns(&text, format, &found.columns, new),
            false => Ok(()),
        }
    }
}

fn check_formats(text: &str, files: &[DataFile], new: Format) -> Result<()> {
    let mut known = files
        .iter()
        .filter_map(|file| format::by_extension(&file.path));
    match known.find(|format| *format != new) {
        Some(old) => Err(other_format(text, old, new)),
        None => Ok(()),
    }
}

fn other_format(text: &str, old: Format, new: Format) -> Error {
    let (old, new) = (old.name(), new.name());
    let what = format!(
        "`{text}` holds files of the format {old}: files of the format {new} cannot be added"
    );
    Error::new(Kind::Schema, what).hint(format!(
        "say FORMAT {old}, or write into a directory of their own"
    ))
}

/// The keys of the directories below must be the columns to partition by.
fn check_keys(text: &str, inputs: &Inputs, new: &Appended) -> Result<()> {
    let Some(location) = &inputs.location else {
        return Ok(());
    };
    let location = location.trim_end_matches('/');
    let mut all = inputs.files.iter().map(|file| keys(&file.path, location));
    let Some(Some(old)) = all.next() else {
        return Ok(());
    };
    // Files that do not agree are read without partitions even now.
    if !all.all(|keys| keys.as_ref() == Some(&old)) {
        return Ok(());
    }
    let low = |names: &[String]| {
        names
            .iter()
            .map(|name| name.to_lowercase())
            .collect::<Vec<_>>()
    };
    if low(&old) == low(&new.partition_by) {
        return Ok(());
    }
    let what = match (old.is_empty(), new.partition_by.is_empty()) {
        (false, true) => format!(
            "`{text}` is partitioned by {}: files without partitions cannot be added",
            some_of(&old)
        ),
        (true, _) => format!("`{text}` is not partitioned: partitions cannot be added"),
        (false, false) => format!(
            "`{text}` is partitioned by {}: partitions by {} cannot be added",
            some_of(&old),
            some_of(&new.partition_by)
        ),
    };
    let error = Error::new(Kind::Schema, what);
    Err(match old.is_empty() {
        true => error.hint("leave PARTITION_BY out, or write into a directory of their own"),
        false => error.hint(format!("say PARTITION_BY ({})", old.join(", "))),
    })
}

/// The keys of a file's directories below the location; none if it is not there.
fn keys(path: &str, location: &str) -> Option<Vec<String>> {
    let below = path.strip_prefix(location)?;
    hive::pairs(below, 0)
        .map(|(key, _)| percent_decode(key, path).ok())
        .collect()
}

/// Whether the columns have names, which both must agree on.
fn check_dialect(text: &str, old: &csv::Dialect, new: &Appended) -> Result<bool> {
    let Some((delimiter, header)) = new.separated else {
        return Ok(true);
    };
    let several = old.column_names.len() > 1 && new.schema.fields().len() > 1;
    let (what, option) = if old.header != header && !old.column_names.is_empty() {
        let words = |header: bool| if header { "a header" } else { "no header" };
        let what = format!(
            "files with {}: files with {}",
            words(old.header),
            words(header)
        );
        (what, format!("HEADER {}", old.header))
    } else if old.delimiter != delimiter && several {
        let shown = |delimiter: u8| char::from(delimiter).escape_default();
        let (old, new) = (shown(old.delimiter), shown(delimiter));
        let what = format!("values separated by `{old}`: such that are separated by `{new}`");
        (what, format!("DELIMITER '{old}'"))
    } else {
        return Ok(header);
    };
    let what = format!("`{text}` holds {what} cannot be added");
    Err(Error::new(Kind::Schema, what).hint(format!("say {option}")))
}

fn check_columns(text: &str, format: Format, old: &[FileColumns], new: &Appended) -> Result<()> {
    let mut shared = false;
    for field in new.schema.fields() {
        let same = |name: &str| name.to_lowercase() == field.name().to_lowercase();
        let known = old.iter().flat_map(|file| &file.fields);
        for known in known.filter(|known| same(known.name())) {
            shared = true;
            if !fits(format, known.data_type(), field.data_type()) {
                let what = format!(
                    "the column `{}` is {} in `{text}` and would be {} in what is added: no type holds both",
                    known.name(),
                    sql_name(known.data_type()),
                    sql_name(field.data_type()),
                );
                return Err(Error::new(Kind::Schema, what).hint(format!(
                    "cast it: {}::{}",
                    known.name(),
                    sql_name(known.data_type())
                )));
            }
        }
    }
    let any = old.iter().find(|file| !file.fields.is_empty());
    match any {
        Some(any) if !shared && format.is_separated() => {
            let names = any.fields.iter().map(|field| field.name().clone());
            let what = format!(
                "no column of what is added is in `{text}`, which has {}",
                some_of(&names.collect::<Vec<_>>())
            );
            Err(Error::new(Kind::Schema, what).hint("name the columns with AS as they are there"))
        }
        _ => Ok(()),
    }
}

/// Whether the values of a new column are read in one type with those of the old one. Formats without types of their
/// own are read by what the text looks like.
fn fits(format: Format, old: &DataType, new: &DataType) -> bool {
    let either = |kind: DataType| *old == kind || *new == kind;
    if either(DataType::Null) {
        return true;
    }
    match format {
        Format::Json => new.is_nested() || widen(old, &from_json(new)).is_some(),
        Format::Csv | Format::Tsv | Format::Psv => look(old) == look(new),
        Format::Parquet | Format::Arrow | Format::Avro => widen(old, new).is_some(),
    }
}

/// The type that values of a type have when they are read back from JSON.
fn from_json(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Boolean => DataType::Boolean,
        number if number.is_integer() => DataType::Int64,
        number if number.is_numeric() => DataType::Float64,
        _ => DataType::Utf8,
    }
}

/// What a value of separated values looks like.
#[derive(PartialEq, Eq)]
enum Look {
    Number,
    Boolean,
    Date,
    Instant,
    Text,
}

fn look(data_type: &DataType) -> Look {
    match data_type {
        number if number.is_numeric() => Look::Number,
        DataType::Boolean => Look::Boolean,
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, None) => Look::Date,
        DataType::Timestamp(_, Some(_)) => Look::Instant,
        DataType::Dictionary(_, value) => look(value),
        _ => Look::Text,
    }
}
