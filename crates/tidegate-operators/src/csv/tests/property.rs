//! Random files: in pieces as in one, as a plain reading of them, and never a panic, whatever the bytes.

use super::*;

/// Seed of the first case; case `n` has seed `SEED + n`, which a failure prints.
const SEED: u64 = 20_261_123;

/// A small generator of random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

const PIECES: [&str; 24] = [
    "a",
    "b",
    "x1",
    " ",
    "1",
    "-20",
    "007",
    "3.5",
    "",
    ",",
    "\"",
    "\"\"",
    "\n",
    "\r\n",
    "\r",
    "é",
    "漢字",
    "\\",
    "\0",
    "'",
    ";",
    "NA",
    "9223372036854775808",
    "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
];

/// Mostly records of `fields` fields, now and then anything.
fn document(random: &mut Random, fields: usize) -> String {
    let end = *random.pick(&["\n", "\r\n", "\r"]);
    let trouble = *random.pick(&[3, 20, 1000]);
    let mut text = String::new();
    for _ in 0..random.below(40) {
        if random.one_in(trouble) {
            (0..random.below(12)).for_each(|_| text.push_str(random.pick::<&str>(&PIECES)));
            continue;
        }
        let count = if random.one_in(trouble) {
            random.below(fields + 3)
        } else {
            fields
        };
        for field in 0..count {
            if field > 0 {
                text.push(',');
            }
            let value: String = (0..random.below(4))
                .map(|_| *random.pick(&PIECES))
                .collect();
            if random.one_in(3) || value.contains(['"', ',', '\n', '\r']) {
                text.push_str(&format!("\"{}\"", value.replace('"', "\"\"")));
            } else if random.one_in(2) {
                text.push_str(&random.below(5000).to_string());
            } else {
                text.push_str(&value);
            }
        }
        text.push_str(if random.one_in(trouble) {
            random.pick::<&str>(&["\n", "\r\n", "\r", ""])
        } else {
            end
        });
    }
    text
}

/// A record as a plain reading has it: fields and whether each was quoted, or none when its quotes are broken.
type Plain = Option<Vec<(String, bool)>>;

/// Reads one record, byte by byte, by the letter of the rules. None when a quote does not close.
fn plain_record(text: &[u8], mut at: usize) -> Option<(Plain, usize)> {
    let mut fields = Vec::new();
    let mut sound = true;
    loop {
        let (mut field, mut quoted) = (Vec::new(), false);
        if text.get(at) == Some(&b'"') {
            quoted = true;
            at += 1;
            loop {
                match (text.get(at)?, text.get(at + 1)) {
                    (b'"', Some(b'"')) => {
                        field.push(b'"');
                        at += 2;
                    }
                    (b'"', _) => break,
                    (byte, _) => {
                        field.push(*byte);
                        at += 1;
                    }
                }
            }
            at += 1;
            sound &= matches!(text.get(at), None | Some(b',' | b'\n' | b'\r'));
        }
        while let Some(byte) = text.get(at).filter(|byte| !b",\n\r".contains(byte)) {
            field.push(*byte);
            at += 1;
        }
        fields.push((String::from_utf8(field).unwrap(), quoted));
        match (text.get(at), text.get(at + 1)) {
            (Some(b','), _) => at += 1,
            (Some(b'\r'), Some(b'\n')) => return Some((sound.then_some(fields), at + 2)),
            (Some(_), _) => return Some((sound.then_some(fields), at + 1)),
            (None, _) => return Some((sound.then_some(fields), at)),
        }
    }
}

fn plain_value(kind: &DataType, (text, quoted): &(String, bool)) -> Result<Option<String>, ()> {
    if text.is_empty() && !quoted {
        return Ok(None);
    }
    if *kind == TEXT {
        return Ok(Some(text.clone()));
    }
    let text = text.trim_matches([' ', '\t']);
    let digits = text.strip_prefix('-').unwrap_or(text);
    let code = text.starts_with('+') || (digits.len() > 1 && digits.starts_with('0'));
    match text.parse::<i64>() {
        Ok(value) if !code => Ok(Some(value.to_string())),
        _ => Err(()),
    }
}

