//! What is written as CSV is read back by this project's own reader, value for value.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Float64Type, TimeUnit};
use tidegate_operators::csv::{
    Column, Cut, Decoder, Dialect, Origin, Plan, Splitter, header, sniff,
};
use tidegate_operators::write::{Request, Value, WriteSpec, encoder};

const SEEDS: u64 = 300;

/// A small generator; a failure prints its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) ^ (self.0 << 20)
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 7) % end
    }

    /// One value in five is NULL.
    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.below(5) == 0 {
            None
        } else {
            Some(make(self))
        }
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 18] = [
            "", "a", "B", " ", "\"", "\"\"", "'", ",", ";", "\t", "\n", "\r\n", "\\", "é", "日",
            "NULL", "0", "#",
        ];
        (0..self.below(6))
            .map(|_| PIECES[self.below(18) as usize])
            .collect()
    }

    fn float(&mut self) -> f64 {
        const SPECIAL: [f64; 8] = [
            0.0,
            -0.0,
            1e300,
            5e-324,
            f64::MAX,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.1,
        ];
        match self.below(3) {
            0 => SPECIAL[self.below(8) as usize],
            1 => f64::from_bits(self.next() ^ (self.next() << 31)),
            _ => self.next() as f64 / 1000.0,
        }
    }
}

fn table(random: &mut Random) -> RecordBatch {
    let rows = 1 + random.below(12) as usize;
    let mut column = |kind: u64| -> ArrayRef {
        let stamps =
            |random: &mut Random| random.maybe(|random| random.below(1 << 52) as i64 - (1 << 51));
        match kind {
            0 => Arc::new(
                (0..rows)
                    .map(|_| random.maybe(|random| random.next() as i64))
                    .collect::<Int64Array>(),
            ),
            1 => Arc::new(
                (0..rows)
                    .map(|_| random.maybe(Random::float))
                    .collect::<Float64Array>(),
            ),
            2 => Arc::new(
                (0..rows)
                    .map(|_| random.maybe(|random| random.below(2) == 0))
                    .collect::<BooleanArray>(),
            ),
            3 => {
                let values =
                    (0..rows).map(|_| random.maybe(|random| i128::from(random.next() as i64)));
                Arc::new(
                    values
                        .collect::<Decimal128Array>()
                        .with_precision_and_scale(38, 4)
                        .unwrap(),
                )
            }
            4 => Arc::new(
                (0..rows)
                    .map(|_| random.maybe(|random| random.below(40_000) as i32 - 10_000))
                    .collect::<Date32Array>(),
            ),
            5 => Arc::new(
                (0..rows)
                    .map(|_| stamps(random))
                    .collect::<TimestampMicrosecondArray>(),
            ),
            6 => {
                let values = (0..rows)
                    .map(|_| stamps(random))
                    .collect::<TimestampMicrosecondArray>();
                Arc::new(values.with_timezone("+00:00"))
            }
            _ => Arc::new(
                (0..rows)
                    .map(|_| random.maybe(Random::text))
                    .collect::<StringViewArray>(),
            ),
        }
    };
    let kinds: Vec<u64> = [7, 0, 1, 2, 3, 4, 5, 6, 7].into();
    let columns: Vec<_> = kinds
        .into_iter()
        .enumerate()
        .map(|(index, kind)| (format!("c{index}"), column(kind), true))
        .collect();
    let width = 1 + random.below(columns.len() as u64) as usize;
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().take(width)).unwrap()
}

fn write(table: &RecordBatch, options: &[(&str, &str)]) -> Vec<u8> {
    let option =
        |(name, value): &(&str, &str)| ((*name).to_owned(), Value::Text((*value).to_owned()));
    let request = Request {
        target: "a.csv".to_owned(),
        options: options.iter().map(option).collect(),
        ..Request::default()
    };
    let spec = WriteSpec::new(&request).unwrap();
    let mut encoder = encoder(&spec.format, table.schema(), Vec::new()).unwrap();
    encoder.write(table).unwrap();
    encoder.finish().unwrap()
}

