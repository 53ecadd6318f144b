//! The columns of files of records: CSV, JSON, Arrow and Avro.
//!
//! CSV: one dialect for all files, from the first. Types come from its sample, and from samples of further files
//! spread evenly over the rest, together within one budget; of every other file the header is read. A file whose
//! header has a column nobody sampled is sampled as well, so no column is left without a type.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use tidegate_operators::csv::{self, Dialect, Sniffed};
use tidegate_operators::input::{self, InputFile};
use tidegate_operators::source::{self, InferOptions};

use crate::cache::FileCache;
use crate::error::{Error, Kind, Result};
use crate::file::DataFile;
use crate::format::Format;
use crate::options::ReaderOptions;
use crate::read;
use crate::union::FileColumns;
use crate::walk::some_of;

/// The samples of all CSV files together read at most this many bytes, beside the first bytes of each.
const SAMPLE_BYTES: usize = 4 << 20;
/// No budget is larger, whatever `sample_rows` says.
const SAMPLE_BYTES_MAX: usize = 1 << 30;
/// So many CSV files are sampled, if they are small enough for the budget.
const SAMPLE_FILES: usize = 16;
/// The header of a CSV file is looked for in so many first bytes, then in as many as a sample has.
const HEADER_BYTES: usize = 16 << 10;
/// Of each of many JSON files at least so many records are looked at.
const JSON_ROWS_MIN: usize = 100;

/// What was found out about files of records.
pub(crate) struct Found {
    pub(crate) format: source::Format,
    pub(crate) columns: Vec<Result<FileColumns>>,
    pub(crate) notices: Vec<String>,
    /// Rows a byte of the files, if it could be estimated.
    pub(crate) rows_per_byte: Option<f64>,
}

/// How the columns of files are found.
pub(crate) struct Records<'a> {
    pub(crate) options: &'a ReaderOptions,
    pub(crate) threads: usize,
    pub(crate) unpacked_bytes_max: u64,
    pub(crate) cache: &'a FileCache<Fields>,
    /// Opens a file of the listing.
    pub(crate) input: &'a (dyn Fn(&DataFile) -> InputFile + Sync),
}

impl Records<'_> {
    pub(crate) fn find(&self, format: Format, files: &[DataFile]) -> Result<Found> {
        match format {
            Format::Csv | Format::Tsv | Format::Psv => self.csv(format, files),
            Format::Json => self.each(files, source::Format::Json(self.options.json()?)),
            Format::Arrow => self.each(files, source::Format::Arrow),
            Format::Avro => self.each(files, source::Format::Avro),
            Format::Parquet => Err(Error::new(
                Kind::Invalid,
                "Parquet files are no files of records",
            )),
        }
    }

    fn each(&self, files: &[DataFile], format: source::Format) -> Result<Found> {
        let infer = InferOptions {
            sample_rows: (self.options.csv.sample_rows() / files.len().max(1)).max(JSON_ROWS_MIN),
            unpacked_bytes_max: self.unpacked_bytes_max,
            ..InferOptions::default()
        };
        let context = format!("{format:?} {infer:?}");
        let columns = read::each(files, self.threads, |file| {
            let fields = self.cache.get(&file.key(), &context, || {
                let schema = source::infer(&format, &(self.input)(file), &infer)
                    .map_err(|error| from_input(error, file))?;
                Ok(schema.fields().iter().map(plain).collect())
            })?;
            Ok(FileColumns {
                file: Arc::clone(&file.path),
                fields: fields.as_ref().clone(),
            })
        });
        Ok(Found {
            format,
            columns,
            notices: Vec::new(),
            rows_per_byte: None,
        })
    }

    fn csv(&self, format: Format, files: &[DataFile]) -> Result<Found> {
        let mut said = self.options.csv.clone();
        if let (None, Some(byte)) = (&said.delim, format.delimiter()) {
            said.delim = Some(if byte == b'\t' {
                "\\t".into()
            } else {
                char::from(byte).to_string()
            });
        }
        let declared: Vec<(String, String)> = self
            .options
            .columns
            .iter()
            .map(|field| (field.name().clone(), csv_type(field.data_type())))
            .collect();
        if said.header != Some(false) {
            said.types.extend(declared.clone());
        }
        let first = files
            .first()
            .ok_or_else(|| Error::new(Kind::NotFound, "there is no file"))?;
        let budget = sample_bytes(&said);
        let (mut sniffed, mut head) = self.sniff(first, &said, budget)?;
        if !declared.is_empty() && !sniffed.dialect.header && said.columns.is_empty() {
            // Without a header the declared columns are those of the file, in order.
            (said.types, said.columns, said.header) =
                (self.options.csv.types.clone(), declared, Some(false));
            (sniffed, head) = self.sniff(first, &said, budget)?;
        }
        let (dialect, mut notices) = (sniffed.dialect.clone(), sniffed.notices.clone());
        let said_names = said_types(&sniffed);
        let left = budget.saturating_sub(head.bytes);
        let rest = Rest {
            records: self,
            dialect: &dialect,
            said: as_decided(&said, &dialect),
        };
        let columns = rest.columns(files, fields_of(sniffed), left)?;
        check_said(&self.options.csv, &columns)?;
        if dialect.header && !self.may_differ() {
            alike(&self.options.columns, &columns)?;
        }
        notices.truncate(NOTICES_MAX);
        Ok(Found {
            format: source::Format::Csv {
                dialect,
                said: said_names,
            },
            columns,
            notices,
            rows_per_byte: (head.bytes > 0 && !head.compressed)
                .then(|| head.rows as f64 / head.bytes as f64),
        })
    }

    /// Whether the user said that the first line of every file holds names, or that they may be others.
    fn may_differ(&self) -> bool {
        let given = |name: &str| self.options.given.iter().any(|given| given == name);
        self.options.csv.header.is_some() || given("union_by_name")
    }

    fn sniff(
        &self,
        file: &DataFile,
        said: &csv::Options,
        bytes: usize,
    ) -> Result<(Sniffed, Looked)> {
        let input = (self.input)(file);
        let head = input
            .read_head(bytes)
            .map_err(|error| from_input(error, file))?;
        let mut sniffed =
            csv::sniff(&head.bytes, head.whole, said, &file.path).map_err(from_csv)?;
        if is_every_row(said) && !head.whole {
            let context = format!("survey {said:?} {:?}", sniffed.dialect);
            let fields = self.cache.get(&file.key(), &context, || {
                source::survey(&input, &sniffed)
                    .map(Fields::from)
                    .map_err(|error| from_input(error, file))
            })?;
            sniffed.fields = fields.iter().map(|field| field.as_ref().clone()).collect();
        }
        let looked = Looked {
            bytes: head.bytes.len(),
            rows: head.bytes.iter().filter(|byte| **byte == b'\n').count(),
            compressed: head.compression != input::Compression::None,
        };
        Ok((sniffed, looked))
    }
}

