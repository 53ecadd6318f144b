//! What is in files, without reading their rows: sizes, columns, row groups, and how they are written.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use arrow::util::display::array_value_to_string;
use datafusion::catalog::TableProvider;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue};
use parquet::file::metadata::ParquetMetaData;
use tidegate_operators::input::InputFile;
use tidegate_operators::source;

use crate::catalog::{Catalog, Inputs, blocking};
use crate::csv_call::CsvCall;
use crate::error::{Error, Kind, Result};
use crate::file::DataFile;
use crate::format::{self, Format};
use crate::options::ReaderOptions;
use crate::read;
use crate::records;
use crate::section::{Section, flags, numbers, texts};
use crate::table::{FilesTable, Reading};
use crate::widen::sql_name;

/// So many characters of a bound are shown.
const VALUE_CHARS: usize = 60;

impl Catalog {
    /// What is in the files of a path. The first section is the file, or the files.
    pub async fn inspect(&self, text: &str, options: &ReaderOptions) -> Result<Vec<Section>> {
        let inputs = self.inputs(text, options).await?;
        let files = Files::of(&inputs);
        let opened = self
            .table(crate::path::without_secrets(text), inputs, options)
            .await;
        blocking(move || match opened {
            Ok(table) => files.with_table(&table),
            // Files that are no one table can be listed nevertheless.
            Err(error) if error.kind == Kind::Schema => {
                let mut notices = files.notices.clone();
                notices.push(error.to_string());
                let described = files.described(None)?;
                Ok(vec![
                    described,
                    Section::lines("notices", "notice", &notices)?,
                ])
            }
            Err(error) => Err(error),
        })
        .await
    }
}

/// The files of a path, to be opened again.
pub(crate) struct Files {
    pub(crate) opened: Vec<(DataFile, InputFile)>,
    pub(crate) single: bool,
    notices: Vec<String>,
}

impl Files {
    pub(crate) fn of(inputs: &Inputs) -> Self {
        let open = |file: &DataFile| {
            InputFile::new(Arc::clone(&inputs.store), &inputs.url, file.meta.clone())
        };
        Self {
            opened: inputs.files.iter().map(|f| (f.clone(), open(f))).collect(),
            single: inputs.single,
            notices: inputs.notices.clone(),
        }
    }

    fn with_table(&self, table: &FilesTable) -> Result<Vec<Section>> {
        let mut sections = match (&table.reading, self.opened.as_slice()) {
            (Reading::Parquet(_), [(file, input)]) if self.single => {
                let scan = &table.scan;
                let footer =
                    tidegate_operators::parquet::footer(input, &scan.footers, &scan.limits)
                        .map_err(|error| records::from_input(error, file))?;
                vec![
                    parquet_file(file, &footer)?,
                    parquet_columns(table, &footer)?,
                    row_groups(&footer)?,
                ]
            }
            (Reading::Parquet(_), _) => vec![self.described(Some(table))?, united(table)?],
            (Reading::Records { format, .. }, _) => {
                let mut sections = vec![self.described(Some(table))?];
                sections.extend(dialect(format)?);
                sections.push(united(table)?);
                sections
            }
        };
        if !table.notices().is_empty() {
            sections.push(Section::lines("notices", "notice", table.notices())?);
        }
        Ok(sections)
    }

    /// The files with format, compression and size. Those of a table that are Parquet have rows.
    fn described(&self, table: Option<&FilesTable>) -> Result<Section> {
        let files = || self.opened.iter().map(|(file, _)| file);
        let formats = self.opened.iter().map(|(file, input)| {
            let found = match table {
                Some(table) => Some(table.format()),
                None => format_of(file, input).ok(),
            };
            found.map(Format::name)
        });
        let compressions = self.opened.iter().map(|(_, input)| {
            let head = input.read_head(1).ok()?;
            let plain = head.compression == tidegate_operators::input::Compression::None;
            (!plain).then(|| head.compression.words().to_owned())
        });
        let (groups, rows): (Vec<_>, Vec<_>) = files().map(|file| facts(table, file)).unzip();
        let mut columns = vec![
            ("file", texts(files().map(|file| Some(&*file.path)))),
            ("format", texts(formats)),
        ];
        match table.is_some_and(|table| matches!(table.reading, Reading::Parquet(_))) {
            true => {
                columns.push(("rows", numbers(rows.into_iter())));
                columns.push(("row_groups", numbers(groups.into_iter())));
            }
            false => columns.push(("compression", texts(compressions))),
        }
        columns.push(("bytes", numbers(files().map(|file| Some(file.meta.size)))));
        Section::new(if self.single { "file" } else { "files" }, columns)
    }
}

