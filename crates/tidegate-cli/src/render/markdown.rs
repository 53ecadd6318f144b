//! A table of GitHub's Markdown. Values cannot break out of their cell or turn into mark-up.

use std::io::Write;

use tidegate::arrow::array::RecordBatch;
use tidegate::arrow::datatypes::SchemaRef;

use super::value::{Values, is_number, visible};
use super::{Look, RenderError, Renderer};

/// A row a line, cells between bars.
pub(super) struct Markdown {
    schema: SchemaRef,
    null_text: String,
}

impl Markdown {
    pub(super) fn new(schema: &SchemaRef, look: &Look) -> Self {
        Self {
            schema: SchemaRef::clone(schema),
            null_text: look.null_text.clone(),
        }
    }
}

impl Renderer for Markdown {
    fn begin(&mut self, out: &mut dyn Write) -> Result<(), RenderError> {
        for field in self.schema.fields() {
            write!(out, "| {} ", escaped(field.name()))?;
        }
        writeln!(out, "|")?;
        for field in self.schema.fields() {
            let rule = match is_number(field.data_type()) {
                true => "---:",
                false => "---",
            };
            write!(out, "| {rule} ")?;
        }
        Ok(writeln!(out, "|")?)
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), RenderError> {
        let values = Values::new(batch)?;
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            for column in 0..batch.num_columns() {
                text.clear();
                match values.write(column, row, usize::MAX, &mut text)? {
                    true => write!(out, "| {} ", escaped(&text))?,
                    false => write!(out, "| {} ", escaped(&self.null_text))?,
                }
            }
            writeln!(out, "|")?;
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut dyn Write) -> Result<(), RenderError> {
        Ok(())
    }
}

fn escaped(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    let mut before = ' ';
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        let inside_word =
            before.is_alphanumeric() && letters.peek().is_some_and(|next| next.is_alphanumeric());
        match c {
            '\r' if letters.peek() == Some(&'\n') => {}
            '\n' | '\r' => cell.push_str("<br>"),
            '&' => cell.push_str("&amp;"),
            '<' => cell.push_str("&lt;"),
            '>' => cell.push_str("&gt;"),
            '_' if inside_word => cell.push(c),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => cell.extend(['\\', c]),
            c => cell.push_str(&visible(c.encode_utf8(&mut [0; 4]))),
        }
        before = c;
    }
    cell
}
