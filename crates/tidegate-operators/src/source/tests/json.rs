//! JSON: lines, arrays and values over lines; exact numbers; errors with their place.

use super::*;
use crate::json::OnUnknownKey;
use crate::source::{InferOptions, infer};

fn inferred(path: &Path) -> String {
    let file = InputFile::local(path).unwrap();
    let schema = infer(&json(), &file, &InferOptions::default()).unwrap();
    let column = |field: &Arc<Field>| format!("{} {}", field.name(), field.data_type());
    schema
        .fields()
        .iter()
        .map(column)
        .collect::<Vec<_>>()
        .join(", ")
}

const COLUMNS: [(&str, DataType); 2] = [("a", DataType::Int64), ("b", DataType::Utf8)];

#[test]
fn lines_arrays_and_values_give_the_same_rows() {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<String> = (0..200)
        .map(|i| format!("{{\"a\":{i},\"b\":\"x,]}}{i}\"}}"))
        .collect();
    let expect: Vec<String> = (0..200).map(|i| format!("{i}|x,]}}{i}")).collect();
    let texts = [
        ("lines.json", records.join("\n")),
        ("array.json", format!(" [\n{}\n]\n", records.join(" ,\n"))),
        (
            "values.json",
            records.join("\n").replace("{\"a\"", "{\n \"a\""),
        ),
        ("mark.json", format!("\u{feff}{}", records.join("\r\n"))),
    ];
    for (name, text) in texts {
        let file = write(dir.path(), name, text.as_bytes());
        assert_eq!(inferred(&file), "a Int64, b Utf8", "{name}");
        let scan = Scan::new(json(), &COLUMNS, &[file]);
        assert_eq!(scan.rows().unwrap(), expect, "{name}");
        for partitions in [2, 7, 32] {
            let mut found = rows(&scan.dealt(partitions)).unwrap();
            found.sort_by_key(|row| row.split('|').next().unwrap().parse::<u64>().unwrap());
            assert_eq!(found, expect, "{name}, {partitions} partitions");
        }
        let counted = Scan {
            columns: Some(Vec::new()),
            ..scan
        };
        let rows: usize = batches(&counted.plan())
            .unwrap()
            .iter()
            .map(RecordBatch::num_rows)
            .sum();
        assert_eq!(rows, 200, "{name}");
    }
}

#[test]
fn types_are_inferred_without_loss() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"{"i": 1, "f": 1, "big": 18446744073709551616, "mix": 1, "n": null, "s": {"x": 1}, "l": [1, null]}
{"f": 2.5, "big": 1, "mix": "a", "s": {"y": "t"}, "l": [], "exact": 9007199254740993, "b": true}
{"exact": 0.5, "mix": {"z": [1, 2]}}"#;
    let file = write(dir.path(), "a.json", text.as_bytes());
    assert_eq!(
        inferred(&file),
        "i Int64, f Float64, big Decimal128(38, 0), mix Utf8, n Null, \
         s Struct(\"x\": Int64, \"y\": Utf8), l List(Int64), exact Utf8, b Boolean"
    );
    let columns = [
        ("big", DataType::Decimal128(38, 0)),
        ("mix", DataType::Utf8),
        ("l", DataType::new_list(DataType::Int64, true)),
        ("exact", DataType::Utf8),
    ];
    let scan = Scan::new(json(), &columns, &[file]);
    assert_eq!(
        scan.rows().unwrap(),
        [
            "18446744073709551616|1|[1, ∅]|∅",
            "1|a|[]|9007199254740993",
            "∅|{\"z\":[1,2]}|∅|0.5"
        ]
    );
}

#[test]
fn what_does_not_fit_is_an_error_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let check = |text: &str, expect: &str| {
        let file = write(dir.path(), "a.json", text.as_bytes());
        let scan = Scan::new(json(), &COLUMNS, &[file]);
        let found = message(scan.rows());
        assert!(found.contains(expect), "{text}: {found}");
    };
    check(
        "{\"a\": 1}\n\n{\"a\": 1.5}\n",
        "line 3: field `a`: a whole number of 64 bits was expected, this is `1.5`",
    );
    check("{\"a\": 9223372036854775808}", "line 1: field `a`");
    check("{\"a\": true}", "this is `true`");
    check(
        "{\"a\": 1}\n{\"a\": 2",
        "line 2: not valid JSON: `,` or `}` was expected (at byte 8)",
    );
    check(
        "{\"a\": 1}\n[1]\n",
        "line 2: every record must be an object, this one is an array",
    );
    check("[{\"a\": 1}, {\"a\": \"x\"}]", "element 2: field `a`");
    check("[{\"a\": 1}, {\"a\": 2}", "not closed by `]`");
    check("[{\"a\": 1} {\"a\": 2}]]", "element");
}