/// The row groups and the rows of a file of a table of Parquet files.
fn facts(table: Option<&FilesTable>, file: &DataFile) -> (Option<u64>, Option<u64>) {
    let Some((Reading::Parquet(facts), table)) = table.map(|table| (&table.reading, table)) else {
        return (None, None);
    };
    // A file that was left out because it is damaged has none.
    let place = table.files.iter().position(|known| known.path == file.path);
    let Some(facts) = place.and_then(|place| facts.get(place)?.as_ref()) else {
        return (None, None);
    };
    let rows = exact(&facts.statistics.num_rows);
    (Some(facts.row_groups.len() as u64), rows)
}

/// The format of a file by its name, else by its first bytes.
pub(crate) fn format_of(file: &DataFile, input: &InputFile) -> Result<Format> {
    if let Some(known) = format::by_extension(&file.path) {
        return Ok(known);
    }
    let head = input
        .read_head(read::HEAD_BYTES)
        .map_err(|error| records::from_input(error, file))?;
    format::by_magic(&head.bytes).ok_or_else(|| {
        let what = format!("the format of `{}` is not known", file.path);
        Error::new(Kind::Invalid, what).file(&*file.path)
    })
}

fn parquet_file(file: &DataFile, footer: &ParquetMetaData) -> Result<Section> {
    let facts = footer.file_metadata();
    let one = |value: u64| numbers(std::iter::once(Some(value)));
    let text = |value: Option<&str>| texts(std::iter::once(value));
    let rows = u64::try_from(facts.num_rows()).ok();
    Section::new(
        "file",
        vec![
            ("file", text(Some(&file.path))),
            ("format", text(Some("parquet"))),
            ("rows", numbers(std::iter::once(rows))),
            ("row_groups", one(footer.num_row_groups() as u64)),
            (
                "columns",
                one(facts.schema_descr().root_schema().get_fields().len() as u64),
            ),
            ("bytes", one(file.meta.size)),
            ("created_by", text(facts.created_by())),
        ],
    )
}

/// One row for each column, a nested one with all that is in it.
fn parquet_columns(table: &FilesTable, footer: &ParquetMetaData) -> Result<Section> {
    let descriptor = footer.file_metadata().schema_descr();
    let mut stored: Vec<Stored> = Vec::new();
    stored.resize_with(table.schema.file_schema().fields().len(), Stored::default);
    for group in footer.row_groups() {
        for (leaf, chunk) in group.columns().iter().enumerate() {
            let root = descriptor.get_column_root(leaf).name();
            let Ok(place) = table.schema.file_schema().index_of(root) else {
                continue;
            };
            let stored = &mut stored[place];
            stored
                .encodings
                .extend(chunk.encodings().map(|encoding| encoding.to_string()));
            // `ZSTD(ZstdLevel(1))`: the level is the library's default and not the file's.
            let compression = chunk.compression().to_string();
            let name = compression.split('(').next().unwrap_or_default();
            stored.compressions.insert(name.to_ascii_lowercase());
            stored.compressed += u64::try_from(chunk.compressed_size()).unwrap_or_default();
            stored.uncompressed += u64::try_from(chunk.uncompressed_size()).unwrap_or_default();
        }
    }
    let listed = |set: &BTreeSet<String>| Some(set.iter().cloned().collect::<Vec<_>>().join(", "));
    let fields = table.schema.file_schema().fields();
    let mut columns = described_columns(fields.iter());
    columns.extend([
        (
            "encodings",
            texts(stored.iter().map(|s| listed(&s.encodings))),
        ),
        (
            "compression",
            texts(stored.iter().map(|s| listed(&s.compressions))),
        ),
        (
            "compressed_bytes",
            numbers(stored.iter().map(|s| Some(s.compressed))),
        ),
        (
            "uncompressed_bytes",
            numbers(stored.iter().map(|s| Some(s.uncompressed))),
        ),
    ]);
    columns.extend(bounds(
        &table.statistics().unwrap_or_default().column_statistics,
        fields.len(),
    ));
    Section::new("columns", columns)
}

