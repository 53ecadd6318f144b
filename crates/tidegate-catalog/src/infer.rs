//! From a list of files to a table: their one format, their columns, united, and their partitions.

use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::datasource::table_schema::TableSchema;
use tidegate_operators::input::InputFile;
use tidegate_operators::source::ScanAccess;

use crate::cache::FileCache;
use crate::catalog::{Inputs, count};
use crate::error::{Error, Kind, Result};
use crate::file::DataFile;
use crate::footer::FileFacts;
use crate::format::{self, Format};
use crate::hive::{self, Partitions};
use crate::options::{OnCorrupt, ReaderOptions};
use crate::read;
use crate::records::{self, Records};
use crate::table::{Damaged, FilesTable, Reading};
use crate::union::{self, FileColumns};
use crate::walk::some_of;

/// What is remembered of files.
#[derive(Clone, Copy)]
pub(crate) struct Remembering<'a> {
    pub(crate) facts: &'a FileCache<FileFacts>,
    pub(crate) columns: &'a FileCache<Fields>,
}

/// How a list of files becomes a table.
pub(crate) struct Inference<'a> {
    /// The path as the user wrote it.
    pub(crate) text: &'a str,
    pub(crate) options: &'a ReaderOptions,
    pub(crate) threads: usize,
    pub(crate) scan: &'a ScanAccess,
    pub(crate) remembering: Remembering<'a>,
}

/// What the files of a table are, before their columns are united.
pub(crate) struct Columns {
    files: Vec<DataFile>,
    /// Of the files that are sound.
    pub(crate) columns: Vec<FileColumns>,
    pub(crate) reading: Reading,
    damaged: Damaged,
}

/// The files that were kept, and what was found of each.
struct Kept<T> {
    files: Vec<DataFile>,
    /// None for a damaged file.
    found: Vec<Option<T>>,
    damaged: Damaged,
}

