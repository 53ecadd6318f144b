//! CSV files as streams of batches.

use std::io::{self, Read};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field};
use datafusion::error::{DataFusionError, Result};

use super::ScanLimits;
use super::flow::{self, Decode, Decoding, Start, Wrap};
use super::names::places;
use super::opener::{BatchStream, Opening};
use super::project::ROW_COLUMN;
use super::text::{Alone, At, Blocks, Content, Cut, Piece, SharedFile, TextLimits};
use crate::csv::{
    self, Column, Decoder, Dialect, Encoding, Header, Kind, OnError, Origin, Plan, Position,
    Sniffed, Splitter, Survey, Transcoder,
};
use crate::input::{Compression, Error, InputFile, Place, Reader};
use crate::rejects::RejectLog;

/// The header of a file that is read from several places lies in so many bytes; else one stream reads it.
const HEAD_BYTES: u64 = 256 << 10;

/// Records are as long as the splitter allows; it has its own limit.
const RECORD_BYTES_MAX: u64 = u64::MAX / 4;

/// Bytes converted to UTF-8 at a time.
const TRANSCODE_BYTES: usize = 64 << 10;

pub(super) async fn open(
    opening: &Opening,
    dialect: &Dialect,
    said: &[String],
) -> Result<BatchStream> {
    let name = opening.input.name();
    let limits = flow::limits(opening, RECORD_BYTES_MAX);
    // Behind the transcoder everything is UTF-8.
    let utf8 = Arc::new(Dialect {
        encoding: Encoding::Utf8,
        ..dialect.clone()
    });
    if let Some(range) = &opening.range {
        let make = || SharedFile::new(opening.input.clone(), limits);
        let file = opening.source.shared.get(&opening.input, make);
        let head = file.head(HEAD_BYTES).await?;
        let whole = head.len() as u64 == opening.input.meta.size;
        let plain =
            Compression::of(&head) == Compression::None && dialect.encoding == Encoding::Utf8;
        if plain && let Some(header) = header(&head, whole, &utf8, name)? {
            file.start(|| Ok(cutter(opening, &utf8, &header))).await?;
            let decoder = decoder(opening, &utf8, said, &header)?;
            return flow::shared(Blocks::new(file, range), Decoding::new(decoder, name));
        }
        if range.start > 0 {
            // Whoever has the first range reads the whole file.
            return flow::nothing();
        }
    }
    let said = said.to_vec();
    let wrap = wrap(dialect.encoding, name);
    flow::alone(opening, limits, wrap, move |opening, head, whole| {
        let Some(header) = header(head, whole, &utf8, opening.input.name())? else {
            return Ok(None);
        };
        let cutter = cutter(opening, &utf8, &header);
        let decoder = decoder(opening, &utf8, &said, &header)?;
        Ok(Some(Start { cutter, decoder }))
    })
}

/// The columns of a CSV file by all of its records: `sniffed` knows only its head. Blocks.
pub fn survey(file: &InputFile, sniffed: &Sniffed) -> std::result::Result<Vec<Field>, Error> {
    let name = file.name();
    let utf8 = Arc::new(Dialect {
        encoding: Encoding::Utf8,
        on_error: OnError::Skip,
        ..sniffed.dialect.clone()
    });
    let reader = file.open()?;
    let mut content = Content::Stream(match wrap(sniffed.dialect.encoding, name) {
        Some(wrap) => wrap(reader),
        None => Box::new(reader),
    });
    let limits = TextLimits {
        chunk_bytes: ScanLimits::default().chunk_bytes,
        record_bytes_max: RECORD_BYTES_MAX,
        kept_bytes_max: 0,
    };
    let mut head = Vec::new();
    let whole = content.append(name, sniffed.at.offset + limits.chunk_bytes, &mut head)?;
    let first = usize::try_from(sniffed.at.offset).unwrap_or(usize::MAX);
    head.drain(..first.min(head.len()));
    let cutter = Box::new(CsvCut {
        splitter: Splitter::new(
            Arc::clone(&utf8),
            sniffed.fields.len(),
            Arc::clone(name),
            sniffed.at,
        ),
        on_error: OnError::Skip,
        rejects: None,
    });
    let mut survey = Survey::new(sniffed, &utf8);
    let mut blocks = Alone::new((head, whole), content, cutter, name, limits);
    loop {
        match blocks.next() {
            Ok(Some(block)) => block.records().for_each(|(bytes, _)| survey.add(bytes)),
            Ok(None) => return Ok(survey.finish()),
            Err(error) => return Err(Error::of(name, error)),
        }
    }
}

/// The head of a file, or none if more of it must be seen.
fn header(head: &[u8], whole: bool, dialect: &Dialect, name: &Arc<str>) -> Result<Option<Header>> {
    match csv::header(head, whole, dialect, name) {
        Ok(header) => Ok(Some(header)),
        Err(error) if error.kind == Kind::TooLong && !whole => Ok(None),
        Err(error) => Err(foreign(error)),
    }
}

