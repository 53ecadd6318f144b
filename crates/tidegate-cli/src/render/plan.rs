//! The lines of a plan as they are: no box, nothing cut or left out.

use std::io::Write;

use tidegate::arrow::array::RecordBatch;

use super::value::{Values, visible};
use super::{RenderError, Renderer};

/// The first column, line by line.
pub(super) struct Plan;

impl Renderer for Plan {
    fn begin(&mut self, _: &mut dyn Write) -> Result<(), RenderError> {
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), RenderError> {
        let values = Values::new(batch)?;
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            text.clear();
            values.write(0, row, usize::MAX, &mut text)?;
            for line in text.split('\n') {
                writeln!(out, "{}", visible(line))?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut dyn Write) -> Result<(), RenderError> {
        Ok(())
    }
}