impl Inference<'_> {
    pub(crate) fn table(&self, mut inputs: Inputs) -> Result<FilesTable> {
        let (format, found) = self.found(&mut inputs)?;
        let keys = self.partitions(&found.files, &mut inputs)?;
        let is_key = |name: &str| is_key(&keys, name);
        let united = match self.options.columns.is_empty() {
            true => union::unite(&found.columns, self.options.schema_mode)
                .map_err(|error| self.way_out(error, format))?,
            false => union::declared(&self.options.columns, &found.columns, is_key)?,
        };
        let united = if format == Format::Parquet {
            united
        } else {
            settled(&united)
        };
        let (schema, partitions) = self.with_partitions(united, keys, &mut inputs);
        Ok(FilesTable {
            text: self.text.to_owned(),
            format,
            location: inputs.location,
            files: found.files,
            store_url: inputs.url,
            schema,
            partitions,
            reading: found.reading,
            damaged: found.damaged,
            scan: self.scan.clone(),
            notices: inputs.notices,
            snapshot: OnceLock::new(),
            statistics: OnceLock::new(),
        })
    }

    /// What the files are, before their columns are united.
    pub(crate) fn found(&self, inputs: &mut Inputs) -> Result<(Format, Columns)> {
        let files = std::mem::take(&mut inputs.files);
        let (format, files) = match files.is_empty() {
            true => (self.options.format.unwrap_or(Format::Parquet), files),
            false => self.one_format(files, inputs)?,
        };
        self.options.check_for(format)?;
        self.check_compression(&files, inputs)?;
        let found = match format {
            _ if files.is_empty() => Columns {
                files,
                columns: Vec::new(),
                reading: Reading::Parquet(Vec::new()),
                damaged: Damaged::new(),
            },
            Format::Parquet => self.parquet(files, inputs)?,
            _ => self.records(format, files, inputs)?,
        };
        Ok((format, found))
    }

    /// Compression is told by the first bytes; what the user said must agree with them.
    fn check_compression(&self, files: &[DataFile], inputs: &Inputs) -> Result<()> {
        let Some(wanted) = self.options.compression else {
            return Ok(());
        };
        let checked = read::each(files, self.threads, |file| {
            let head = input(file, inputs)
                .read_head(1)
                .map_err(|error| records::from_input(error, file))?;
            match wanted.is(head.compression) {
                true => Ok(()),
                false => {
                    let what = format!(
                        "`{}` is not compressed with {}: it is {}",
                        file.path,
                        wanted.name(),
                        head.compression.words()
                    );
                    Err(Error::new(Kind::Invalid, what)
                        .file(&*file.path)
                        .hint("leave `compression` out"))
                }
            }
        });
        checked.into_iter().collect()
    }

    /// The one format of all files, and the files that have it.
    fn one_format(
        &self,
        files: Vec<DataFile>,
        inputs: &mut Inputs,
    ) -> Result<(Format, Vec<DataFile>)> {
        if let Some(format) = self.options.format {
            return Ok((format, files));
        }
        let mut found: Vec<(Format, Vec<DataFile>)> = Vec::new();
        let mut beside = Vec::new();
        for file in files {
            if !inputs.single && format::is_not_data(&file.path) {
                beside.push(file.path.to_string());
                continue;
            }
            let format = match format::by_extension(&file.path) {
                Some(format) => format,
                None => sniff(&file, inputs)?,
            };
            match found.iter_mut().find(|(known, _)| *known == format) {
                Some((_, files)) => files.push(file),
                None => found.push((format, vec![file])),
            }
        }
        if !beside.is_empty() {
            inputs.notices.push(format!(
                "skipped {} whose names say they are no data: {}",
                count(beside.len()),
                some_of(&beside)
            ));
        }
        match found.len() {
            0 => {
                let error = Error::new(Kind::NotFound, format!("`{}` has no data file", self.text))
                    .file(self.text);
                Err(error.hint(format!("found only {}", some_of(&beside))))
            }
            1 => Ok(found.swap_remove(0)),
            _ => Err(several_formats(self.text, &found)),
        }
    }

    fn parquet(&self, files: Vec<DataFile>, inputs: &mut Inputs) -> Result<Columns> {
        let text = self.options.binary_as_string;
        let context = if text { "binary as string" } else { "" };
        let found = read::each(&files, self.threads, |file| {
            self.remembering.facts.get(&file.key(), context, || {
                let input = input(file, inputs);
                let footer = tidegate_operators::parquet::footer(
                    &input,
                    &self.scan.footers,
                    &self.scan.limits,
                )
                .map_err(|error| records::from_input(error, file))?;
                FileFacts::of(&footer, &file.path, text)
            })
        });
        let kept = self.keep(files, found, inputs)?;
        let columns = kept.files.iter().zip(&kept.found);
        let columns = columns.filter_map(|(file, facts)| {
            Some(FileColumns {
                file: Arc::clone(&file.path),
                fields: facts.as_ref()?.fields.clone(),
            })
        });
        Ok(Columns {
            columns: columns.collect(),
            files: kept.files,
            reading: Reading::Parquet(kept.found),
            damaged: kept.damaged,
        })
    }

    fn records(
        &self,
        format: Format,
        files: Vec<DataFile>,
        inputs: &mut Inputs,
    ) -> Result<Columns> {
        let records = Records {
            options: self.options,
            threads: self.threads,
            unpacked_bytes_max: self.scan.limits.unpacked_bytes_max,
            cache: self.remembering.columns,
            input: &|file| input(file, inputs),
        };
        let found = records.find(format, &files)?;
        inputs.notices.extend(found.notices);
        let kept = self.keep(files, found.columns, inputs)?;
        Ok(Columns {
            files: kept.files,
            columns: kept.found.into_iter().flatten().collect(),
            damaged: kept.damaged,
            reading: Reading::Records {
                format: found.format,
                rows_per_byte: found.rows_per_byte,
            },
        })
    }

    /// Drops the files that could not be read if that is wanted, else gives the first error in path order. Where there
    /// are partitions, the error waits until it is known that the file is read: a filter may leave it out.
    fn keep<T>(
        &self,
        files: Vec<DataFile>,
        found: Vec<Result<T>>,
        inputs: &mut Inputs,
    ) -> Result<Kept<T>> {
        let mut kept = Kept {
            files: Vec::with_capacity(files.len()),
            found: Vec::with_capacity(files.len()),
            damaged: Damaged::new(),
        };
        let fails = found.iter().any(Result::is_err);
        let may_wait = fails && self.has_partitions(&files, inputs);
        let mut last = None;
        for (file, found) in files.into_iter().zip(found) {
            match found {
                Ok(value) => {
                    kept.files.push(file);
                    kept.found.push(Some(value));
                }
                Err(error)
                    if error.kind == Kind::Corrupt
                        && self.options.on_corrupt == OnCorrupt::Skip =>
                {
                    inputs.notices.push(format!("skipped: {error}"));
                    last = Some(error);
                }
                Err(error) => {
                    let error = match error.kind {
                        Kind::Corrupt if error.hint.is_none() && !inputs.single => {
                            error.hint("leave such files out with `on_corrupt = 'skip'`")
                        }
                        _ => error,
                    };
                    if !may_wait || error.kind != Kind::Corrupt {
                        return Err(error);
                    }
                    kept.damaged.insert(kept.files.len(), error);
                    kept.files.push(file);
                    kept.found.push(None);
                }
            }
        }
        if kept.found.iter().any(Option::is_some) {
            return Ok(kept);
        }
        match kept.damaged.pop_first().map(|(_, error)| error).or(last) {
            Some(error) => Err(error),
            None => Ok(kept),
        }
    }

    fn has_partitions(&self, files: &[DataFile], inputs: &Inputs) -> bool {
        let paths: Vec<&str> = files.iter().map(|file| &*file.path).collect();
        hive::partitions(&paths, inputs.unwritten, &self.options.hive())
            .is_ok_and(|found| !found.fields.is_empty())
    }

    /// The partition columns and the values of the files.
    fn partitions(&self, files: &[DataFile], inputs: &mut Inputs) -> Result<Partitions> {
        let paths: Vec<&str> = files.iter().map(|file| &*file.path).collect();
        let mut found = match files.is_empty() {
            true => hive::promised(&self.options.hive()),
            false => hive::partitions(&paths, inputs.unwritten, &self.options.hive())?,
        };
        inputs.notices.extend(found.notice.take());
        Ok(found)
    }

    /// The table's schema with its partition columns behind the file columns. A partition column replaces a file column of its name.
    fn with_partitions(
        &self,
        united: SchemaRef,
        found: Partitions,
        inputs: &mut Inputs,
    ) -> (TableSchema, Vec<Arc<[ScalarValue]>>) {
        let is_key = |name: &str| is_key(&found, name);
        let both: Vec<String> = united
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .filter(|name| is_key(name))
            .collect();
        let file_schema = match both.is_empty() {
            true => united,
            false => {
                if self.options.columns.is_empty() {
                    let what =
                        "is in the files and in the directory names: the directory name counts";
                    inputs
                        .notices
                        .push(format!("the column {} {what}", some_of(&both)));
                }
                let fields: Fields = united
                    .fields()
                    .iter()
                    .filter(|field| !is_key(field.name()))
                    .cloned()
                    .collect();
                Arc::new(Schema::new(fields))
            }
        };
        let schema = TableSchema::builder(file_schema)
            .with_table_partition_cols(found.fields)
            .build();
        (schema, found.values)
    }

    /// CSV has one more way out of a conflict of types.
    fn way_out(&self, error: Error, format: Format) -> Error {
        match format.is_separated() && error.kind == Kind::Schema {
            true => error.hint("say the type with `types = {name: 'VARCHAR'}`, or read what does not fit as text with `schema_mode = 'widen_to_string'`"),
            false => error,
        }
    }
}

