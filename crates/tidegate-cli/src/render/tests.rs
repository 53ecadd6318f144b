//! Tables as a terminal shows them.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use tidegate::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use super::{Format, Look, renderer};

fn look(width: usize, max_rows: usize) -> Look {
    Look {
        width: Some(width),
        max_rows,
        null_text: "NULL".into(),
        color: false,
    }
}

fn drawn(batches: &[RecordBatch], look: &Look) -> String {
    let schema = batches[0].schema();
    let mut table = renderer(&Format::Table, &schema, look).unwrap();
    let mut out = Vec::new();
    table.begin(&mut out).unwrap();
    for batch in batches {
        table.batch(batch, &mut out).unwrap();
    }
    table.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn numbers(values: std::ops::Range<i64>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    RecordBatch::try_from_iter([("n", column)]).unwrap()
}

/// The values of the one column, in the order in which they are drawn.
fn shown(table: &str) -> Vec<&str> {
    let rows = table.lines().skip(4).filter(|line| line.starts_with('│'));
    rows.map(|line| line.trim_matches(['│', ' '])).collect()
}

#[test]
fn a_long_result_shows_head_and_tail_however_it_is_cut_into_batches() {
    for step in [1, 2, 3, 7, 100] {
        let starts = (0..100).step_by(step);
        let batches: Vec<_> = starts
            .map(|at| numbers(at..(at + step as i64).min(100)))
            .collect();
        let table = drawn(&batches, &look(80, 5));
        assert_eq!(shown(&table), ["0", "1", "2", "·", "98", "99"], "{step}");
        assert!(table.ends_with("5 of 100 rows\n"), "{table}");
    }
}

#[test]
fn a_result_that_just_fits_has_no_gap() {
    for step in [1, 2, 5] {
        let starts = (0..5).step_by(step);
        let batches: Vec<_> = starts
            .map(|at| numbers(at..(at + step as i64).min(5)))
            .collect();
        let table = drawn(&batches, &look(80, 5));
        assert_eq!(shown(&table), ["0", "1", "2", "3", "4"], "{step}");
        assert!(table.ends_with("┘\n"), "{table}");
    }
}

#[test]
fn an_empty_result_shows_its_header() {
    let table = drawn(&[numbers(0..0)], &look(80, 5));
    assert_eq!(table.lines().count(), 5);
}

#[test]
fn a_fitted_table_is_never_wider_than_the_terminal() {
    let text: ArrayRef = Arc::new(StringArray::from(vec![
        "日本語 text".repeat(50),
        "é\t".into(),
    ]));
    let number: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, 1]));
    for columns in 1..12 {
        let column = |at: usize| match at % 2 {
            0 => (format!("text {at}"), Arc::clone(&text)),
            _ => (format!("number {at}"), Arc::clone(&number)),
        };
        let batch = RecordBatch::try_from_iter((0..columns).map(column)).unwrap();
        for width in [20, 40, 80, 200] {
            let table = drawn(std::slice::from_ref(&batch), &look(width, 40));
            for line in table.lines() {
                let wide = unicode_width::UnicodeWidthStr::width(line);
                assert!(
                    wide <= width,
                    "{columns} columns, {wide} > {width}:\n{table}"
                );
            }
        }
    }
}

#[test]
fn a_huge_value_is_cut_without_being_formatted_whole() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(50_000_000)]));
    let batch = RecordBatch::try_from_iter([("t", text)]).unwrap();
    let table = drawn(&[batch], &look(30, 40));
    assert!(table.contains("xxx…"), "{table}");
}
