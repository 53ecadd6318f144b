//! What is wrong with files, and where. Parquet is read here, column by column; files of records are read by a query of
//! the caller that leaves rows out, and what its log says is told here.

use tidegate_operators::csv::OnError;
use tidegate_operators::parquet::{Verified, verify};
use tidegate_operators::rejects::{Kind as Sort, RejectLog};
use tidegate_operators::source;

use crate::catalog::{Catalog, blocking};
use crate::csv_call::{CsvCall, quoted};
use crate::error::{Error, Kind, Result};
use crate::format::Format;
use crate::inspect::{Files, format_of};
use crate::options::ReaderOptions;
use crate::records;
use crate::section::{Section, numbers, texts};
use crate::table::Reading;

/// So many of the rows that cannot be read are shown.
const ROWS_SHOWN: usize = 100;

/// What is known before rows are read by a query.
#[derive(Debug)]
pub enum Diagnosis {
    /// Nothing more is to be read.
    Done(Findings),
    /// Scan this CSV file, and tell [`Findings::of_csv`] what came of it.
    Csv(CsvCase),
    /// Scan this in FROM, and tell [`Findings::of_scan`] what came of it.
    Records {
        /// Reads every column, and leaves out what cannot be read where that is possible.
        from: String,
        /// What was noticed so far.
        notices: Vec<String>,
    },
}

/// What was found out.
#[derive(Debug, Default)]
pub struct Findings {
    /// To be shown, in this order.
    pub sections: Vec<Section>,
    /// Nothing is wrong.
    pub healthy: bool,
}

/// A CSV file to be scanned.
#[derive(Debug)]
pub struct CsvCase {
    /// Reads it and leaves out the rows that cannot be read.
    pub call: CsvCall,
    notices: Vec<String>,
}

/// What a scan came to.
#[derive(Debug)]
pub struct Scan<'a> {
    /// Rows that were read.
    pub rows: u64,
    /// Rows that were left out.
    pub rejects: &'a RejectLog,
    /// What ended the scan before the end of the file.
    pub failed: Option<String>,
}

impl Scan<'_> {
    fn is_clean(&self) -> bool {
        self.failed.is_none() && self.rejects.count() == 0
    }
}

impl Catalog {
    /// Looks for what is wrong with the files of a path; shows at most `problems_max` problems of each Parquet file.
    pub async fn diagnose(&self, text: &str, problems_max: usize) -> Result<Diagnosis> {
        let options = ReaderOptions::default();
        let inputs = self.inputs(text, &options).await?;
        let files = Files::of(&inputs);
        let (files, format) = blocking(move || {
            let format = files.one_format()?;
            Ok((files, format))
        })
        .await?;
        match format {
            Format::Parquet => self
                .parquet(&files, problems_max)
                .await
                .map(Diagnosis::Done),
            Format::Csv | Format::Tsv | Format::Psv => self.csv(text).await,
            Format::Json => Ok(Diagnosis::Records {
                from: format!("read_json({}, on_error='skip')", quoted(text)),
                notices: Vec::new(),
            }),
            Format::Arrow | Format::Avro => Ok(Diagnosis::Records {
                from: quoted(text),
                notices: Vec::new(),
            }),
        }
    }

    async fn parquet(&self, files: &Files, problems_max: usize) -> Result<Findings> {
        let mut all = Vec::with_capacity(files.opened.len());
        for (file, input) in &files.opened {
            let verified = verify(input, self.scan_access(), problems_max).await;
            all.push(verified.map_err(|error| records::from_input(error, file))?);
        }
        let healthy = all.iter().all(|verified| verified.faults_count == 0);
        let mut sections = vec![parquet_files(files, &all)?];
        if !healthy {
            sections.push(parquet_problems(files, &all)?);
        }
        Ok(Findings { sections, healthy })
    }

    async fn csv(&self, text: &str) -> Result<Diagnosis> {
        let mut options = ReaderOptions {
            format: Some(Format::Csv),
            ..ReaderOptions::default()
        };
        options.csv.on_error = Some(OnError::Skip);
        match self.resolve_path(text, &options).await {
            Ok(table) => {
                let Reading::Records {
                    format: source::Format::Csv { dialect, .. },
                    ..
                } = &table.reading
                else {
                    return Err(Error::new(Kind::Invalid, format!("`{text}` is no CSV")));
                };
                Ok(Diagnosis::Csv(CsvCase {
                    call: CsvCall::of(text, dialect),
                    notices: table.notices().to_vec(),
                }))
            }
            // It is not evident how the file is written: that is what is wrong with it.
            Err(error) if matches!(error.kind, Kind::Corrupt | Kind::Schema) => {
                let problem = Section::new(
                    "problems",
                    vec![
                        ("problem", texts(std::iter::once(Some(&error.message)))),
                        ("way_out", texts(std::iter::once(error.hint.as_ref()))),
                    ],
                )?;
                Ok(Diagnosis::Done(Findings {
                    sections: vec![problem],
                    healthy: false,
                }))
            }
            Err(error) => Err(error),
        }
    }
}

impl Files {
    /// The one format of the files.
    fn one_format(&self) -> Result<Format> {
        let mut found: Option<Format> = None;
        for (file, input) in &self.opened {
            let format = format_of(file, input)?;
            match found {
                Some(known) if known != format => {
                    let what = format!(
                        "`{}` is {}, others are {}",
                        file.path,
                        format.name(),
                        known.name()
                    );
                    return Err(
                        Error::new(Kind::Unsupported, what).hint("look at one file at a time")
                    );
                }
                _ => found = Some(format),
            }
        }
        found.ok_or_else(|| Error::new(Kind::NotFound, "there is no file"))
    }
}

