//! Tables of what files are read as.

use arrow::datatypes::TimeUnit;

use super::*;

/// Rows as `a|b`, NULL as `∅`, one after another with `/`.
fn shown(read: &Read) -> String {
    let row = |row: &Vec<Option<String>>| {
        row.iter()
            .map(|cell| cell.clone().unwrap_or("∅".into()))
            .collect::<Vec<_>>()
            .join("|")
    };
    read.rows.iter().map(row).collect::<Vec<_>>().join("/")
}

/// Reads in one piece and in pieces of every size; all must agree.
fn check_with(reading: &Reading, input: &str, expect: &str) {
    for piece in [usize::MAX, 1, 2, 3, 5, 7, 64] {
        let reading = Reading {
            piece,
            ..reading.clone()
        };
        match reading.read(input.as_bytes()) {
            Ok(read) => {
                let rejects = if read.rejects.is_empty() {
                    String::new()
                } else {
                    format!(" # {}", read.rejects.join(" # "))
                };
                assert_eq!(
                    shown(&read) + &rejects,
                    expect,
                    "{input:?} in pieces of {piece}"
                );
            }
            Err(error) => assert_eq!(error.to_string(), expect, "{input:?} in pieces of {piece}"),
        }
    }
}

fn check(kinds: &[DataType], input: &str, expect: &str) {
    check_with(&Reading::of(kinds), input, expect);
}

#[test]
fn records_end_where_they_should() {
    check(&[TEXT, TEXT], "a,b\nc,d\n", "a|b/c|d");
    check(&[TEXT, TEXT], "a,b\nc,d", "a|b/c|d");
    check(&[TEXT, TEXT], "a,b\r\nc,d\r\n", "a|b/c|d");
    check(&[TEXT, TEXT], "a,b\rc,d\r", "a|b/c|d");
    check(&[TEXT, TEXT], "\n\na,b\n\r\n\nc,d\n\n", "a|b/c|d");
    check(&[TEXT, TEXT], "", "");
    check(&[TEXT, TEXT], "\n", "");
    check(&[TEXT, TEXT], "\"a\nb\",\"c\r\nd\"\ne,f", "a\nb|c\r\nd/e|f");
    check(&[TEXT], "a\n\nb\n", "a/∅/b");
    check(&[TEXT], "a\r\n\r\nb", "a/∅/b");
    check(&[TEXT], "a\0b\n", "a\0b");
    check(&[TEXT, TEXT], ",\n,\n", "∅|∅/∅|∅");
}

#[test]
fn quotes_mean_something_at_the_start_of_a_field_only() {
    check(&[TEXT, TEXT], "\"a,b\",c\n", "a,b|c");
    check(&[TEXT, TEXT], "\"a\"\"b\",\"\"\"\"\n", "a\"b|\"");
    check(&[TEXT, TEXT], "a\"b,c\"\n", "a\"b|c\"");
    check(
        &[TEXT, TEXT],
        "5\" pipe,6\"\" hose\n",
        "5\" pipe|6\"\" hose",
    );
    check(&[TEXT, TEXT], "\"\",\n", "|∅");
    check(&[TEXT, TEXT], " \"a\", b\n", " \"a\"| b");
    let long = format!("\"{}\"\"{}\",x\n", "y".repeat(63), "z\n".repeat(100));
    check(
        &[TEXT, TEXT],
        &long,
        &format!("{}\"{}|x", "y".repeat(63), "z\n".repeat(100)),
    );
    for pad in 0..130 {
        let input = format!("{},\"a\"\"b\n\"\"\"\n1,2\n", "p".repeat(pad));
        let expect = format!(
            "{}|a\"b\n\"/1|2",
            if pad == 0 {
                "∅".to_owned()
            } else {
                "p".repeat(pad)
            }
        );
        check(&[TEXT, TEXT], &input, &expect);
    }
}

#[test]
fn broken_records_name_their_line() {
    check(
        &[TEXT, TEXT],
        "a,b\n\"c\"d,e\n",
        "`t.csv` line 2: text follows a closing quote; double the quotes inside, say escape='\\' if that is how they are written, or quote='' if they mean nothing",
    );
    check(
        &[TEXT, TEXT],
        "a,b\nc\n",
        "`t.csv` line 2: 1 field where the file has 2; null_padding=true fills short rows with NULL, on_error='skip' leaves them out",
    );
    check(
        &[TEXT, TEXT],
        "\"a\n\",b\nc,d,e\n",
        "`t.csv` line 3: 3 fields where the file has 2; on_error='skip' leaves such rows out",
    );
    check(
        &[TEXT, TEXT],
        "a,b\nc,\"d\ne,f\n",
        "`t.csv` line 2: the quote that opens here never closes; say quote='' if quotes mean nothing, or max_line_size if the value is that long",
    );
    check(
        &[INT, TEXT],
        "1,a\n\n2,b\nx,\"c\n",
        "`t.csv` line 4: the quote that opens here never closes; say quote='' if quotes mean nothing, or max_line_size if the value is that long",
    );
    check(
        &[INT, INT],
        "1,2\n3,x\n4\n",
        "`t.csv` line 2, column `c1`: `x` is not a BIGINT; the type was taken from the first rows: types={'c1': 'VARCHAR'}, all_text=true or a larger sample_rows reads it, on_error='skip' leaves the row out",
    );
}