/// Whether a column of this name is in the directory names, in whatever case.
fn is_key(found: &Partitions, name: &str) -> bool {
    let folded = name.to_lowercase();
    let mut keys = found.fields.iter();
    keys.any(|field| field.name() == name || field.name().to_lowercase() == folded)
}

fn input(file: &DataFile, inputs: &Inputs) -> InputFile {
    InputFile::new(Arc::clone(&inputs.store), &inputs.url, file.meta.clone())
}

/// The format of a file whose name does not say it.
fn sniff(file: &DataFile, inputs: &Inputs) -> Result<Format> {
    let head = input(file, inputs)
        .read_head(read::HEAD_BYTES)
        .map_err(|error| records::from_input(error, file))?;
    format::by_magic(&head.bytes).ok_or_else(|| {
        let path = &file.path;
        Error::new(Kind::Invalid, format!("the format of `{path}` is not known: it is no text and no Parquet, Arrow or Avro file"))
            .file(&**path)
            .hint("say it with `format = '…'`")
    })
}

/// Records may lack any column, and a column without a value anywhere is text.
fn settled(schema: &SchemaRef) -> SchemaRef {
    let fields: Fields = schema
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Null => Field::new(field.name(), DataType::Utf8View, true),
            known => Field::new(field.name(), known.clone(), true),
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn several_formats(text: &str, found: &[(Format, Vec<DataFile>)]) -> Error {
    let listed: Vec<String> = found
        .iter()
        .map(|(format, files)| match files.as_slice() {
            [one] => format!("{} (`{}`)", format.name(), one.path),
            many => format!(
                "{} ({} files, such as `{}`)",
                format.name(),
                many.len(),
                many[0].path
            ),
        })
        .collect();
    let name = found[0].1.first().map_or("", |file| &*file.path);
    let name = name.rsplit('/').next().unwrap_or_default();
    let extension = name
        .split_once('.')
        .map_or(found[0].0.name(), |(_, extension)| extension);
    let glob = format!("{}/**/*.{extension}", text.trim_end_matches('/'));
    Error::new(
        Kind::Schema,
        format!(
            "`{text}` has files of several formats: {}",
            listed.join(", ")
        ),
    )
    .file(text)
    .hint(format!(
        "choose with a glob such as `{glob}`, or read all as one with `format = '…'`"
    ))
}
