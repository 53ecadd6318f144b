//! JSON files as streams of batches.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::Result;

use super::flow::{self, Decode, Decoding, Start};
use super::opener::{BatchStream, Opening};
use super::text::{At, Blocks, SharedFile};
use crate::input::Compression;
use crate::json::cut::cutter;
use crate::json::{JsonDecoder, JsonOptions, JsonPlan, Layout};

/// The layout is told by so many bytes at most.
const HEAD_BYTES: u64 = 64 << 10;

pub(super) async fn open(opening: &Opening, options: &JsonOptions) -> Result<BatchStream> {
    let name = opening.input.name();
    let limits = flow::limits(opening, options.record_bytes_max);
    if let Some(range) = &opening.range {
        let make = || SharedFile::new(opening.input.clone(), limits);
        let file = opening.source.shared.get(&opening.input, make);
        let head = file.head(HEAD_BYTES).await?;
        let plain = Compression::of(&head) == Compression::None;
        if plain && Layout::of(&head) == Layout::Lines {
            file.start(|| Ok(cutter(Layout::Lines, name))).await?;
            let decoder = decoder(opening, options, Layout::Lines)?;
            return flow::shared(Blocks::new(file, range), Decoding::new(decoder, name));
        }
        if range.start > 0 {
            // Whoever has the first range reads the whole file.
            return flow::nothing();
        }
    }
    let options = options.clone();
    flow::alone(opening, limits, None, move |opening, head, _| {
        let layout = Layout::of(head);
        let cutter = cutter(layout, opening.input.name());
        Ok(Some(Start {
            cutter,
            decoder: decoder(opening, &options, layout)?,
        }))
    })
}

fn decoder(opening: &Opening, options: &JsonOptions, layout: Layout) -> Result<Box<dyn Decode>> {
    let source = &opening.source;
    let plan = JsonPlan {
        layout,
        options: options.clone(),
        schema: Arc::clone(&source.scan.read_schema),
        table: source.table.file_schema().fields().clone(),
        columns: source.scan.columns.clone(),
        elsewhere: source.table.table_partition_cols().to_vec(),
        rows: source.scan.rows,
        batch_rows: source.batch_rows,
        rejects: source.access.rejects.clone(),
    };
    Ok(Box::new(JsonDecoder::new(opening.input.name(), plan)?))
}

impl Decode for JsonDecoder {
    fn decode(&mut self, bytes: &[u8], at: At) -> Result<Vec<RecordBatch>> {
        self.decode_records(bytes, at)
    }
}