/// What a file holds, by the letter: the rows that can be read, and how many cannot. A record over several lines whose
/// quotes or number of fields are wrong, or whose lines all look like records, is none: its lines are looked at one by
/// one. The last value says whether there was one that only looked so.
fn plain(text: &[u8], kinds: &[DataType]) -> (Vec<Vec<Option<String>>>, usize, bool) {
    let mut doubtful = false;
    let (mut rows, mut rejected, mut at, mut judged_to) = (Vec::new(), 0, 0, 0);
    while at < text.len() {
        let line_end = text[at..]
            .iter()
            .position(|byte| b"\n\r".contains(byte))
            .map_or(text.len(), |end| at + end);
        let next_line = match (text.get(line_end), text.get(line_end + 1)) {
            (Some(b'\r'), Some(b'\n')) => line_end + 2,
            _ => line_end + 1,
        };
        if line_end == at && kinds.len() != 1 {
            at = next_line;
            continue;
        }
        let alone = at < judged_to;
        let seen = if alone { &text[..line_end] } else { text };
        let Some((record, next)) = plain_record(seen, at) else {
            rejected += 1;
            at = next_line;
            continue;
        };
        let stray = |(field, quoted): &(String, bool)| !quoted && field.contains('"');
        let record = record
            .filter(|fields| fields.len() == kinds.len() && !(alone && fields.iter().any(stray)));
        let no_pair = record.is_none() || are_records(&text[at..next], kinds.len() - 1);
        if !alone && no_pair && next > next_line {
            doubtful |= record.is_some();
            judged_to = next;
            continue;
        }
        at = if alone { next_line } else { next };
        let values = record.and_then(|fields| {
            kinds
                .iter()
                .zip(&fields)
                .map(|(kind, field)| plain_value(kind, field).ok())
                .collect::<Option<Vec<_>>>()
        });
        match values {
            Some(values) => rows.push(values),
            None => rejected += 1,
        }
    }
    (rows, rejected, doubtful)
}

fn are_records(record: &[u8], delimiters: usize) -> bool {
    let record = String::from_utf8_lossy(record)
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let record = record.strip_suffix('\n').unwrap_or(&record);
    let lines: Vec<&str> = record.split('\n').collect();
    lines.len() >= 3
        && lines.len() * delimiters >= 8
        && lines
            .iter()
            .all(|line| line.matches(',').count() == delimiters)
}

#[test]
fn random_files_are_read_as_by_the_letter_whatever_the_pieces() {
    for case in 0..4000 {
        let seed = SEED + case;
        let random = &mut Random(seed);
        let kinds: Vec<DataType> = (0..1 + random.below(4))
            .map(|_| random.pick(&[TEXT, TEXT, INT]).clone())
            .collect();
        let text = document(random, kinds.len());
        let reading = Reading::of(&kinds).skipping();
        let whole = reading.read(text.as_bytes()).unwrap();
        let (rows, rejected, doubtful) = plain(text.as_bytes(), &kinds);
        assert_eq!(whole.rows, rows, "seed {seed}: {text:?}");
        assert_eq!(
            whole.rejects.len(),
            rejected,
            "seed {seed}: {text:?} {:?}",
            whole.rejects
        );
        for _ in 0..3 {
            let piece = 1 + random.below(150);
            let batch_rows = 1 + random.below(20);
            let pieces = Reading {
                piece,
                batch_rows,
                ..reading.clone()
            }
            .read(text.as_bytes())
            .unwrap();
            assert_eq!(pieces, whole, "seed {seed} in pieces of {piece}: {text:?}");
        }
        // Without leniency a file is read in full or not at all.
        let strict = Reading {
            piece: 1 + random.below(150),
            ..Reading::of(&kinds)
        }
        .read(text.as_bytes());
        match strict {
            Ok(_) if doubtful => {}
            Ok(read) => assert_eq!((&read.rows, rejected), (&rows, 0), "seed {seed}: {text:?}"),
            Err(error) => assert!(rejected > 0, "seed {seed}: {text:?}: {error}"),
        }
    }
}