fn read(bytes: &[u8], dialect: &Dialect, like: &RecordBatch) -> RecordBatch {
    let (dialect, file): (_, Arc<str>) = (Arc::new(dialect.clone()), "a.csv".into());
    let head = header(bytes, true, &dialect, &file).unwrap();
    let fields = like.num_columns();
    let column = |(index, field): (usize, &Arc<Field>)| Column {
        from: Origin::Field(index),
        field: Arc::clone(field),
        inferred: false,
    };
    let plan = Plan {
        dialect: Arc::clone(&dialect),
        file: Arc::clone(&file),
        fields,
        columns: like
            .schema()
            .fields()
            .iter()
            .enumerate()
            .map(column)
            .collect(),
        projection: (0..fields).collect(),
        batch_rows: 8192,
    };
    let mut decoder = Decoder::new(plan).unwrap();
    let mut splitter = Splitter::new(dialect, fields, file, head.at);
    let mut rest = &bytes[head.at.offset as usize..];
    let mut batches = Vec::new();
    loop {
        match splitter.cut(rest, true) {
            Cut::More => break,
            Cut::Records { end, at } => {
                batches.extend(decoder.decode(&rest[..end], at, None).unwrap());
                rest = &rest[end..];
            }
            other => unreachable!("{other:?}"),
        }
    }
    batches.extend(decoder.finish().unwrap());
    arrow::compute::concat_batches(&like.schema(), &batches).unwrap()
}

/// As equal as can be told: NaNs have one text.
fn same(one: &RecordBatch, other: &RecordBatch) -> bool {
    let plain =
        |column: &ArrayRef| -> ArrayRef {
            match column.data_type() {
                DataType::Float64 => {
                    let values = column.as_primitive::<Float64Type>();
                    Arc::new(values.unary::<_, Float64Type>(|value| {
                        if value.is_nan() { f64::NAN } else { value }
                    }))
                }
                _ => Arc::clone(column),
            }
        };
    one.num_rows() == other.num_rows()
        && one
            .columns()
            .iter()
            .zip(other.columns())
            .all(|(one, other)| plain(one) == plain(other))
}

fn check(options: &[(&str, &str)], dialect: &Dialect) {
    let mut values = 0;
    for seed in 0..SEEDS {
        let table = table(&mut Random(seed));
        values += table
            .columns()
            .iter()
            .map(|column| column.len() - column.null_count())
            .sum::<usize>();
        let bytes = write(&table, options);
        let back = read(&bytes, dialect, &table);
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            same(&table, &back),
            "seed {seed}, {options:?}\n{table:?}\nas\n{text}\nis\n{back:?}"
        );
    }
    assert!(
        values > 5000,
        "the tables are too small to tell: {values} values"
    );
}

#[test]
fn values_come_back_as_they_were() {
    check(&[], &Dialect::default());
}

#[test]
fn values_come_back_in_other_dialects() {
    for (name, delimiter) in [(";", b';'), ("\\t", b'\t'), ("|", b'|')] {
        check(
            &[("delim", name)],
            &Dialect {
                delimiter,
                ..Dialect::default()
            },
        );
    }
    check(
        &[("null", "NA")],
        &Dialect {
            null_strings: vec!["NA".to_owned()],
            ..Dialect::default()
        },
    );
    check(&[("force_quote", "*")], &Dialect::default());
}

#[test]
fn the_types_of_a_written_table_are_told_again() {
    let day: ArrayRef = Arc::new(Date32Array::from(vec![Some(1), None]));
    let stamp: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(1_500_000), None]));
    let zoned: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None]).with_timezone("+00:00"));
    let number: ArrayRef = Arc::new(Float64Array::from(vec![Some(1e30), Some(0.5)]));
    let table = RecordBatch::try_from_iter([("d", day), ("t", stamp), ("z", zoned), ("f", number)])
        .unwrap();
    let found = sniff(&write(&table, &[]), true, &Default::default(), "a.csv").unwrap();
    let kinds: Vec<_> = found.fields.iter().map(Field::data_type).collect();
    assert_eq!(kinds[0], &DataType::Date32);
    assert!(
        matches!(kinds[1], DataType::Timestamp(TimeUnit::Microsecond, None)),
        "{kinds:?}"
    );
    assert!(
        matches!(
            kinds[2],
            DataType::Timestamp(TimeUnit::Microsecond, Some(_))
        ),
        "{kinds:?}"
    );
    assert_eq!(kinds[3], &DataType::Float64);
}
