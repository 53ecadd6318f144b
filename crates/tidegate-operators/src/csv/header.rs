//! The head of a file: byte order mark, lines to skip, the names of its columns, and where its records start.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use super::record::{self, RawField, Record, State};
use super::{Dialect, Encoding, Error, Kind, Position, Transcoder};

/// What the head of one file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The columns of this file in its order, made unique.
    pub names: Vec<String>,
    /// Where the first record after the head starts, in bytes of UTF-8.
    pub at: Position,
    /// What was made of empty and repeated names.
    pub notices: Vec<String>,
}

/// Reads the head of a file whose dialect is known: `head` are its first bytes, `whole` says that it has no others.
///
/// # Errors
/// The header does not end within `head`, or its bytes are not of the encoding.
pub fn header(head: &[u8], whole: bool, dialect: &Dialect, file: &str) -> Result<Header, Error> {
    let file: Arc<str> = file.into();
    let text = to_utf8(head, whole, dialect.encoding, &file)?;
    let begin = begin(&text, whole, dialect, &file)?;
    if !dialect.header {
        // Whether the first record is sound is for its readers to find out.
        let count = match first_record(&text, whole, begin, dialect, &file) {
            Ok((_, Some(record))) => record.fields.len(),
            _ => 0,
        };
        let mut names = dialect.column_names.clone();
        names.extend((names.len()..count).map(|index| format!("column{index}")));
        return Ok(Header {
            names,
            at: begin,
            notices: Vec::new(),
        });
    }
    let (at, record) = first_record(&text, whole, begin, dialect, &file)?;
    let Some(record) = record else {
        return Ok(Header {
            names: Vec::new(),
            at,
            notices: Vec::new(),
        });
    };
    let mut written = names(&text, at.line, &record, dialect, &file)?;
    if dialect.null_padding {
        written.extend(dialect.column_names.iter().skip(written.len()).cloned());
    }
    let written = renamed(written, &dialect.given_names, &file)?;
    let (names, notices) = unique(written, &file);
    Ok(Header {
        names,
        at: after(&text, at, &record),
        notices,
    })
}

/// The names that the first record holds, as they stand there.
pub(super) fn names(
    text: &[u8],
    line: u64,
    record: &Record,
    dialect: &Dialect,
    file: &Arc<str>,
) -> Result<Vec<String>, Error> {
    if let Err(error) = std::str::from_utf8(&text[record.text.clone()]) {
        let bad = record.text.start + error.valid_up_to();
        let reason = format!("the byte 0x{:02x} at offset {bad} is not UTF-8", text[bad]);
        return Err(Error::new(Kind::Encoding, file, reason)
            .at(line, &text[record.text.clone()])
            .hint("encoding='latin1' or 'utf-16' converts"));
    }
    let name = |field: &RawField| field.text(text, dialect).into_owned();
    Ok(record.fields.iter().map(name).collect())
}

/// The names with the given ones for the first of them.
pub(super) fn renamed(
    mut names: Vec<String>,
    given: &[String],
    file: &Arc<str>,
) -> Result<Vec<String>, Error> {
    let (count, there) = (given.len(), names.len());
    if count > there {
        let fields = if there == 1 { "field" } else { "fields" };
        let reason = format!("{count} names are given for {there} {fields}");
        return Err(Error::option(file, reason));
    }
    names.splice(..count, given.iter().cloned());
    Ok(names)
}

/// The first bytes of a file in UTF-8, without its byte order mark.
pub(super) fn to_utf8<'a>(
    head: &'a [u8],
    whole: bool,
    encoding: Encoding,
    file: &Arc<str>,
) -> Result<Cow<'a, [u8]>, Error> {
    if encoding == Encoding::Utf8 {
        return Ok(Cow::Borrowed(head));
    }
    let mut text = Vec::new();
    Transcoder::new(encoding, Arc::clone(file)).push(head, whole, &mut text)?;
    Ok(Cow::Owned(text))
}

/// The position after a record that stands at `at`, which the records' numbers do not count.
pub(super) fn after(text: &[u8], at: Position, record: &Record) -> Position {
    Position {
        offset: record.next as u64,
        line: at.line + record::count_lines(&text[at.offset as usize..record.next]),
        row: 0,
    }
}