/// How many notices of the sniffer are passed on.
const NOTICES_MAX: usize = 20;

/// What a sample looked at.
struct Looked {
    bytes: usize,
    rows: usize,
    compressed: bool,
}

/// The CSV files after the first, read in its dialect.
struct Rest<'a> {
    records: &'a Records<'a>,
    dialect: &'a Dialect,
    said: csv::Options,
}

impl Rest<'_> {
    fn columns(
        &self,
        files: &[DataFile],
        first: Fields,
        left: usize,
    ) -> Result<Vec<Result<FileColumns>>> {
        let (places, budget) = match is_every_row(&self.said) {
            true => ((1..files.len()).collect(), SAMPLE_BYTES),
            false => {
                let places = spread(files.len(), left);
                let budget = left / places.len().max(1);
                (places, budget)
            }
        };
        let own = |file: &DataFile, fields: &Fields| FileColumns {
            file: Arc::clone(&file.path),
            fields: fields.clone(),
        };
        let sampled = read::each(&places, self.records.threads, |place| {
            let fields = self.sample(&files[*place], budget)?;
            written_alike(&files[*place], &fields, &first)?;
            Ok(own(&files[*place], &fields))
        });
        let mut columns: Vec<Option<Result<FileColumns>>> =
            (0..files.len()).map(|_| None).collect();
        columns[0] = Some(Ok(own(&files[0], &first)));
        for (place, sampled) in places.iter().zip(sampled) {
            columns[*place] = Some(sampled);
        }
        let mut known: HashSet<String> = HashSet::new();
        for sampled in columns.iter().flatten().flatten() {
            known.extend(sampled.fields.iter().map(|field| field.name().clone()));
        }
        let others: Vec<usize> = (0..files.len())
            .filter(|place| columns[*place].is_none())
            .collect();
        let headers = read::each(&others, self.records.threads, |place| {
            self.header(&files[*place], &first)
        });
        for (place, names) in others.into_iter().zip(headers) {
            let file = &files[place];
            columns[place] = Some(match names {
                Err(error) => Err(error),
                Ok(names) if names.iter().all(|field| known.contains(field.name())) => {
                    Ok(own(file, &names))
                }
                Ok(_) => self
                    .sample(file, SAMPLE_BYTES / SAMPLE_FILES)
                    .map(|fields| {
                        known.extend(fields.iter().map(|field| field.name().clone()));
                        own(file, &fields)
                    }),
            });
        }
        Ok(columns.into_iter().flatten().collect())
    }

    fn sample(&self, file: &DataFile, bytes: usize) -> Result<Arc<Fields>> {
        let context = format!("sample {bytes} {:?}", self.said);
        self.records.cache.get(&file.key(), &context, || {
            let (sniffed, _) = self
                .records
                .sniff(file, &self.said, bytes.max(HEADER_BYTES))?;
            Ok(fields_of(sniffed))
        })
    }

    /// The names of a file's columns. They say nothing about types: null widens to anything.
    fn header(&self, file: &DataFile, first: &Fields) -> Result<Arc<Fields>> {
        let context = format!("header {:?}", self.dialect);
        let fields = self.records.cache.get(&file.key(), &context, || {
            let input = (self.records.input)(file);
            let read = |bytes| -> Result<_> {
                let head = input
                    .read_head(bytes)
                    .map_err(|error| from_input(error, file))?;
                csv::header(&head.bytes, head.whole, self.dialect, &file.path).map_err(from_csv)
            };
            let header = match read(HEADER_BYTES) {
                Ok(header) => header,
                Err(_) => read(SAMPLE_BYTES)?,
            };
            Ok(header
                .names
                .into_iter()
                .map(|name| Field::new(name, DataType::Null, true))
                .collect())
        })?;
        written_alike(file, &fields, first)?;
        Ok(fields)
    }
}

