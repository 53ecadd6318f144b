//! Tables of what is made of a file's first bytes.

use super::*;

/// `delimiter quote header | name type, … | notices`, or the error.
fn check(input: &str, expect: &str) {
    check_said(input, &Options::default(), expect);
}

fn check_said(input: &str, said: &Options, expect: &str) {
    check_bytes(input.as_bytes(), said, expect);
}

fn check_bytes(input: &[u8], said: &Options, expect: &str) {
    let found = match sniff(input, true, said, "t.csv") {
        Ok(found) => {
            let fields: Vec<String> = found
                .fields
                .iter()
                .map(|field| {
                    format!(
                        "{} {}",
                        field.name(),
                        messages::type_name(field.data_type())
                    )
                })
                .collect();
            let notices = found
                .notices
                .join(" # ")
                .replace("`t.csv` is read with ", "")
                .replace("`t.csv`: ", "");
            format!("{} | {notices}", fields.join(", "))
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expect, "{:?}", String::from_utf8_lossy(input));
}

#[test]
fn the_usual_file() {
    check("a,b\n1,x\n2,y\n", "a BIGINT, b VARCHAR | ");
    check("a,b\r\n1,x\r\n", "a BIGINT, b VARCHAR | ");
    check("\u{feff}a,b\n1,x\n", "a BIGINT, b VARCHAR | ");
    check("a,b\n1,x", "a BIGINT, b VARCHAR | ");
    check(
        "a,b,c\n1,17.00,2026-11-23\n",
        "a BIGINT, b DECIMAL(18, 2), c DATE | ",
    );
    check("zip,n\n007,1\n", "zip VARCHAR, n BIGINT | ");
    check("a,b\n,x\n,y\n", "a NULL, b VARCHAR | ");
    check("a,b\n\"\",x\n1,y\n", "a VARCHAR, b VARCHAR | ");
}

#[test]
fn delimiters() {
    check("a;b\n1;2\n", "a BIGINT, b BIGINT | delim=';'");
    check("a\tb\n1\t2\n", "a BIGINT, b BIGINT | delim='\\t'");
    check("a|b\n1|2\n", "a BIGINT, b BIGINT | delim='|'");
    check(
        "id;text\n1;foo, bar\n2;foo, baz\n",
        "id BIGINT, text VARCHAR | delim=';'",
    );
    check(
        "a;b\n1,5;2,7\n3,5;4,7\n",
        "a VARCHAR, b VARCHAR | delim=';' # column `a` is text; decimal_separator=',' reads it as numbers # column `b` is text; decimal_separator=',' reads it as numbers",
    );
    check(
        "x,y;z\na,b;c\n",
        "`t.csv`: it is not evident what separates the fields: `,` gives 2 fields, `;` gives 2 fields; say which, as in delim=','",
    );
    check("a,b\n\"1;2\",3\n\"3;4\",5\n", "a VARCHAR, b BIGINT | ");
}

#[test]
fn notes_before_the_header_are_known_by_their_sign() {
    check(
        "# hello\n# of 2024, all\na,b\n1,2\n",
        "`t.csv`: the first record has 1 field where 3 of 4 records have 2; comment='#' leaves out all lines that begin with it, skip=2 the first 2",
    );
    check(
        "# hello\n# all\na,b\n1,2\n",
        "`t.csv`: it is not evident what separates the fields: `,` gives 1 to 2 fields; comment='#' leaves out all lines that begin with it, skip=2 the first 2",
    );
    let said = Options {
        comment: Some("#".into()),
        ..Options::default()
    };
    check_said("# hello\n# all\na,b\n1,2\n", &said, "a BIGINT, b BIGINT | ");
    let said = Options {
        skip: Some(2),
        ..Options::default()
    };
    check_said("# hello\n# all\na,b\n1,2\n", &said, "a BIGINT, b BIGINT | ");
}

#[test]
fn files_of_one_column() {
    check("a\n1\n2\n", "a BIGINT | ");
    check("a\n", "a NULL | ");
    check("1\n2\n3\n", "column0 BIGINT | header=false");
    check("", " | ");
    check("\n\n", " | ");
}

#[test]
fn header_or_none() {
    check("a,b\n", "a NULL, b NULL | ");
    check(
        "1,2\n3,4\n",
        "column0 BIGINT, column1 BIGINT | header=false",
    );
    check("1,x\n", "column0 BIGINT, column1 VARCHAR | header=false");
    check(
        "name,town\nann,rome\nbob,oslo\n",
        "name VARCHAR, town VARCHAR | ",
    );
    check(
        "ann,rome\nbob,rome\n",
        "column0 VARCHAR, column1 VARCHAR | header=false",
    );
    check(
        "NA,2\n1,3\n4,5\n",
        "column0 VARCHAR, column1 BIGINT | header=false",
    );
    check(
        ",x\n0,1\n1,2\n",
        "column0 BIGINT, x BIGINT | column 1 has no name and is called `column0`",
    );
    check(
        "id,2019,2020\n1,5,6\n",
        "id BIGINT, 2019 BIGINT, 2020 BIGINT | ",
    );
    check_said(
        "1,2\n3,4\n",
        &Options {
            header: Some(true),
            ..Options::default()
        },
        "1 BIGINT, 2 BIGINT | ",
    );
    check_said(
        "a,b\n1,2\n",
        &Options {
            header: Some(false),
            ..Options::default()
        },
        "column0 VARCHAR, column1 VARCHAR | ",
    );
    check(
        "a,a,\n1,2,3\n",
        "a BIGINT, a_1 BIGINT, column2 BIGINT | column 2 repeats the name `a` and is called `a_1` # column 3 has no name and is called `column2`",
    );
}

#[test]
fn quotes_and_escapes() {
    check(
        "a,b\n'x,y','1'\n'z','2'\n",
        "a VARCHAR, b BIGINT | quote=''''",
    );
    check("a,b\nit's,1\ndon't,2\n", "a VARCHAR, b BIGINT | ");
    check(
        "a,b\n\"x \\\" y\",1\n\"z\",2\n",
        "a VARCHAR, b BIGINT | escape='\\'",
    );
    check("a,b\n\"x\ny\",1\n", "a VARCHAR, b BIGINT | ");
}

#[test]
fn what_was_said_goes_first() {
    let options = |json: &str| serde_json::from_str::<Options>(json).unwrap();
    check_said(
        "a;b\n1;2\n",
        &options(r#"{"delim": ";"}"#),
        "a BIGINT, b BIGINT | ",
    );
    check_said(
        "a,b\n1,2\n",
        &options(r#"{"all_varchar": true}"#),
        "a VARCHAR, b VARCHAR | ",
    );
    check_said(
        "a,b\n1,2\n",
        &options(r#"{"types": [["A", "double"]]}"#),
        "a DOUBLE, b BIGINT | ",
    );
    check_said(
        "a,b\n1,2\n",
        &options(r#"{"types": [["a", "blob"]]}"#),
        "`t.csv`, column `a`: `blob` is no type that can be read from CSV",
    );
    check_said(
        "a,b\n1,2\n",
        &options(r#"{"names": ["x"]}"#),
        "x BIGINT, b BIGINT | ",
    );
    check_said(
        "a,b\n1,2\n",
        &options(r#"{"names": ["x", "y", "z"]}"#),
        "`t.csv`: 3 names are given for 2 fields",
    );
    check_said(
        "1,2\n",
        &options(r#"{"columns": [["x", "INT"], ["y", "VARCHAR"]]}"#),
        "x INTEGER, y VARCHAR | header=false",
    );
    check_said(
        "junk\na,b\n1,2\n",
        &options(r#"{"skip": 1}"#),
        "a BIGINT, b BIGINT | ",
    );
    check_said(
        "#c\na,b\n1,2\n",
        &options(r##"{"comment": "#"}"##),
        "a BIGINT, b BIGINT | ",
    );
    check_said(
        "a,b\nNA,2\n3,-\n",
        &options(r#"{"nullstr": ["NA", "-"]}"#),
        "a BIGINT, b BIGINT | ",
    );
    check_said(
        "a,b\n23.11.2026,2\n",
        &options(r#"{"dateformat": "%d.%m.%Y"}"#),
        "a DATE, b BIGINT | ",
    );
    check_said(
        "a;b\n1,5;2\n",
        &options(r#"{"delim": ";", "decimal_separator": ","}"#),
        "a DECIMAL(18, 1), b BIGINT | ",
    );
    check_said(
        "a,b\n1\n2,3\n",
        &options(r#"{"null_padding": true}"#),
        "a BIGINT, b BIGINT | ",
    );
    check_said(
        "a,b\n1,2\nx,3\n",
        &options(r#"{"sample_rows": 1}"#),
        "a BIGINT, b BIGINT | ",
    );
}

#[test]
fn files_with_faults() {
    let two_thousand: String = (0..2000).map(|row| format!("{row},x\n")).collect();
    check(
        &format!("a,b\n{two_thousand}1\n1,2,3\n"),
        "a BIGINT, b VARCHAR | ",
    );
    check("a,b\n1\n", "a NULL, b NULL | ");
    check(
        "report\na,b\n1,2\n3,4\n",
        "`t.csv`: the first record has 1 field where 3 of 4 records have 2; skip=… leaves lines out before the header, null_padding=true fills short rows, delim says what separates",
    );
    check(
        "a\nb,c,d\ne\nf,g\nh,i,j,k\n",
        "`t.csv`: it is not evident what separates the fields: `,` gives 1 to 4 fields; say which, as in delim=','",
    );
    check_bytes(
        b"a,b\n1,\xe4\n",
        &Options::default(),
        "`t.csv` line 2: the byte 0xe4 at offset 6 is not UTF-8; encoding='latin1' or 'utf-16' converts",
    );
    let latin = Options {
        encoding: Some("latin1".into()),
        ..Options::default()
    };
    check_bytes(b"a,b\n1,\xe4\n", &latin, "a BIGINT, b VARCHAR | ");
}

#[test]
fn utf16() {
    let wide = |text: &str| {
        text.encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<u8>>()
    };
    check_bytes(
        &wide("\u{feff}a,b\n1,ä\n"),
        &Options::default(),
        "a BIGINT, b VARCHAR | encoding='utf-16le'",
    );
    check_bytes(
        &wide("a,b\n1,2\n"),
        &Options::default(),
        "`t.csv`: every other byte is zero, so it is probably UTF-16 without a byte order mark; say encoding='utf-16le' or 'utf-16be'",
    );
    let said = Options {
        encoding: Some("utf-16".into()),
        ..Options::default()
    };
    check_bytes(&wide("a,b\n1,2\n"), &said, "a BIGINT, b BIGINT | ");
}

#[test]
fn a_sample_that_is_cut_off_is_no_fault() {
    let text = "id,text\n1,\"a\nb\"\n2,\"c\u{e9}d\"\n3,e\n";
    for end in 12..text.len() {
        let found = sniff(&text.as_bytes()[..end], false, &Options::default(), "t.csv").unwrap();
        assert_eq!(found.dialect.column_names, ["id", "text"], "{end}");
        assert_eq!(
            found.at,
            Position {
                offset: 8,
                line: 2,
                row: 0
            }
        );
    }
}

#[test]
fn the_suffix_decides_between_equals() {
    let found = sniff(b"a,b\tc\nd,e\tf\n", true, &Options::default(), "x/t.tsv.gz").unwrap();
    assert_eq!(found.dialect.delimiter, b'\t');
}