#[test]
fn broken_records_are_left_out_one_by_one() {
    let check = |kinds: &[DataType], input: &str, expect: &str| {
        check_with(&Reading::of(kinds).skipping(), input, expect);
    };
    check(
        &[TEXT, TEXT],
        "a,b\nc\nd,e,f\ng,h\n",
        "a|b/g|h # 2: 1 field where the file has 2 # 3: 3 fields where the file has 2",
    );
    check(
        &[TEXT, TEXT],
        "a,b\n\"c\"d,e\nf,g\n",
        "a|b/f|g # 2: text follows a closing quote",
    );
    check(
        &[TEXT, TEXT],
        "a,b\nc,\"d\ne,f\n",
        "a|b/e|f # 2: the quote that opens here never closes",
    );
    check(
        &[TEXT, TEXT],
        "a,b\n\"c,d",
        "a|b # 2: the quote that opens here never closes",
    );
    check(
        &[INT, INT],
        "1,2\nx,y\n3,4\n5,z\n",
        "1|2/3|4 # 2: `x` is not a BIGINT # 4: `z` is not a BIGINT",
    );
    check(
        &[INT, TEXT],
        "1,a\n\"\",b\n,c\n",
        "1|a/∅|c # 2: an empty text is no BIGINT",
    );
    check(
        &[INT, TEXT],
        "1,a\n007,b\n",
        "1|a # 2: `007` starts with a zero or a plus sign, which BIGINT would lose",
    );
    check(
        &[INT, TEXT],
        "1,a\n9223372036854775808,b\n",
        "1|a # 2: `9223372036854775808` does not fit BIGINT",
    );
}

#[test]
fn lines_between_two_quotes_that_are_no_pair_are_judged_one_by_one() {
    let check = |kinds: &[DataType], input: &str, expect: &str| {
        check_with(&Reading::of(kinds).skipping(), input, expect);
    };
    let never = "the quote that opens here never closes";
    check(
        &[INT, TEXT],
        "1,a\n2,\"b\n3,c\n\n4,d,e\nx,y\n5,\"f\n6,g\n",
        &format!(
            "1|a/3|c/6|g # 2: {never} # 5: 3 fields where the file has 2 # 6: `x` is not a BIGINT # 7: {never}"
        ),
    );
    // The second quote closes the first, but the record has a field too many.
    check(
        &[INT, TEXT],
        "1,\"a\r\n2,b\r\n3,c\",d\r\n4,e",
        &format!("2|b/4|e # 1: {never} # 3: 3 fields where the file has 2"),
    );
    check(
        &[INT, TEXT],
        "1,\"a\n2,b\nc\",3\n4,\"e\nf\"\n5,\"g\",h",
        &format!(
            "2|b/4|e\nf # 1: {never} # 3: a quote without a partner # 6: 3 fields where the file has 2"
        ),
    );
    // The record has the right number of fields by chance, but so has each of its many lines.
    let inner: String = (0..6).map(|n| format!("{n},x\n")).collect();
    let shown: String = (0..6).map(|n| format!("{n}|x/")).collect();
    check(
        &[INT, TEXT],
        &format!("7,a\n8,\"b\n{inner}9,e\"\r\n10,f\n"),
        &format!("7|a/{shown}10|f # 2: {never} # 9: a quote without a partner"),
    );
    check(
        &[INT, TEXT, TEXT, TEXT],
        "1,\"a,b,c\n2,c,d,e\n3,f\",g,h\n4,i,j,k\n",
        &format!("2|c|d|e/4|i|j|k # 1: {never} # 3: a quote without a partner"),
    );
    // Text of several lines may hold delimiters.
    check(
        &[INT, TEXT],
        "1,\"a\nb,c\n\nd\"\n2,\"e\nf,g\nh,i\"\n",
        "1|a\nb,c\n\nd/2|e\nf,g\nh,i",
    );
    // A value that does not fit says nothing about the quotes.
    check(
        &[INT, TEXT],
        "x,\"a\n2,b\"\n3,c\n",
        "3|c # 1: `x` is not a BIGINT",
    );
}

