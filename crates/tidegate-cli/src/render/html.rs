//! A `<table>` to be put into a page: escaped, numbers to the right, NULL marked by its class.

use std::io::Write;

use tidegate::arrow::array::RecordBatch;
use tidegate::arrow::datatypes::SchemaRef;

use super::value::{Values, is_number, visible};
use super::{Look, RenderError, Renderer};

/// A row a line.
pub(super) struct Html {
    schema: SchemaRef,
    null_text: String,
}

impl Html {
    pub(super) fn new(schema: &SchemaRef, look: &Look) -> Self {
        Self {
            schema: SchemaRef::clone(schema),
            null_text: look.null_text.clone(),
        }
    }
}

impl Renderer for Html {
    fn begin(&mut self, out: &mut dyn Write) -> Result<(), RenderError> {
        write!(out, "<table>\n<thead>\n<tr>")?;
        for field in self.schema.fields() {
            write!(out, "<th>{}</th>", escaped(field.name()))?;
        }
        Ok(write!(out, "</tr>\n</thead>\n<tbody>\n")?)
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), RenderError> {
        let values = Values::new(batch)?;
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            write!(out, "<tr>")?;
            for (column, field) in self.schema.fields().iter().enumerate() {
                text.clear();
                let present = values.write(column, row, usize::MAX, &mut text)?;
                match (present, is_number(field.data_type())) {
                    (false, _) => {
                        write!(out, "<td class=\"null\">{}</td>", escaped(&self.null_text))?
                    }
                    (true, true) => write!(out, "<td align=\"right\">{}</td>", escaped(&text))?,
                    (true, false) => write!(out, "<td>{}</td>", escaped(&text))?,
                }
            }
            writeln!(out, "</tr>")?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), RenderError> {
        Ok(write!(out, "</tbody>\n</table>\n")?)
    }
}

fn escaped(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => cell.push_str("<br>"),
            '&' => cell.push_str("&amp;"),
            '<' => cell.push_str("&lt;"),
            '>' => cell.push_str("&gt;"),
            '"' => cell.push_str("&quot;"),
            c => cell.push_str(&visible(c.encode_utf8(&mut [0; 4]))),
        }
    }
    cell
}