/// How the values of a column are stored, over all row groups.
#[derive(Default)]
struct Stored {
    encodings: BTreeSet<String>,
    compressions: BTreeSet<String>,
    compressed: u64,
    uncompressed: u64,
}

fn row_groups(footer: &ParquetMetaData) -> Result<Section> {
    let groups = || footer.row_groups().iter();
    let size = |value: i64| u64::try_from(value).ok();
    Section::new(
        "row groups",
        vec![
            (
                "row_group",
                numbers((0..footer.num_row_groups() as u64).map(Some)),
            ),
            (
                "rows",
                numbers(groups().map(|group| size(group.num_rows()))),
            ),
            (
                "compressed_bytes",
                numbers(groups().map(|group| size(group.compressed_size()))),
            ),
            (
                "uncompressed_bytes",
                numbers(groups().map(|group| size(group.total_byte_size()))),
            ),
        ],
    )
}

/// The columns of the table that all files are together.
fn united(table: &FilesTable) -> Result<Section> {
    let schema = table.schema();
    let fields = schema.fields();
    let mut columns = described_columns(fields.iter());
    if !table.partition_columns().is_empty() {
        let partitions = table.partition_columns();
        let is_partition = |field: &FieldRef| partitions.iter().any(|p| p.name() == field.name());
        columns.push(("partition", flags(fields.iter().map(is_partition))));
    }
    if matches!(table.reading, Reading::Parquet(_)) {
        let statistics = table.statistics().unwrap_or_default();
        columns.extend(bounds(&statistics.column_statistics, fields.len()));
    }
    Section::new("columns", columns)
}

type Named = (&'static str, arrow::array::ArrayRef);

fn described_columns<'a>(fields: impl Iterator<Item = &'a FieldRef> + Clone) -> Vec<Named> {
    let types = fields
        .clone()
        .map(|field| Some(sql_name(field.data_type())));
    vec![
        ("column", texts(fields.map(|field| Some(field.name())))),
        ("type", texts(types)),
    ]
}

/// NULLs, minimum and maximum, where they are known.
fn bounds(statistics: &[ColumnStatistics], columns: usize) -> Vec<Named> {
    let each = || (0..columns).map(|at| statistics.get(at));
    let nulls = each().map(|column| column.and_then(|c| exact(&c.null_count)));
    vec![
        ("nulls", numbers(nulls)),
        ("min", texts(each().map(|column| bound(&column?.min_value)))),
        ("max", texts(each().map(|column| bound(&column?.max_value)))),
    ]
}

fn exact(value: &Precision<usize>) -> Option<u64> {
    match value {
        Precision::Exact(value) => Some(*value as u64),
        _ => None,
    }
}

/// A bound as a query would print it; one that was cut ends in `…`.
fn bound(value: &Precision<ScalarValue>) -> Option<String> {
    let value_ = value.get_value().filter(|value| !value.is_null())?;
    let array = value_.to_array().ok()?;
    let text = array_value_to_string(&array, 0).ok()?;
    let cut = text.char_indices().nth(VALUE_CHARS).map(|(end, _)| end);
    Some(match (cut, value) {
        (Some(end), _) => format!("{}…", &text[..end]),
        (None, Precision::Exact(_)) => text,
        (None, _) => format!("{text}…"),
    })
}

/// How files of CSV are read, as the options that say the same.
fn dialect(format: &source::Format) -> Result<Option<Section>> {
    let source::Format::Csv { dialect, .. } = format else {
        return Ok(None);
    };
    let options = CsvCall::all_options(dialect);
    let section = Section::new(
        "dialect",
        vec![
            ("option", texts(options.iter().map(|(name, _)| Some(name)))),
            ("value", texts(options.iter().map(|(_, value)| Some(value)))),
        ],
    );
    section.map(Some)
}