#[test]
fn bad_lines_are_skipped_and_noted() {
    let dir = tempfile::tempdir().unwrap();
    let text = "{\"a\": 1}\n{\"a\": \n{\"a\": 3}\n{\"a\": \"x\"}\n{\"a\": 5}\n";
    let file = write(dir.path(), "a.json", text.as_bytes());
    let log = Arc::new(crate::rejects::RejectLog::default());
    let format = Format::Json(JsonOptions {
        on_error: OnError::Skip,
        ..JsonOptions::default()
    });
    let access = ScanAccess {
        rejects: Some(Arc::clone(&log)),
        ..ScanAccess::default()
    };
    let scan = Scan {
        access,
        ..Scan::new(format, &COLUMNS, &[file])
    };
    let plan = super::splits::with_projection(
        &scan,
        1,
        &[
            ("a", datafusion::prelude::col("a")),
            (
                "row",
                datafusion::functions::core::expr_fn::file_row_index(),
            ),
        ],
    );
    assert_eq!(rows(&plan).unwrap(), ["1|0", "3|2", "5|4"]);
    let noted: Vec<_> = log
        .rows()
        .iter()
        .map(|r| (r.line, r.column.is_some()))
        .collect();
    assert_eq!(noted, [(2, false), (4, true)]);
}

fn refusing(on_error: OnError) -> Format {
    Format::Json(JsonOptions {
        on_error,
        on_unknown_key: OnUnknownKey::Refuse,
        ..JsonOptions::default()
    })
}

#[test]
fn the_same_lines_are_skipped_whatever_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let text = "{\"a\":1,\"b\":\"x\"}\n{\"a\":\"y\"}\n{\"c\":1}\n{\"b\":\"z\",\"a\":2}\n";
    let file = write(dir.path(), "a.json", text.as_bytes());
    for columns in [vec![], vec![0], vec![1], vec![0, 1]] {
        let log = Arc::new(crate::rejects::RejectLog::default());
        let scan = Scan {
            access: ScanAccess {
                rejects: Some(Arc::clone(&log)),
                ..ScanAccess::default()
            },
            columns: Some(columns.clone()),
            ..Scan::new(
                refusing(OnError::Skip),
                &COLUMNS,
                std::slice::from_ref(&file),
            )
        };
        let found: usize = batches(&scan.plan())
            .unwrap()
            .iter()
            .map(RecordBatch::num_rows)
            .sum();
        let lines: Vec<u64> = log.rows().iter().map(|reject| reject.line).collect();
        assert_eq!((found, lines), (2, vec![2, 3]), "{columns:?}");
    }
}

#[test]
fn a_key_that_is_no_column_is_an_error_whatever_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let expect = "line 3: no record of the sample has the key `s.late`; a larger `sample_rows` finds it (-1 looks at every record)";
    let text = "{\"a\":1,\"k\":0}\n{\"s\":{\"x\":1}}\n{\"s\":{\"x\":2,\"late\":3}}\n";
    let file = write(dir.path(), "a.json", text.as_bytes());
    let inner = DataType::Struct(vec![Field::new("x", DataType::Int64, true)].into());
    let given = [("a", DataType::Int64), ("s", inner)];
    let (key, value) = hive("k", "0");
    for columns in [vec![], vec![0], vec![1], vec![0, 1]] {
        let mut scan = Scan {
            columns: Some(columns.clone()),
            ..Scan::new(refusing(OnError::Fail), &given, std::slice::from_ref(&file))
        };
        scan.partition_columns = vec![Arc::clone(&key)];
        scan.files[0].partition_values = vec![value.clone()];
        let found = message(scan.rows());
        assert!(found.contains(expect), "{columns:?}: {found}");
    }
    let ignoring = Scan::new(json(), &given[..1], &[file]);
    assert_eq!(ignoring.rows().unwrap(), ["1", "∅", "∅"]);
}

#[test]
fn keys_that_differ_in_case_only_are_the_columns() {
    let dir = tempfile::tempdir().unwrap();
    let text = "{\"A\":1,\"b\":\"x\"}\n{\"a\":2,\"B\":\"y\"}\n";
    let file = write(dir.path(), "a.json", text.as_bytes());
    for format in [json(), refusing(OnError::Fail)] {
        let scan = Scan::new(format, &COLUMNS, std::slice::from_ref(&file));
        assert_eq!(scan.rows().unwrap(), ["1|x", "2|y"]);
    }
}
