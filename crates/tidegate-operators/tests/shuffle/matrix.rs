//! Every division of every kind of rows, in both forms.

use std::sync::Arc;

use arrow::array::*;
use arrow::compute::{concat, take};
use arrow::datatypes::*;
use datafusion::common::ScalarValue;
use datafusion::physical_plan::ExecutionPlan;
use tidegate_operators::shuffle::To;

use super::columns::columns;
use super::forms::{
    BATCH_ROWS, FORMS, Form, Setup, check, column, input, moved, ordered, ranges, sealed, shuffle,
    sorted, texts,
};

/// Rows with ascending keys `k` (NULL first, many alike), numbers and a column of each type.
pub(crate) fn rows(first: i64, count: usize) -> RecordBatch {
    let key = |row: usize| (first + row as i64 / 3 > 0).then_some(first + row as i64 / 3);
    let keys: ArrayRef = Arc::new(Int64Array::from_iter((0..count).map(key)));
    let places = UInt32Array::from_iter_values((0..count).map(|row| (row * 7 % 5) as u32));
    let others = columns()
        .into_iter()
        .filter(|(_, values)| !values.data_type().is_null());
    let others = others.map(|(name, values)| (name, take(&values, &places, None).unwrap(), true));
    let all = std::iter::once(("k", keys, true)).chain(others);
    RecordBatch::try_from_iter_with_nullable(all).unwrap()
}

fn empty() -> RecordBatch {
    rows(0, 0)
}

fn inputs() -> Vec<(&'static str, Vec<Vec<RecordBatch>>)> {
    let tiny = |part: i64| -> Vec<RecordBatch> { (0..60).map(|at| rows(at + part, 3)).collect() };
    vec![
        ("nothing", vec![vec![empty()], vec![]]),
        ("one row", vec![vec![], vec![rows(5, 1)], vec![]]),
        (
            "empty partitions",
            vec![vec![], vec![empty(), rows(0, 100), empty()], vec![]],
        ),
        (
            "fewer rows than partitions",
            vec![vec![rows(0, 3)], vec![rows(1, 2)]],
        ),
        ("tiny batches", vec![tiny(0), tiny(3), tiny(1)]),
        (
            "large batches",
            vec![vec![rows(0, 300)], vec![rows(-50, 300)]],
        ),
    ]
}

/// Each division that these rows can be given.
pub(crate) fn divisions(input: &Arc<dyn ExecutionPlan>) -> Vec<To> {
    let hash = |names: &[&str], partitions| To::Hash {
        keys: names.iter().map(|name| column(input, name)).collect(),
        partitions,
    };
    vec![
        hash(&["k"], 1),
        hash(&["k"], 7),
        hash(&["utf8 view", "k"], 5),
        hash(&["dictionary of utf8"], 3),
        hash(&["struct", "list of utf8 view"], 3),
        hash(&["k"], 200),
        To::RoundRobin { partitions: 1 },
        To::RoundRobin { partitions: 4 },
        To::Broadcast,
        To::Single { order: None },
        ordered(input, "k"),
        chance(1, 7),
        chance(5, 7),
        chance(200, 7),
    ]
    .into_iter()
    .chain(divisions_by_range(input))
    .collect()
}

fn chance(partitions: usize, seed: u64) -> To {
    To::Random { partitions, seed }
}

fn divisions_by_range(input: &Arc<dyn ExecutionPlan>) -> Vec<To> {
    let number = |value: i64| ScalarValue::from(value);
    let text = |value: &str| ScalarValue::from(value);
    let one = |values: Vec<ScalarValue>| values.into_iter().map(|value| vec![value]).collect();
    let null = ScalarValue::Int64(None);
    let (up, down, nulls_first) = (false, true, true);
    vec![
        ranges(input, &[("k", up, !nulls_first)], vec![]),
        ranges(
            input,
            &[("k", up, nulls_first)],
            one(vec![number(1), number(10), number(90)]),
        ),
        ranges(
            input,
            &[("k", up, !nulls_first)],
            one(vec![number(10), number(10), null.clone()]),
        ),
        ranges(
            input,
            &[("k", down, nulls_first)],
            one(vec![null, number(50), number(-2)]),
        ),
        ranges(
            input,
            &[("utf8 view", up, nulls_first)],
            one(vec![text("a"), text("b")]),
        ),
        ranges(
            input,
            &[("dictionary of utf8", down, !nulls_first)],
            one(vec![text("a")]),
        ),
        ranges(
            input,
            &[("float64", up, nulls_first)],
            one(vec![0.0.into(), f64::NAN.into()]),
        ),
        ranges(
            input,
            &[("utf8", down, !nulls_first), ("k", up, nulls_first)],
            vec![
                vec![text("a"), number(7)],
                vec![text("a"), number(40)],
                vec![text(""), number(9)],
            ],
        ),
    ]
}