/// A file whose header is one name with a separator in it was written with that separator, not with the first file's.
fn written_alike(file: &DataFile, fields: &Fields, first: &Fields) -> Result<()> {
    let [only] = &fields[..] else { return Ok(()) };
    let is_known = first.iter().any(|known| known.name() == only.name());
    if first.len() < 2 || is_known || !only.name().contains([',', ';', '\t', '|']) {
        return Ok(());
    }
    let what = format!(
        "`{}` is not written like the first file: its header is the one name `{}`",
        file.path,
        only.name()
    );
    Err(Error::new(Kind::Schema, what)
        .file(&*file.path)
        .hint("read files with different separators apart, with a glob for each"))
}

/// An error if files have no column name in common: they are different things, or one has no header and its first row
/// was taken for one. A file belongs to the others when it shares a name with one that does.
fn alike(declared: &[Field], columns: &[Result<FileColumns>]) -> Result<()> {
    let names = |file: &FileColumns| -> Vec<String> {
        let fields = file.fields.iter();
        fields.map(|field| field.name().to_lowercase()).collect()
    };
    let mut files = columns
        .iter()
        .flatten()
        .filter(|file| !file.fields.is_empty());
    let mut known: HashSet<String> = declared
        .iter()
        .map(|field| field.name().to_lowercase())
        .collect();
    let Some(first) = (match known.is_empty() {
        true => files.next(),
        false => files.clone().next(),
    }) else {
        return Ok(());
    };
    if known.is_empty() {
        known.extend(names(first));
    }
    let mut others: Vec<&FileColumns> = files.collect();
    let all = columns.len();
    loop {
        let before = others.len();
        others.retain(|file| {
            let names = names(file);
            let shares = names.iter().any(|name| known.contains(name));
            if shares {
                known.extend(names);
            }
            !shares
        });
        match others.first() {
            None => return Ok(()),
            // No file has a declared column: that is told by the name of the column.
            Some(_) if others.len() == all => return Ok(()),
            Some(other) if others.len() == before => return Err(unlike(declared, first, other)),
            Some(_) => {}
        }
    }
}

fn unlike(declared: &[Field], first: &FileColumns, other: &FileColumns) -> Error {
    let shown = |file: &FileColumns| {
        let names = file.fields.iter().map(|field| field.name().clone());
        some_of(&names.collect::<Vec<_>>())
    };
    let what = match declared.is_empty() {
        true => format!(
            "`{}` and `{}` have no column name in common: {} and {}",
            first.file,
            other.file,
            shown(first),
            shown(other)
        ),
        false => format!(
            "`{}` has none of the declared columns, but {}",
            other.file,
            shown(other)
        ),
    };
    Error::new(Kind::Schema, what)
        .file(&*other.file)
        .hint("read them apart with a glob for each; if the first line of every file holds names say `header = true`, if of none `header = false`")
}

/// Whether every row of every file is to be looked at.
fn is_every_row(said: &csv::Options) -> bool {
    said.sample_rows() == usize::MAX
}

/// The budget of all samples: more when more rows are to be looked at. When it is all of them, files are read to their
/// end behind it.
fn sample_bytes(said: &csv::Options) -> usize {
    if is_every_row(said) {
        return SAMPLE_BYTES;
    }
    let times = said.sample_rows() / csv::Options::SAMPLE_ROWS_DEFAULT;
    SAMPLE_BYTES
        .saturating_mul(times.max(1))
        .min(SAMPLE_BYTES_MAX)
}