#[test]
fn many_broken_records_do_not_make_reading_slow() {
    let text = "1,\"a\n2,b\n3,\"c\n4,d\n".repeat(20_000);
    let start = std::time::Instant::now();
    let read = Reading {
        piece: 1 << 20,
        ..Reading::of(&[INT, TEXT]).skipping()
    }
    .read(text.as_bytes())
    .unwrap();
    assert_eq!((read.rows.len(), read.records), (40_000, 80_000));
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn inferred_types_hold_what_the_sample_held_and_nothing_else() {
    let check = |kind: DataType, input: &str, expect: &str| {
        check_with(&Reading::of(&[kind]).skipping(), input, expect);
    };
    check(
        DataType::Boolean,
        "true\nFALSE\nNO\n1\nt\n",
        "true/false # 3: `NO` is not a BOOLEAN # 4: `1` is not a BOOLEAN # 5: `t` is not a BOOLEAN",
    );
    check(
        DataType::Float64,
        "1e5\n0.12345678901234567890\n-123456789012345.5\n12345678901234567\n",
        "100000.0/0.12345678901234568/-123456789012345.5 # 4: `12345678901234567` has more digits than DOUBLE keeps",
    );
    let said = Reading {
        inferred: false,
        ..Reading::of(&[DataType::Boolean]).skipping()
    };
    check_with(&said, "NO\n1\n", "false/true");
}

#[test]
fn what_is_kept_does_not_depend_on_the_projection() {
    let input = "1,a,2\nx,b,3\n4,c,y\n5,d\n6,e,7\n";
    let all = Reading::of(&[INT, TEXT, INT]).skipping();
    check_with(
        &all,
        input,
        "1|a|2/6|e|7 # 2: `x` is not a BIGINT # 3: `y` is not a BIGINT # 4: 2 fields where the file has 3",
    );
    for projection in [vec![], vec![0], vec![1], vec![2, 0]] {
        let read = Reading {
            projection,
            ..all.clone()
        }
        .read(input.as_bytes())
        .unwrap();
        assert_eq!(
            (read.rows.len(), read.rejects.len(), read.records),
            (2, 3, 5)
        );
    }
    // With on_error='fail' a column that is not asked for is not converted, but fields are counted.
    let fail = Reading {
        projection: vec![1],
        ..Reading::of(&[INT, TEXT, INT])
    };
    check_with(&fail, "1,a,2\nx,b,3\n", "a/b");
    check_with(
        &Reading {
            projection: vec![],
            ..fail
        },
        "1,a,2\nx,b\n",
        "`t.csv` line 2: 2 fields where the file has 3; null_padding=true fills short rows with NULL, on_error='skip' leaves them out",
    );
}

#[test]
fn nulls_are_the_empty_unquoted_field_unless_said_otherwise() {
    let with = |strings: &[&str], quoted: bool| {
        let mut reading = Reading::of(&[INT, TEXT]);
        reading.dialect.null_strings = strings.iter().map(|&text| text.to_owned()).collect();
        reading.dialect.quoted_nulls = quoted;
        reading
    };
    check_with(&with(&[], false), "1,\n,\"\"\n", "1|∅/∅|");
    check_with(
        &with(&["NA"], false),
        "NA,NA\n1,\n2,\"NA\"\n",
        "∅|∅/1|/2|NA",
    );
    check_with(&with(&["NA", ""], false), "NA,\n,\"\"\n", "∅|∅/∅|");
    check_with(&with(&["-9"], false), "-9,-9\n-8,-8\n", "∅|∅/-8|-8");
    check_with(&with(&["NA"], true), "1,\"NA\"\n\"NA\",x\n", "1|∅/∅|x");
}

#[test]
fn short_records_are_filled_where_that_was_said() {
    let mut reading = Reading::of(&[INT, TEXT, INT]);
    reading.dialect.null_padding = true;
    check_with(&reading, "1\n2,b\n3,c,4\n\n", "1|∅|∅/2|b|∅/3|c|4");
    check_with(
        &reading.skipping(),
        "1,a\n2,b,3,4\nx\n",
        "1|a|∅ # 2: 4 fields where the file has 3 # 3: `x` is not a BIGINT",
    );
}

#[test]
fn comments_are_left_out() {
    let mut reading = Reading::of(&[INT, TEXT]);
    reading.dialect.comment = Some(b'#');
    check_with(
        &reading,
        "#x,\"\n1,a#b\n# \"y\n#\n2,\"#c\n#d\"\r\n#z",
        "1|a#b/2|#c\n#d",
    );
}

#[test]
fn other_escapes_and_no_quotes() {
    let mut reading = Reading::of(&[TEXT, TEXT]);
    reading.dialect.escape = Some(b'\\');
    check_with(
        &reading,
        "\"a\\\"b\",\"c\\\\\"\n\"\\\n\",x\n",
        "a\"b|c\\/\n|x",
    );
    check_with(&reading, "a\\\"b,c\n", "a\\\"b|c");
    reading.dialect.quote = None;
    reading.dialect.escape = None;
    check_with(&reading, "\"a,b\"\n'c\",d\n", "\"a|b\"/'c\"|d");
}

#[test]
fn records_that_are_too_long() {
    let mut reading = Reading::of(&[TEXT, TEXT]);
    reading.dialect.max_line_bytes = 8;
    check_with(
        &reading,
        "a,b\naaaa,bbb\nc,d\n",
        "`t.csv` line 2: the record is longer than 8 bytes; max_line_size sets the limit",
    );
    check_with(&reading, "aaa,bbb\nc,d\n", "aaa|bbb/c|d");
    check_with(
        &reading,
        "a,b\na,\"bbbbbb\nbbbbbb\nc,d\n",
        "`t.csv` line 2: the quote that opens here does not close within 8 bytes; say quote='' if quotes mean nothing, or max_line_size if the value is that long",
    );
    let skipping = reading.skipping();
    check_with(
        &skipping,
        "a,b\naaaa,bbb\nc,d\r\naaaa,bbbb\r\ne,f\n",
        "a|b/c|d/e|f # 2: the record is longer than 8 bytes # 4: the record is longer than 8 bytes",
    );
    check_with(
        &skipping,
        "a,b\nc,\"bbbbbbbbb\ne,f\n",
        "a|b/e|f # 2: the quote that opens here does not close within 8 bytes",
    );
    check_with(
        &skipping,
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        " # 1: the record is longer than 8 bytes".trim_start_matches('x'),
    );
}

#[test]
fn every_type_is_read_and_refused() {
    let check = |kind: DataType, input: &str, expect: &str| {
        let mut reading = Reading::of(&[kind, TEXT]).skipping();
        reading.inferred = false;
        let input: String = input
            .split(' ')
            .map(|value| format!("{value},\n"))
            .collect();
        let read = reading.read(input.as_bytes()).unwrap();
        let values: Vec<String> = read
            .rows
            .iter()
            .map(|row| row[0].clone().unwrap_or("∅".into()))
            .collect();
        assert_eq!(
            format!("{} -{}", values.join(" "), read.rejects.len()),
            expect,
            "{input}"
        );
    };
    use DataType::*;
    check(
        Boolean,
        "true F yes 0 maybe \"t\"",
        "true false true false true -1",
    );
    check(Int8, "127 -128 128 007 +1 1.0", "127 -128 7 1 -2");
    check(Int16, "32767 32768", "32767 -1");
    check(Int32, "-2147483648 2147483648", "-2147483648 -1");
    check(UInt8, "255 256 -1", "255 -2");
    check(UInt16, "65535 65536", "65535 -1");
    check(UInt32, "4294967295 4294967296", "4294967295 -1");
    check(
        UInt64,
        "18446744073709551615 18446744073709551616",
        "18446744073709551615 -1",
    );
    check(Float32, "1.5 1e39 x", "1.5 -2");
    check(Float64, "1.5 1e308 1e309 inf \"2\"", "1.5 1e308 inf 2.0 -1");
    check(
        Decimal128(5, 2),
        "17 17.5 -0.25 999.99 1000 1.234 1.230",
        "17.00 17.50 -0.25 999.99 1.23 -2",
    );
    check(
        Decimal128(38, 0),
        "99999999999999999999999999999999999999 1e2",
        "99999999999999999999999999999999999999 -1",
    );
    check(Date32, "2026-11-23 2026-02-30 23.11.2026", "2026-11-23 -2");
    let stamp = |zone: Option<&str>| Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    check(
        stamp(None),
        "2026-11-23T10:00 2026-11-23 2026-11-23T10:00:00Z",
        "2026-11-23T10:00:00 2026-11-23T00:00:00 -1",
    );
    check(
        stamp(Some("+00:00")),
        "2026-11-23T10:00+02 2026-11-23T10:00",
        "2026-11-23T08:00:00Z 2026-11-23T10:00:00Z -0",
    );
    check(
        Timestamp(TimeUnit::Second, None),
        "2026-11-23T10:00:00.5 1970-01-01",
        "1970-01-01T00:00:00 -1",
    );
    check(Utf8, "abc \"d\"", "abc d -0");
    check(LargeUtf8, "abc \"d\"", "abc d -0");
}

#[test]
fn spaces_around_values_that_are_not_text_are_left_out() {
    check(
        &[INT, DataType::Float64, DataType::Date32, TEXT],
        " 1 ,\t2.5, 2026-11-23 , x \n",
        "1|2.5|2026-11-23| x ",
    );
    check_with(
        &Reading::of(&[INT, TEXT]).skipping(),
        "  ,a\n1,b\n",
        "1|b # 1: `  ` is not a BIGINT",
    );
}

#[test]
fn bytes_that_are_not_utf8_are_named_by_their_offset() {
    let input = b"1,a\n2,\xe4\n3,c\n";
    let error = Reading::of(&[INT, TEXT]).read(input).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`t.csv` line 2: the byte 0xe4 at offset 6 is not UTF-8; encoding='latin1' or 'utf-16' converts"
    );
    let read = Reading::of(&[INT, TEXT]).skipping().read(input).unwrap();
    assert_eq!((shown(&read).as_str(), read.rejects.len()), ("1|a/3|c", 1));
}