fn foreign(error: csv::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn cutter(opening: &Opening, dialect: &Arc<Dialect>, header: &Header) -> Box<dyn Cut> {
    let file = Arc::clone(opening.input.name());
    Box::new(CsvCut {
        splitter: Splitter::new(Arc::clone(dialect), header.names.len(), file, header.at),
        on_error: dialect.on_error,
        rejects: opening.source.access.rejects.clone(),
    })
}

struct CsvCut {
    splitter: Splitter,
    on_error: OnError,
    rejects: Option<Arc<RejectLog>>,
}

impl Cut for CsvCut {
    fn cut(&mut self, data: &mut [u8], at_end: bool, pieces: &mut Vec<Piece>) -> Result<usize> {
        let mut done = 0;
        loop {
            match self.splitter.cut(&data[done..], at_end) {
                csv::Cut::More => return Ok(done),
                csv::Cut::Records { end, at } => {
                    let Position { offset, line, row } = at;
                    pieces.push(Piece {
                        range: done..done + end,
                        at: At { offset, line, row },
                    });
                    done += end;
                }
                csv::Cut::Broken { end, error } => {
                    if self.on_error == OnError::Fail {
                        return Err(foreign(error));
                    }
                    if let Some(rejects) = &self.rejects {
                        rejects.push(error.into_reject());
                    }
                    done += end;
                }
                csv::Cut::Drop { end } => done += end,
            }
        }
    }

    fn at(&self) -> At {
        let Position { offset, line, row } = self.splitter.position();
        At { offset, line, row }
    }
}

fn decoder(
    opening: &Opening,
    dialect: &Arc<Dialect>,
    said: &[String],
    header: &Header,
) -> Result<Box<dyn Decode>> {
    let source = &opening.source;
    let fields = source.table.file_schema().fields();
    let places = places(
        header.names.iter().map(String::as_str),
        fields.iter().map(|field| field.name().as_str()),
    );
    let column = |(field, place): (&Arc<Field>, Option<usize>)| Column {
        from: place.map_or(Origin::Missing, Origin::Field),
        field: Arc::clone(field),
        inferred: !said
            .iter()
            .any(|name| name.to_lowercase() == field.name().to_lowercase()),
    };
    let mut columns: Vec<Column> = fields.iter().zip(places).map(column).collect();
    let mut projection = source.scan.columns.clone();
    if source.scan.rows {
        projection.push(columns.len());
        let field = Arc::new(Field::new(ROW_COLUMN, DataType::Int64, true));
        columns.push(Column {
            from: Origin::Row,
            field,
            inferred: false,
        });
    }
    let decoder = Decoder::new(Plan {
        dialect: Arc::clone(dialect),
        file: Arc::clone(opening.input.name()),
        fields: header.names.len(),
        columns,
        projection,
        batch_rows: source.batch_rows,
    })
    .map_err(foreign)?;
    Ok(Box::new(CsvDecode {
        decoder,
        rejects: source.access.rejects.clone(),
    }))
}

struct CsvDecode {
    decoder: Decoder,
    rejects: Option<Arc<RejectLog>>,
}

impl Decode for CsvDecode {
    fn decode(&mut self, bytes: &[u8], at: At) -> Result<Vec<RecordBatch>> {
        let at = Position {
            offset: at.offset,
            line: at.line,
            row: at.row,
        };
        self.decoder
            .decode(bytes, at, self.rejects.as_deref())
            .map_err(foreign)
    }

    fn finish(&mut self) -> Result<Option<RecordBatch>> {
        self.decoder.finish().map_err(foreign)
    }
}

fn wrap(encoding: Encoding, name: &Arc<str>) -> Option<Wrap> {
    if encoding == Encoding::Utf8 {
        return None;
    }
    let transcoder = Transcoder::new(encoding, Arc::clone(name));
    let name = Arc::clone(name);
    Some(Box::new(move |reader| {
        Box::new(Transcoded {
            reader,
            transcoder,
            name,
            text: Vec::new(),
            next: 0,
            done: false,
        })
    }))
}

/// A file's content as UTF-8.
struct Transcoded {
    reader: Reader,
    transcoder: Transcoder,
    name: Arc<str>,
    text: Vec<u8>,
    next: usize,
    done: bool,
}

impl Read for Transcoded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.next == self.text.len() && !self.done {
            self.text.clear();
            self.next = 0;
            let mut raw = vec![0; TRANSCODE_BYTES];
            let read = self.reader.read(&mut raw)?;
            self.done = read == 0;
            self.transcoder
                .push(&raw[..read], self.done, &mut self.text)
                .map_err(|error| Error::damaged(&self.name, Place::File, error.reason).into_io())?;
        }
        let read = buffer.len().min(self.text.len() - self.next);
        buffer[..read].copy_from_slice(&self.text[self.next..self.next + read]);
        self.next += read;
        Ok(read)
    }
}