/// Where the file begins, past the byte order mark and skipped lines.
pub(super) fn begin(
    text: &[u8],
    whole: bool,
    dialect: &Dialect,
    file: &Arc<str>,
) -> Result<Position, Error> {
    let mark = text.starts_with(b"\xef\xbb\xbf");
    let mut at = if mark { 3 } else { 0 };
    let mut line = 1;
    for _ in 0..dialect.skip {
        let Some(end) = memchr::memchr2(b'\n', b'\r', &text[at..]) else {
            if whole {
                at = text.len();
                break;
            }
            return Err(endless(line, file));
        };
        let half = text[at + end] == b'\r' && text.get(at + end + 1) == Some(&b'\n');
        at += end + 1 + usize::from(half);
        line += 1;
    }
    Ok(Position {
        offset: at as u64,
        line,
        row: 0,
    })
}

/// The first record from `begin` on, past blank lines and comments, and where it stands.
pub(super) fn first_record(
    text: &[u8],
    whole: bool,
    begin: Position,
    dialect: &Dialect,
    file: &Arc<str>,
) -> Result<(Position, Option<Record>), Error> {
    let (mut at, mut line) = (begin.offset as usize, begin.line);
    while at < text.len() {
        let position = Position {
            offset: at as u64,
            line,
            row: 0,
        };
        let record = record::read(text, at, dialect);
        if let State::Blank | State::Comment = record.state {
            line += record::count_lines(&text[at..record.next]);
            at = record.next;
            continue;
        }
        let fields = record.fields.len();
        if fields > Dialect::FIELDS_LIMIT {
            let limit = Dialect::FIELDS_LIMIT;
            let reason =
                format!("the first record has {fields} fields, more than the {limit} there may be");
            return Err(Error::new(Kind::Unsure, file, reason).at(line, b""));
        }
        let complete = whole || record.next < text.len() || text.ends_with(b"\n");
        return match record.state {
            State::Unterminated { .. } if whole => Err(Error::new(
                Kind::Quote,
                file,
                "the quote that opens in the first record never closes",
            )
            .at(line, &text[record.text])
            .hint("say quote='' if quotes mean nothing")),
            _ if complete && !matches!(record.state, State::Unterminated { .. }) => {
                Ok((position, Some(record)))
            }
            _ => Err(endless(line, file)),
        };
    }
    if !whole && !text.is_empty() {
        return Err(endless(line, file));
    }
    Ok((
        Position {
            offset: text.len() as u64,
            line,
            row: 0,
        },
        None,
    ))
}

fn endless(line: u64, file: &Arc<str>) -> Error {
    Error::new(
        Kind::TooLong,
        file,
        "the first record does not end within the bytes looked at",
    )
    .at(line, b"")
    .hint("delim, quote or encoding may be other than assumed")
}