#[test]
fn batches_are_full_but_the_last_and_long_text_survives() {
    let text = "x".repeat(13);
    let input: String = (0..5000)
        .map(|row| format!("{row},{text}{row}\n"))
        .collect();
    for piece in [1000, 40_000, usize::MAX] {
        let reading = Reading {
            piece,
            batch_rows: 1500,
            ..Reading::of(&[INT, TEXT])
        };
        let read = reading.read(input.as_bytes()).unwrap();
        assert_eq!(
            (read.rows.len(), read.records, read.lines),
            (5000, 5000, 5001)
        );
        for (row, cells) in read.rows.iter().enumerate() {
            assert_eq!(
                cells,
                &[Some(row.to_string()), Some(format!("{text}{row}"))]
            );
        }
    }
}

#[test]
fn record_numbers_count_the_rejected() {
    let field = |name: &str, kind| Arc::new(Field::new(name, kind, true));
    let mut decoder = Decoder::new(Plan {
        dialect: Arc::new(Dialect {
            on_error: OnError::Skip,
            ..Dialect::default()
        }),
        file: "t.csv".into(),
        fields: 1,
        columns: vec![
            Column {
                from: Origin::Field(0),
                field: field("a", INT),
                inferred: true,
            },
            Column {
                from: Origin::Row,
                field: field("_row", DataType::UInt64),
                inferred: false,
            },
            Column {
                from: Origin::Missing,
                field: field("b", DataType::Date32),
                inferred: false,
            },
        ],
        projection: vec![1, 0, 2],
        batch_rows: 10,
    })
    .unwrap();
    let at = Position {
        offset: 100,
        line: 50,
        row: 40,
    };
    let log = RejectLog::default();
    assert!(
        decoder
            .decode(b"7\nx\n1,2\n8\n", at, Some(&log))
            .unwrap()
            .is_empty()
    );
    let batch = decoder.finish().unwrap().unwrap();
    assert_eq!(
        rows(&[batch]),
        [
            [Some("40".into()), Some("7".into()), None],
            [Some("43".into()), Some("8".into()), None]
        ]
    );
    let lines: Vec<u64> = log.rows().iter().map(|reject| reject.line).collect();
    assert_eq!(lines, [51, 52]);
    assert_eq!(decoder.finish().unwrap(), None);
}

#[test]
fn other_encodings_become_utf8() {
    let check = |encoding, input: &[u8], expect: &str| {
        for piece in 1..=input.len() {
            let mut transcoder = Transcoder::new(encoding, "t.csv".into());
            let mut out = Vec::new();
            for part in input.chunks(piece) {
                transcoder.push(part, false, &mut out).unwrap();
            }
            transcoder.push(b"", true, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
    };
    check(Encoding::Utf16Le, b"\xff\xfea\0,\0\xac\x20", "a,€");
    check(Encoding::Utf16Be, b"\0a\x20\xac", "a€");
    check(Encoding::Latin1, b"a\xe4\x80", "aä\u{80}");
    check(Encoding::Windows1252, b"a\xe4\x80", "aä€");
    let mut transcoder = Transcoder::new(Encoding::Utf16Le, "t.csv".into());
    let mut out = Vec::new();
    transcoder.push(b"a\0b\0", false, &mut out).unwrap();
    let error = transcoder.push(b"\x00\xd8c\0", true, &mut out).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`t.csv`: the bytes at offset 4 are not utf-16le; encoding='…' says what they are"
    );
}