/// The places of the further files to sample: evenly spread, none when nothing is left to read.
fn spread(files: usize, bytes_left: usize) -> Vec<usize> {
    let others = files.saturating_sub(1);
    let count = others.min(SAMPLE_FILES - 1).min(bytes_left / HEADER_BYTES);
    (1..=count).map(|nth| nth * others / count).collect()
}

/// What the user said, completed by what the first file decided.
fn as_decided(said: &csv::Options, dialect: &Dialect) -> csv::Options {
    let text = |byte: Option<u8>| {
        Some(byte.map_or_else(String::new, |byte| {
            if byte == b'\t' {
                "\\t".into()
            } else {
                char::from(byte).to_string()
            }
        }))
    };
    csv::Options {
        delim: text(Some(dialect.delimiter)),
        quote: text(dialect.quote),
        escape: said.escape.clone().or_else(|| {
            dialect
                .escape
                .filter(|escape| Some(*escape) != dialect.quote)
                .and_then(|byte| text(Some(byte)))
        }),
        header: Some(dialect.header),
        encoding: Some(dialect.encoding.name().to_owned()),
        ..said.clone()
    }
}

/// The type in the words that the CSV reader takes.
pub(crate) fn csv_type(data_type: &DataType) -> String {
    use arrow::datatypes::TimeUnit;
    match data_type {
        DataType::Timestamp(TimeUnit::Second, None) => "TIMESTAMP_S".into(),
        DataType::Timestamp(TimeUnit::Millisecond, None) => "TIMESTAMP_MS".into(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "TIMESTAMP".into(),
        DataType::Timestamp(TimeUnit::Nanosecond, None) => "TIMESTAMP_NS".into(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMPTZ".into(),
        DataType::UInt8 => "UTINYINT".into(),
        DataType::UInt16 => "USMALLINT".into(),
        DataType::UInt32 => "UINTEGER".into(),
        DataType::UInt64 => "UBIGINT".into(),
        other => crate::widen::sql_name(other),
    }
}

fn fields_of(sniffed: Sniffed) -> Fields {
    sniffed
        .fields
        .into_iter()
        .map(|field| field.with_nullable(true))
        .collect()
}

fn said_types(sniffed: &Sniffed) -> Vec<String> {
    let fields = sniffed.fields.iter().zip(&sniffed.inferred);
    fields
        .filter(|(_, inferred)| !**inferred)
        .map(|(field, _)| field.name().clone())
        .collect()
}

/// A type for a column that no file has is a mistake worth a word.
fn check_said(said: &csv::Options, columns: &[Result<FileColumns>]) -> Result<()> {
    let names = || {
        columns
            .iter()
            .flatten()
            .flat_map(|file| file.fields.iter().map(|field| field.name().as_str()))
    };
    for (name, _) in &said.types {
        if !names().any(|known| known.eq_ignore_ascii_case(name)) {
            let known: Vec<&str> = names()
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect();
            let error = Error::new(
                Kind::Invalid,
                format!("`types` names the column `{name}`, which no file has"),
            );
            return Err(
                match crate::near::did_you_mean(&crate::near::near_names(name, known)) {
                    Some(hint) => error.hint(hint),
                    None => error,
                },
            );
        }
    }
    Ok(())
}

fn plain(field: &Arc<Field>) -> Field {
    Field::new(field.name(), field.data_type().clone(), true)
}

/// An error of reading, in this crate's words.
pub(crate) fn from_input(error: input::Error, file: &DataFile) -> Error {
    let kind = match &error {
        input::Error::Io { .. } | input::Error::Store { .. } => Kind::Io,
        input::Error::Changed { .. } => Kind::Changed,
        input::Error::Damaged { .. } => Kind::Corrupt,
        input::Error::Limit { .. } => Kind::Limit,
    };
    Error::new(kind, error.to_string())
        .file(&*file.path)
        .caused_by(error)
}

pub(crate) fn from_csv(error: csv::Error) -> Error {
    let kind = match error.kind {
        csv::Kind::Option => Kind::Invalid,
        _ => Kind::Corrupt,
    };
    let (file, hint) = (Arc::clone(&error.file), error.hint.clone());
    let shown = csv::Error {
        hint: None,
        ..error.clone()
    }
    .to_string();
    let error = Error::new(kind, shown).file(&*file).caused_by(error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spread_evenly() {
        assert_eq!(spread(1, SAMPLE_BYTES), Vec::<usize>::new());
        assert_eq!(spread(4, SAMPLE_BYTES), [1, 2, 3]);
        let many = spread(10_000, SAMPLE_BYTES);
        assert_eq!((many.len(), many[0], many[14]), (15, 666, 9_999));
        assert_eq!(spread(10_000, 0), Vec::<usize>::new());
    }
}