/// Gives empty names their place and repeated ones a number, and says so.
pub(super) fn unique(names: Vec<String>, file: &Arc<str>) -> (Vec<String>, Vec<String>) {
    let mut taken: HashSet<String> = HashSet::new();
    let mut notices = Vec::new();
    let originals: HashSet<String> = names
        .iter()
        .map(|name| name.trim().to_lowercase())
        .collect();
    let mut unique = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        let trimmed = name.trim();
        let base = if trimmed.is_empty() {
            format!("column{index}")
        } else {
            trimmed.to_owned()
        };
        let mut name = base.clone();
        let mut number = 0;
        // A made-up name must not be one the file gives to another column.
        while taken.contains(&name.to_lowercase())
            || (name != trimmed && originals.contains(&name.to_lowercase()))
        {
            number += 1;
            name = format!("{base}_{number}");
        }
        if trimmed.is_empty() {
            notices.push(format!(
                "`{file}`: column {} has no name and is called `{name}`",
                index + 1
            ));
        } else if name != trimmed {
            notices.push(format!(
                "`{file}`: column {} repeats the name `{trimmed}` and is called `{name}`",
                index + 1
            ));
        }
        taken.insert(name.to_lowercase());
        unique.push(name);
    }
    (unique, notices)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Options, sniff};
    use super::*;

    #[test]
    fn names_become_unique_and_it_is_said() {
        let check = |names: &[&str], expect: &[&str], said: usize| {
            let names = names.iter().map(|&name| name.to_owned()).collect();
            let (unique, notices) = unique(names, &"a.csv".into());
            assert_eq!(unique, expect);
            assert_eq!(notices.len(), said, "{notices:?}");
        };
        check(&["a", "b"], &["a", "b"], 0);
        check(&["a", "a", "a"], &["a", "a_1", "a_2"], 2);
        check(&["a", "A"], &["a", "A_1"], 1);
        check(&["a", "a", "a_1"], &["a", "a_2", "a_1"], 1);
        check(&["", "x", ""], &["column0", "x", "column2"], 2);
        check(&["", "column0"], &["column0_1", "column0"], 1);
        check(&[" a "], &["a"], 0);
    }

    #[test]
    fn the_head_says_where_records_start() {
        let check = |text: &str, dialect: Dialect, names: &[&str], offset: u64, line: u64| {
            let found = header(text.as_bytes(), true, &dialect, "a.csv").unwrap();
            assert_eq!(found.names, names, "{text:?}");
            assert_eq!(
                found.at,
                Position {
                    offset,
                    line,
                    row: 0
                },
                "{text:?}"
            );
        };
        let usual = Dialect::default;
        check("a,b\n1,2\n", usual(), &["a", "b"], 4, 2);
        check("\u{feff}a,b\r\n1,2\r\n", usual(), &["a", "b"], 8, 2);
        check("\n\na,\"b\nc\"\n", usual(), &["a", "b\nc"], 10, 5);
        check("a", usual(), &["a"], 1, 1);
        check("", usual(), &[], 0, 1);
        check(
            "1,2\n",
            Dialect {
                header: false,
                ..usual()
            },
            &["column0", "column1"],
            0,
            1,
        );
        check("x\ry\ra\rb\r", Dialect { skip: 2, ..usual() }, &["a"], 6, 4);
        check(
            "#x\na\n",
            Dialect {
                comment: Some(b'#'),
                ..usual()
            },
            &["a"],
            5,
            3,
        );
        check("x", Dialect { skip: 5, ..usual() }, &[], 1, 1);
    }

    #[test]
    fn names_that_were_given_hold_in_every_file() {
        let check = |dialect: &Dialect, text: &str, expect: &[&str]| {
            let found = header(text.as_bytes(), true, dialect, "b.csv").unwrap();
            assert_eq!(found.names, expect, "{text:?}");
        };
        let said = Options {
            names: Some(vec!["x".into()]),
            null_padding: Some(true),
            ..Options::default()
        };
        let first = sniff(b"a,b\n1,2,3\n4,5\n", true, &said, "a.csv").unwrap();
        assert_eq!(first.dialect.column_names, ["x", "b", "column2"]);
        check(&first.dialect, "a,b\n1,2,3\n", &["x", "b", "column2"]);
        check(&first.dialect, "c,d,e\n1,2\n", &["x", "d", "e"]);
        let bare = Dialect {
            header: false,
            ..first.dialect
        };
        check(&bare, "7,8,9,10\n", &["x", "b", "column2", "column3"]);
    }

    #[test]
    fn a_header_that_does_not_end_is_an_error() {
        let error = header(b"a,b", false, &Dialect::default(), "a.csv").unwrap_err();
        assert_eq!(error.kind, Kind::TooLong);
        let wide = ",".repeat(Dialect::FIELDS_LIMIT);
        let error = header(wide.as_bytes(), true, &Dialect::default(), "a.csv").unwrap_err();
        assert_eq!(
            error.reason,
            "the first record has 65537 fields, more than the 65536 there may be"
        );
        let error = header(b"a,\xe4\n", true, &Dialect::default(), "a.csv").unwrap_err();
        assert_eq!(error.reason, "the byte 0xe4 at offset 2 is not UTF-8");
        let error = header(b"a,\"b\n", true, &Dialect::default(), "a.csv").unwrap_err();
        assert_eq!(error.kind, Kind::Quote);
    }
}
