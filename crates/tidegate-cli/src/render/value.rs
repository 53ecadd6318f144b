//! Values, types and names as people read them.

use std::borrow::Cow;
use std::fmt::{self, Write};

use tidegate::IntervalFormats;
use tidegate::arrow::array::{Array, RecordBatch};
use tidegate::arrow::datatypes::DataType;
use tidegate::arrow::error::ArrowError;
use tidegate::arrow::util::display::{ArrayFormatter, FormatOptions};

/// The columns of a batch, ready to be formatted value by value.
pub(super) struct Values<'a> {
    columns: Vec<(ArrayFormatter<'a>, &'a dyn Array)>,
}

/// A space between date and time, as SQL writes them. A NULL that is shown is inside of a list or struct.
const LOOK: FormatOptions<'static> = FormatOptions::new()
    .with_formatter_factory(Some(&IntervalFormats))
    .with_null("NULL")
    .with_datetime_format(Some("%Y-%m-%d %H:%M:%S%.f"))
    .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
    .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"));

impl<'a> Values<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        let columns = batch.columns().iter().map(|column| {
            let formatter = IntervalFormats::formatter(column.as_ref(), &LOOK)?;
            Ok((formatter, column.as_ref()))
        });
        Ok(Self {
            columns: columns.collect::<Result<_, ArrowError>>()?,
        })
    }

    /// Appends the text of a value, at most about `most` bytes of it; false for NULL.
    pub(super) fn write(
        &self,
        column: usize,
        row: usize,
        most: usize,
        text: &mut String,
    ) -> Result<bool, ArrowError> {
        let (formatter, array) = &self.columns[column];
        if array.is_null(row) || array.data_type() == &DataType::Null {
            return Ok(false);
        }
        let mut clipped = Clipped {
            room: most,
            full: false,
            text,
        };
        match formatter.value(row).write(&mut clipped) {
            Err(error) if !clipped.full => Err(error),
            _ => Ok(true),
        }
    }
}

/// Takes so much text and then refuses more, so that a value of a gigabyte costs nothing when
/// twenty characters of it are shown.
struct Clipped<'a> {
    room: usize,
    full: bool,
    text: &'a mut String,
}

impl Write for Clipped<'_> {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if more.len() <= self.room {
            self.text.push_str(more);
            self.room -= more.len();
            return Ok(());
        }
        let mut end = self.room;
        while !more.is_char_boundary(end) {
            end -= 1;
        }
        self.text.push_str(&more[..end]);
        (self.room, self.full) = (0, true);
        Err(fmt::Error)
    }
}

/// Text in which everything that would move the cursor or turn the reading direction is shown as
/// an escape.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_invisible) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if c.is_ascii_control() => {
                let _ = write!(shown, "\\x{:02x}", u32::from(c));
            }
            c if is_invisible(c) => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Lines of text for a terminal: as [`visible`] shows them, but for the ends of lines and tabs.
pub(super) fn tame(bytes: &[u8]) -> Cow<'_, [u8]> {
    let text = String::from_utf8_lossy(bytes);
    let stays = |c: char| matches!(c, '\n' | '\t');
    if !text.contains(|c| is_invisible(c) && !stays(c)) {
        return Cow::Borrowed(bytes);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match stays(c) {
            true => shown.push(c),
            false => shown.push_str(&visible(c.encode_utf8(&mut [0; 4]))),
        }
    }
    Cow::Owned(shown.into_bytes())
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Whether values stand at the right of their column.
pub(super) fn is_number(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_number(value),
        other => other.is_numeric(),
    }
}
