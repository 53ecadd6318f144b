//! Results as text or bytes: one renderer for each output format. Every format but the fitted
//! table writes rows as they come and keeps none.

mod data;
mod html;
mod line;
mod markdown;
mod plan;
mod table;
mod value;

use std::io::{self, Write};
use std::path::Path;

use tidegate::arrow::array::RecordBatch;
use tidegate::arrow::datatypes::SchemaRef;
use tidegate::arrow::error::ArrowError;
use tidegate::write::{CsvOptions, WriteFormat};
use tidegate::{Error, ErrorKind, Settings};

use crate::failure::Failure;
pub(crate) use value::visible;

/// An output format.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Format {
    /// For a terminal.
    Table,
    /// One `name = value` a line.
    Line,
    /// A table of GitHub's Markdown.
    Markdown,
    /// A `<table>`.
    Html,
    /// Nothing: the query runs to its end.
    Null,
    /// The lines of a plan as they are, in the place of a table.
    Plan,
    /// A format of files: all rows, every digit.
    Data(WriteFormat),
}

/// The names that `--format` takes.
const NAMES: &[&str] = &[
    "table", "csv", "tsv", "json", "ndjson", "line", "markdown", "html", "parquet", "arrow", "null",
];

impl Format {
    /// The format of a name as `--format` takes it; `None` for `auto` and others.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "table" => Format::Table,
            "line" => Format::Line,
            "markdown" => Format::Markdown,
            "html" => Format::Html,
            "null" => Format::Null,
            other if NAMES.contains(&other) => Format::Data(WriteFormat::named(other).ok()?),
            _ => return None,
        })
    }

    /// CSV, for where no person looks.
    pub(crate) fn csv() -> Self {
        Format::Data(WriteFormat::Csv(CsvOptions::default()))
    }

    /// The names that `--format` takes.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().copied()
    }

    /// The format that the suffix of a file says, compression included.
    pub(crate) fn of_suffix(path: &Path) -> Option<Self> {
        Some(match path.extension()?.to_str()? {
            "txt" => Format::Table,
            "md" => Format::Markdown,
            "html" | "htm" => Format::Html,
            _ => Format::Data(WriteFormat::from_path(path.to_str()?)?),
        })
    }

    /// The same for the result of a statement: a plan is a drawing already and gets no box.
    pub(crate) fn of_result(self, verb: &str) -> Self {
        match (self, verb) {
            (Format::Table, "EXPLAIN") => Format::Plan,
            (format, _) => format,
        }
    }

    /// Whether an output can hold one result only.
    pub(crate) fn takes_one_result(&self) -> bool {
        matches!(
            self,
            Format::Data(WriteFormat::Parquet(_) | WriteFormat::Arrow(_))
        )
    }

    /// What is written between two results.
    pub(crate) fn separator(&self) -> &'static str {
        match self {
            Format::Line | Format::Markdown | Format::Data(WriteFormat::Csv(_)) => "\n",
            _ => "",
        }
    }
}

/// How results look, where a format leaves it open.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// Columns of the terminal that a table is fitted to; `None` shows every value in full.
    pub(crate) width: Option<usize>,
    /// Rows that a fitted table shows; 0 for all.
    pub(crate) max_rows: usize,
    /// How NULL is shown to people.
    pub(crate) null_text: String,
    /// Whether control sequences for colour may be written.
    pub(crate) color: bool,
}

impl Look {
    /// Everything in full and without colour, as in a file.
    pub(crate) fn full(settings: &Settings) -> Self {
        let text = |name| settings.get(name).unwrap_or_default();
        Self {
            width: None,
            max_rows: text("max_rows").parse().unwrap_or_default(),
            null_text: text("null_text"),
            color: false,
        }
    }
}

/// Writes one result.
pub(crate) trait Renderer {
    /// Writes what comes before the first row.
    fn begin(&mut self, out: &mut dyn Write) -> Result<(), RenderError>;
    /// Writes the rows of a batch, or keeps what is needed of them.
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), RenderError>;
    /// Writes what comes after the last row.
    fn finish(&mut self, out: &mut dyn Write) -> Result<(), RenderError>;
}

/// Renders one batch that is a whole result.
pub(crate) fn whole(
    batch: &RecordBatch,
    format: &Format,
    look: &Look,
    out: &mut dyn Write,
) -> Result<(), RenderError> {
    let mut renderer = renderer(format, &batch.schema(), look)?;
    renderer.begin(out)?;
    renderer.batch(batch, out)?;
    renderer.finish(out)
}

/// Makes the renderer of a format for rows of a schema.
pub(crate) fn renderer(
    format: &Format,
    schema: &SchemaRef,
    look: &Look,
) -> Result<Box<dyn Renderer>, RenderError> {
    Ok(match format {
        Format::Table => table::renderer(schema, look),
        Format::Line => Box::new(line::Line::new(schema, look)),
        Format::Markdown => Box::new(markdown::Markdown::new(schema, look)),
        Format::Html => Box::new(html::Html::new(schema, look)),
        Format::Null => Box::new(Null),
        Format::Plan => Box::new(plan::Plan),
        Format::Data(format) => Box::new(data::Data::new(format, schema, look)?),
    })
}

/// Why a result could not be rendered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    /// Writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A value has no form in the format.
    #[error("a value cannot be written in this format: {0}")]
    Arrow(#[from] ArrowError),
    /// A column or a value has no form in the format of a file.
    #[error(transparent)]
    Encode(#[from] tidegate::write::Error),
}

impl RenderError {
    /// The failure of writing to standard output.
    pub(crate) fn on_stdout(self) -> Failure {
        match self {
            RenderError::Io(error) => Failure::stdout(error),
            other => other.of_value(),
        }
    }

    /// The failure of writing to a file.
    pub(crate) fn on_file(self, path: &Path) -> Failure {
        match self {
            RenderError::Io(error) => {
                Failure::io(&format!("cannot write to `{}`", path.display()), error)
            }
            other => other.of_value(),
        }
    }

    fn of_value(self) -> Failure {
        Error::new(ErrorKind::Data, "unrenderable", self.to_string()).into()
    }
}

/// Renders nothing.
struct Null;

impl Renderer for Null {
    fn begin(&mut self, _: &mut dyn Write) -> Result<(), RenderError> {
        Ok(())
    }

    fn batch(&mut self, _: &RecordBatch, _: &mut dyn Write) -> Result<(), RenderError> {
        Ok(())
    }

    fn finish(&mut self, _: &mut dyn Write) -> Result<(), RenderError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