impl CsvCase {
    /// Calls that may read more of the file than [`CsvCase::call`] does, the best first.
    pub fn remedies(&self, scan: &Scan<'_>) -> Vec<CsvCall> {
        let mut call = self.call.clone();
        if scan.is_clean() {
            return vec![call.without("on_error")];
        }
        let tallies = scan.rejects.tallies();
        for tally in &tallies {
            match (tally.kind, &tally.column) {
                (Sort::Value, Some(column)) => call = call.with_text(column),
                (Sort::Encoding, _) => call = call.with("encoding", "'windows-1252'"),
                _ => {}
            }
        }
        let structural = |kind| {
            matches!(
                kind,
                Sort::Fields | Sort::Quote | Sort::TooLong | Sort::Record
            )
        };
        match tallies.iter().any(|tally| structural(tally.kind)) {
            true => vec![call],
            false => vec![call.clone().without("on_error"), call],
        }
    }
}

impl Findings {
    /// What a scan of a CSV file says, and the call that reads it with the rows that it left out.
    pub fn of_csv(
        case: &CsvCase,
        text: &str,
        scan: &Scan<'_>,
        best: Option<(&CsvCall, u64, u64)>,
    ) -> Result<Self> {
        let mut findings = Self::of_scan(text, scan, &case.notices)?;
        if let Some((call, rows, left_out)) = best {
            findings.sections.push(Section::new(
                "read with",
                vec![
                    ("call", texts(std::iter::once(Some(call.to_string())))),
                    ("rows", numbers(std::iter::once(Some(rows)))),
                    ("rows_left_out", numbers(std::iter::once(Some(left_out)))),
                ],
            )?);
        }
        Ok(findings)
    }

    /// What a scan of a file of records says.
    pub fn of_scan(text: &str, scan: &Scan<'_>, notices: &[String]) -> Result<Self> {
        let one = |value| numbers(std::iter::once(Some(value)));
        let mut sections = vec![Section::new(
            "file",
            vec![
                ("file", texts(std::iter::once(Some(text)))),
                ("rows", one(scan.rows)),
                ("rows_not_readable", one(scan.rejects.count())),
            ],
        )?];
        if !scan.is_clean() {
            sections.push(problems(scan)?);
        }
        if scan.rejects.count() > 0 {
            sections.push(rejected(scan.rejects)?);
        }
        if !notices.is_empty() {
            sections.push(Section::lines("notices", "notice", notices)?);
        }
        Ok(Self {
            sections,
            healthy: scan.is_clean(),
        })
    }
}

/// Exact counts of the sorts of problems, each with its first place.
fn problems(scan: &Scan<'_>) -> Result<Section> {
    let tallies = scan.rejects.tallies();
    let failed = || scan.failed.iter();
    let known = || tallies.iter();
    let none = |_: &String| None;
    Section::new(
        "problems",
        vec![
            (
                "problem",
                texts(
                    known()
                        .map(|t| Some(t.kind.words().to_owned()))
                        .chain(failed().cloned().map(Some)),
                ),
            ),
            (
                "column",
                texts(
                    known()
                        .map(|t| t.column.as_deref().map(str::to_owned))
                        .chain(failed().map(none)),
                ),
            ),
            (
                "count",
                numbers(
                    known()
                        .map(|t| Some(t.count))
                        .chain(failed().map(|_| Some(1))),
                ),
            ),
            (
                "first_file",
                texts(
                    known()
                        .map(|t| Some(t.first.0.to_string()))
                        .chain(failed().map(none)),
                ),
            ),
            (
                "first_line",
                numbers(
                    known()
                        .map(|t| Some(t.first.1))
                        .chain(failed().map(|_| None)),
                ),
            ),
        ],
    )
}

/// The first rows that cannot be read.
fn rejected(log: &RejectLog) -> Result<Section> {
    let mut rows = log.rows();
    rows.truncate(ROWS_SHOWN);
    let rows = || rows.iter();
    Section::new(
        "first rows not readable",
        vec![
            ("file", texts(rows().map(|row| Some(&*row.file)))),
            ("line", numbers(rows().map(|row| Some(row.line)))),
            ("column", texts(rows().map(|row| row.column.as_deref()))),
            ("reason", texts(rows().map(|row| Some(&row.reason)))),
            ("text", texts(rows().map(|row| Some(&row.text)))),
        ],
    )
}

fn parquet_files(files: &Files, all: &[Verified]) -> Result<Section> {
    let names = files.opened.iter().map(|(file, _)| Some(&*file.path));
    Section::new(
        if files.single { "file" } else { "files" },
        vec![
            ("file", texts(names)),
            ("rows", numbers(all.iter().map(|v| v.rows))),
            (
                "column_chunks_read",
                numbers(all.iter().map(|v| Some(v.chunks))),
            ),
            (
                "statistics_checked",
                numbers(all.iter().map(|v| Some(v.chunks_with_bounds))),
            ),
            (
                "problems",
                numbers(all.iter().map(|v| Some(v.faults_count))),
            ),
        ],
    )
}

fn parquet_problems(files: &Files, all: &[Verified]) -> Result<Section> {
    let faults = || {
        let each = files.opened.iter().zip(all);
        each.flat_map(|((file, _), verified)| {
            verified.faults.iter().map(move |fault| (file, fault))
        })
    };
    Section::new(
        "problems",
        vec![
            ("file", texts(faults().map(|(file, _)| Some(&*file.path)))),
            (
                "row_group",
                numbers(faults().map(|(_, fault)| fault.row_group.map(|at| at as u64))),
            ),
            (
                "column",
                texts(faults().map(|(_, fault)| fault.column.as_ref())),
            ),
            (
                "problem",
                texts(faults().map(|(_, fault)| Some(&fault.what))),
            ),
        ],
    )
}
