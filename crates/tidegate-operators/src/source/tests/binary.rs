//! Arrow and Avro files, there and back.

use super::*;
use crate::source::{InferOptions, infer};
use arrow::array::{Int32Array, Int64Array, StringArray};
use arrow::ipc::writer::{FileWriter, StreamWriter};

/// Batches of the columns `a BIGINT, b TEXT`, as text files of each format.
pub(super) fn sample(rows: i64, each: i64) -> Vec<(Format, &'static str, Vec<u8>)> {
    let schema = fields(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
    let batch = |start: i64| {
        let numbers = start..(start + each).min(rows);
        let a = Int64Array::from_iter(numbers.clone().map(|i| (i % 5 != 0).then_some(i)));
        let b = StringArray::from_iter_values(numbers.map(|i| format!("t{i}")));
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(a), Arc::new(b)]).unwrap()
    };
    let batches: Vec<RecordBatch> = (0..rows).step_by(each as usize).map(batch).collect();
    let mut file = FileWriter::try_new(Vec::new(), &schema).unwrap();
    let mut stream = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    let mut avro =
        datafusion::arrow_avro::writer::AvroWriter::new(Vec::new(), schema.as_ref().clone())
            .unwrap();
    for batch in &batches {
        file.write(batch).unwrap();
        stream.write(batch).unwrap();
        avro.write(batch).unwrap();
    }
    avro.finish().unwrap();
    vec![
        (Format::Arrow, "file.arrow", file.into_inner().unwrap()),
        (Format::Arrow, "stream.arrows", stream.into_inner().unwrap()),
        (Format::Avro, "a.avro", avro.into_inner()),
    ]
}

fn expected(rows: i64) -> Vec<String> {
    let a = |i: i64| {
        if i % 5 == 0 {
            "∅".to_owned()
        } else {
            i.to_string()
        }
    };
    (0..rows).map(|i| format!("{}|t{i}", a(i))).collect()
}

const COLUMNS: [(&str, DataType); 2] = [("a", DataType::Int64), ("b", DataType::Utf8)];

#[test]
fn files_streams_and_containers_give_their_rows() {
    use datafusion::functions::core::expr_fn::file_row_index;
    let dir = tempfile::tempdir().unwrap();
    for (format, name, bytes) in sample(1000, 70) {
        let file = write(dir.path(), name, &bytes);
        let input = InputFile::local(&file).unwrap();
        let schema = infer(&format, &input, &InferOptions::default()).unwrap();
        let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, ["a", "b"], "{name}");
        let scan = Scan::new(format.clone(), &COLUMNS, std::slice::from_ref(&file));
        assert_eq!(scan.rows().unwrap(), expected(1000), "{name}");
        let swapped = Scan {
            columns: Some(vec![1]),
            ..scan.clone()
        };
        assert_eq!(swapped.rows().unwrap()[7], "t7", "{name}");
        let counted = Scan {
            columns: Some(Vec::new()),
            ..scan.clone()
        };
        let rows_counted: usize = batches(&counted.plan())
            .unwrap()
            .iter()
            .map(RecordBatch::num_rows)
            .sum();
        assert_eq!(rows_counted, 1000, "{name}");
        for partitions in [1, 3] {
            let plan = splits::with_projection(
                &scan,
                partitions,
                &[
                    ("row", file_row_index()),
                    ("b", datafusion::prelude::col("b")),
                ],
            );
            let mut found = rows(&plan).unwrap();
            found.sort_by_key(|row| row.split('|').next().unwrap().parse::<u64>().unwrap());
            assert_eq!(found[..2], ["0|t0", "1|t1"], "{name}");
            assert_eq!(found[999], "999|t999", "{name}, {partitions} partitions");
            assert_eq!(found.len(), 1000);
        }
        for (kind, bytes) in crate::input::compressed(&bytes) {
            let file = write(dir.path(), &format!("{name}.{kind}"), &bytes);
            let scan = Scan::new(format.clone(), &COLUMNS, &[file]);
            assert_eq!(scan.rows().unwrap(), expected(1000), "{name} {kind}");
        }
    }
}

