//! One `name = value` a line, an empty line between rows: for wide rows and narrow terminals.

use std::io::Write;

use tidegate::arrow::array::RecordBatch;
use tidegate::arrow::datatypes::SchemaRef;
use unicode_width::UnicodeWidthStr;

use super::value::{Values, visible};
use super::{Look, RenderError, Renderer};

/// Rows as paragraphs.
pub(super) struct Line {
    names: Vec<String>,
    null_text: String,
    first: bool,
}

impl Line {
    pub(super) fn new(schema: &SchemaRef, look: &Look) -> Self {
        let names: Vec<_> = schema.fields().iter().map(|f| visible(f.name())).collect();
        let widest = names.iter().map(|name| name.width()).max().unwrap_or(0);
        let padded = |name: &str| format!("{}{name}", " ".repeat(widest - name.width()));
        Self {
            names: names.iter().map(|name| padded(name)).collect(),
            null_text: look.null_text.clone(),
            first: true,
        }
    }
}

impl Renderer for Line {
    fn begin(&mut self, _: &mut dyn Write) -> Result<(), RenderError> {
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), RenderError> {
        let values = Values::new(batch)?;
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            if !self.first {
                writeln!(out)?;
            }
            self.first = false;
            for (column, name) in self.names.iter().enumerate() {
                text.clear();
                match values.write(column, row, usize::MAX, &mut text)? {
                    true => writeln!(out, "{name} = {}", visible(&text))?,
                    false => writeln!(out, "{name} = {}", self.null_text)?,
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut dyn Write) -> Result<(), RenderError> {
        Ok(())
    }
}