#[tokio::test]
async fn every_division_of_every_input() {
    let mut checked = 0;
    for (what, given) in inputs() {
        for to in divisions(&input(given.clone())) {
            for form in FORMS {
                check(what, form, &given, &to).await;
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 6 * 22 * 2);
}

#[tokio::test]
async fn rows_without_columns_are_counted() {
    let options = RecordBatchOptions::new().with_row_count(Some(100));
    let schema = Arc::new(Schema::empty());
    let batch = RecordBatch::try_new_with_options(schema, vec![], &options).unwrap();
    let given = vec![vec![batch.clone(), batch.slice(0, 1)], vec![batch]];
    let ways = [
        To::RoundRobin { partitions: 3 },
        chance(3, 1),
        To::Broadcast,
        To::Single { order: None },
    ];
    for to in ways {
        for form in FORMS {
            check("no columns", form, &given, &to).await;
        }
    }
}

/// Where a row goes by chance or in turn follows from its task and its place in it: not from the form, nor from how rows
/// were cut into batches.
#[tokio::test]
async fn chance_and_turns_are_the_same_in_both_forms_and_of_any_batches() {
    let whole = vec![vec![rows(0, 300), rows(1, 40)], vec![rows(-50, 300)]];
    let cut = |part: &Vec<RecordBatch>| -> Vec<RecordBatch> {
        let one = |batch: &RecordBatch| -> Vec<RecordBatch> {
            let starts = (0..batch.num_rows()).step_by(7);
            let rows = |start: usize| 7.min(batch.num_rows() - start);
            starts
                .map(|start| batch.slice(start, rows(start)))
                .collect()
        };
        part.iter().flat_map(one).collect()
    };
    let cut: Vec<_> = whole.iter().map(cut).collect();
    let (one, another) = (chance(4, 11), chance(4, 12));
    let mut all = Vec::new();
    for (to, least) in [
        (one, 110),
        (another, 110),
        (To::RoundRobin { partitions: 4 }, 160),
    ] {
        let mut found = Vec::new();
        for given in [&whole, &cut] {
            for form in FORMS {
                let setup = Setup::default();
                let given = input(given.clone());
                let parts = moved(form, &given, &to, None, &setup).await.unwrap();
                let parts = parts.iter().map(|part| sorted(texts(part)));
                found.push(parts.collect::<Vec<_>>());
            }
        }
        assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{to}");
        assert!(found[0].iter().all(|part| part.len() >= least), "{to}");
        all.push(found.remove(0));
    }
    assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
}

/// Rows of equal keys come in any order of the tasks, but those of one task as they are.
#[tokio::test]
async fn a_merge_keeps_the_order_of_keys_and_of_each_task() {
    let batch = |rows: &[(i64, i64)]| {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
        let places: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
        RecordBatch::try_from_iter_with_nullable([("k", keys, true), ("at", places, true)]).unwrap()
    };
    let given = input(vec![
        vec![
            batch(&[(1, 10), (1, 11), (2, 12), (9, 13)]),
            batch(&[(9, 14)]),
        ],
        vec![],
        vec![batch(&[(1, 20), (2, 21), (2, 22), (3, 23), (9, 24)])],
    ]);
    for form in FORMS {
        let to = ordered(&given, "k");
        let found = moved(form, &given, &to, None, &Setup::default())
            .await
            .unwrap();
        let column = |at: usize| -> Vec<i64> {
            let columns = found[0]
                .iter()
                .map(|batch| batch.column(at).as_primitive::<Int64Type>());
            columns
                .flat_map(|column| column.values().to_vec())
                .collect()
        };
        assert_eq!(column(0), [1, 1, 1, 2, 2, 2, 3, 9, 9, 9], "{form:?}");
        let (mut first, mut third) = (column(1), column(1));
        first.retain(|place| *place < 20);
        third.retain(|place| *place >= 20);
        assert!(
            first.is_sorted() && third.is_sorted(),
            "{form:?}: {:?}",
            column(1)
        );
    }
}

#[tokio::test]
async fn tiny_batches_become_whole_ones() {
    let tiny = |_| (0..400).map(|at| rows(at, 3)).collect::<Vec<_>>();
    let given = input((0..2).map(tiny).collect());
    let to = To::Hash {
        keys: vec![column(&given, "k")],
        partitions: 2,
    };
    let found = moved(Form::Stream, &given, &to, None, &Setup::default())
        .await
        .unwrap();
    for part in &found {
        let rows: Vec<usize> = part.iter().map(RecordBatch::num_rows).collect();
        let (_, full) = rows.split_last().unwrap();
        assert!(full.iter().all(|rows| *rows == BATCH_ROWS), "{rows:?}");
    }
    let setup = Setup::default();
    for to in [
        to,
        To::RoundRobin { partitions: 3 },
        chance(3, 1),
        ranges(&given, &[("k", false, false)], vec![vec![200_i64.into()]]),
        To::Broadcast,
        ordered(&given, "k"),
    ] {
        let plan = shuffle(&given, &to, None);
        for task in sealed(plan.downcast_ref().unwrap(), &setup).await.unwrap() {
            for partition in 0..to.partitions() as u32 {
                let rows: Vec<u32> = task.file().of(partition).map(|frame| frame.rows).collect();
                let (_, full) = rows.split_last().unwrap();
                assert!(
                    full.iter().all(|rows| *rows as usize == BATCH_ROWS),
                    "{to}: {rows:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_limit_stops_what_comes_out_and_is_passed_down() {
    let given = input(vec![vec![rows(0, 300)], vec![rows(0, 300)]]);
    for to in [To::Single { order: None }, ordered(&given, "k")] {
        let limited = shuffle(&given, &to, Some(5));
        let below = limited.children()[0].name().to_string();
        assert_eq!(
            (below.as_str(), limited.fetch()),
            ("LocalLimitExec", Some(5)),
            "{to}"
        );
        for form in FORMS {
            let found = moved(form, &given, &to, Some(5), &Setup::default())
                .await
                .unwrap();
            assert_eq!(texts(&found[0]).len(), 5, "{form:?} {to}");
        }
    }
    let hash = To::Hash {
        keys: vec![column(&given, "k")],
        partitions: 3,
    };
    let range = ranges(&given, &[("k", false, false)], vec![vec![5_i64.into()]]);
    for to in [hash, range, chance(3, 1), To::RoundRobin { partitions: 3 }] {
        assert!(
            shuffle(&given, &to, None).with_fetch(Some(5)).is_none(),
            "{to}"
        );
    }
}

/// Views share the buffers of a page, a dictionary or a whole column: what is written of a few of them is not all that.
#[tokio::test]
async fn a_slice_of_views_is_written_without_what_it_does_not_need() {
    let text = |at: usize| format!("{at:08} {}", "x".repeat(1000));
    let views: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..4000).map(text)));
    let field = Arc::new(Field::new("t", DataType::Utf8View, true));
    let rows = StructArray::new(
        vec![Arc::clone(&field)].into(),
        vec![Arc::clone(&views)],
        None,
    );
    let lengths = arrow::buffer::OffsetBuffer::from_lengths(vec![1; 4000]);
    let lists = ListArray::new(field, lengths, Arc::clone(&views), None);
    let kinds: [(&str, ArrayRef); 3] = [
        ("view", Arc::clone(&views)),
        ("struct", Arc::new(rows)),
        ("list", Arc::new(lists)),
    ];
    for (kind, all) in kinds {
        let few = concat(&[&all.slice(17, 5), &all.slice(3000, 5)]).unwrap();
        for values in [all.slice(17, 10), few] {
            let number: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10));
            let batch = RecordBatch::try_from_iter_with_nullable([
                ("k", number, true),
                ("v", values, true),
            ])
            .unwrap();
            let given = input(vec![vec![batch]]);
            let hash = To::Hash {
                keys: vec![column(&given, "k")],
                partitions: 3,
            };
            for to in [
                hash,
                To::Single { order: None },
                To::RoundRobin { partitions: 2 },
            ] {
                let setup = Setup::default();
                let plan = shuffle(&given, &to, None);
                let files = sealed(plan.downcast_ref().unwrap(), &setup).await.unwrap();
                let bytes = files[0].file().bytes();
                assert!(
                    bytes < 30_000,
                    "{kind} to {to}: {bytes} bytes of 10 texts of 1,009"
                );
                check(kind, Form::Sealed, &[vec![given_batch(&given).await]], &to).await;
            }
        }
    }
}

async fn given_batch(input: &Arc<dyn ExecutionPlan>) -> RecordBatch {
    let context = Setup::default().context(Setup::config());
    super::forms::all_of(input, &context).await.unwrap()[0][0].clone()
}