#[test]
fn narrower_types_are_widened_and_others_refused() {
    let dir = tempfile::tempdir().unwrap();
    let schema = fields(&[("b", DataType::Int32)]);
    let column = Int32Array::from(vec![Some(7), None]);
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(column)]).unwrap();
    let mut writer = FileWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(&batch).unwrap();
    let file = write(dir.path(), "a.arrow", &writer.into_inner().unwrap());
    let columns = [("a", DataType::Utf8), ("b", DataType::Int64)];
    let scan = Scan::new(Format::Arrow, &columns, std::slice::from_ref(&file));
    assert_eq!(scan.rows().unwrap(), ["∅|7", "∅|∅"]);
    let scan = Scan::new(
        Format::Arrow,
        &[("b", DataType::Int16)],
        std::slice::from_ref(&file),
    );
    let found = message(scan.rows());
    assert!(
        found.contains("column `b` is Int32 in this file and Int16 in the table"),
        "{found}"
    );
    assert!(found.contains("a.arrow"), "{found}");
}

/// An Avro file of one block, by hand: the writer knows no unions.
fn avro(schema: &str, records: &[&[u8]]) -> Vec<u8> {
    let long = |number: usize| {
        let (mut rest, mut bytes) = (number << 1, Vec::new());
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    };
    let text = |text: &str| [long(text.len()), text.as_bytes().to_vec()].concat();
    let mark = [7; 16];
    let data = records.concat();
    let mut file = b"Obj\x01".to_vec();
    for part in [
        long(1),
        text("avro.schema"),
        text(schema),
        long(0),
        mark.to_vec(),
    ] {
        file.extend(part);
    }
    for part in [long(records.len()), long(data.len()), data, mark.to_vec()] {
        file.extend(part);
    }
    file
}

#[test]
fn avro_values_of_several_types_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let schema = r#"{"type":"record","name":"r","fields":[
        {"name":"u","type":["null","int","string","boolean",{"type":"record","name":"p","fields":[{"name":"x","type":"int"}]}]},
        {"name":"n","type":["int","double"]},
        {"name":"l","type":{"type":"array","items":["int","string"]}}]}"#;
    // A union's value is the number of its type, then the value.
    let half = 0.5f64.to_le_bytes();
    let with = |u: &[u8], n: &[u8], l: &[u8]| [u, n, l].concat();
    let records = [
        with(&[2, 14], &[0, 6], &[4, 0, 2, 2, 2, b'a', 0]),
        with(&[0], &[&[2][..], &half].concat(), &[0]),
        with(&[4, 4, b'h', b'i'], &[0, 1], &[0]),
        with(&[6, 1], &[0, 0], &[0]),
        with(&[8, 10], &[0, 0], &[0]),
    ];
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let file = write(dir.path(), "u.avro", &avro(schema, &records));
    let input = InputFile::local(&file).unwrap();
    let schema = infer(&Format::Avro, &input, &InferOptions::default()).unwrap();
    let kinds: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| field.data_type().to_string())
        .collect();
    assert_eq!(kinds, ["Utf8", "Float64", "List(non-null Utf8)"]);
    let columns: Vec<(&str, DataType)> = schema
        .fields()
        .iter()
        .map(|field| (field.name().as_str(), field.data_type().clone()))
        .collect();
    let scan = Scan::new(Format::Avro, &columns, &[file]);
    let expect = [
        "7|3.0|[1, a]",
        "∅|0.5|[]",
        "hi|-1.0|[]",
        "true|0.0|[]",
        "{x: 5}|0.0|[]",
    ];
    assert_eq!(scan.rows().unwrap(), expect);
    let last = Scan {
        columns: Some(vec![0]),
        ..scan
    };
    assert_eq!(last.rows().unwrap()[2], "hi");
}