#[test]
fn random_bytes_and_dialects_never_panic_and_pieces_do_not_matter() {
    const BYTES: &[u8] = b"a1,;\"'\\#\n\r\0 .-\xc3\xa9\xff:eTZ+0";
    for case in 0..4000 {
        let seed = SEED + 1_000_000 + case;
        let random = &mut Random(seed);
        let length = random.below(400);
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                if random.one_in(30) {
                    random.next() as u8
                } else {
                    *random.pick(BYTES)
                }
            })
            .collect();
        let kinds: Vec<DataType> = (0..1 + random.below(3)).map(|_| any_kind(random)).collect();
        let reading = Reading {
            dialect: any_dialect(random),
            batch_rows: 1 + random.below(50),
            ..Reading::of(&kinds)
        };
        let whole = reading.read(&bytes);
        for _ in 0..3 {
            let piece = 1 + random.below(100);
            let pieces = Reading {
                piece,
                ..reading.clone()
            }
            .read(&bytes);
            assert_eq!(
                pieces,
                whole,
                "seed {seed} in pieces of {piece}: {:?} {:?}",
                String::from_utf8_lossy(&bytes),
                reading.dialect
            );
        }
        if let Ok(read) = whole {
            assert_eq!(
                read.records,
                (read.rows.len() + read.rejects.len()) as u64,
                "seed {seed}"
            );
        }
    }
}

fn any_kind(random: &mut Random) -> DataType {
    use arrow::datatypes::TimeUnit::Microsecond;
    let stamp = DataType::Timestamp(Microsecond, Some("+00:00".into()));
    let kinds = [
        TEXT,
        INT,
        DataType::Utf8,
        DataType::Float64,
        DataType::Decimal128(9, 2),
        DataType::Date32,
        stamp,
        DataType::Boolean,
    ];
    random.pick(&kinds).clone()
}

fn any_dialect(random: &mut Random) -> Dialect {
    let quote = *random.pick(&[Some(b'"'), Some(b'"'), Some(b'\''), None]);
    Dialect {
        header: false,
        delimiter: *random.pick(b",,;"),
        quote,
        escape: if random.one_in(3) {
            quote.map(|_| b'\\')
        } else {
            quote
        },
        comment: *random.pick(&[None, None, Some(b'#')]),
        null_padding: random.one_in(3),
        on_error: *random.pick(&[OnError::Skip, OnError::Skip, OnError::Fail]),
        max_line_bytes: *random.pick(&[5, 30, 1000]),
        ..Dialect::default()
    }
}

#[test]
fn what_is_sniffed_can_be_read() {
    let mut read = 0;
    for case in 0..3000 {
        let seed = SEED + 2_000_000 + case;
        let random = &mut Random(seed);
        let columns = 1 + random.below(4);
        let text = document(random, columns);
        let Ok(found) = sniff(text.as_bytes(), true, &Options::default(), "t.csv") else {
            continue;
        };
        let reading = Reading {
            dialect: Dialect {
                on_error: OnError::Skip,
                ..found.dialect
            },
            ..Reading::of(
                &found
                    .fields
                    .iter()
                    .map(|field| match field.data_type() {
                        DataType::Null => TEXT,
                        kind => kind.clone(),
                    })
                    .collect::<Vec<_>>(),
            )
        };
        if found.fields.is_empty() {
            continue;
        }
        let result = reading.read(text.as_bytes()).unwrap();
        let cast = result
            .rejects
            .iter()
            .find(|reject| !reject.contains("field") && !reject.contains("quote"));
        assert_eq!(cast, None, "seed {seed}: {text:?}");
        read += 1;
    }
    assert!(read > 1000, "only {read} files made sense");
}
