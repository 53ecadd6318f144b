//! The partition hash: pinned by vectors, the same for every array of the same values, and what both forms go by.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::*;
use arrow::compute::{cast, concat, take};
use arrow::datatypes::*;
use arrow::util::pretty::pretty_format_batches;
use tidegate_operators::shuffle::{To, partitions_of};
use tidegate_testing::random::Random;

use super::columns::{columns, dictionary};
use super::forms::{FORMS, Setup, column, input, moved};

const VECTORS: &str = include_str!("hashes.txt");

/// Large and prime, so that nearly every bit of a hash counts.
const PARTITIONS: usize = 4_294_967_291;

#[test]
fn the_hash_is_what_it_was() {
    let mut found = String::new();
    for (name, values) in columns() {
        let alone = partitions_of(&[Arc::clone(&values)], PARTITIONS).unwrap();
        let number: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5));
        let second = partitions_of(&[number, values], PARTITIONS).unwrap();
        writeln!(found, "{name}: {alone:?}, after a number {second:?}").unwrap();
    }
    let differ = VECTORS
        .lines()
        .zip(found.lines())
        .find(|(old, new)| old != new);
    assert!(
        VECTORS == found,
        "the partition hash is another one: data that older versions sealed would be read wrongly.\n\
         First difference: {differ:?}\nAll of it:\n{found}"
    );
}

#[test]
fn zeros_are_one_key_and_null_is_a_key() {
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0]));
    let found = partitions_of(&[floats], PARTITIONS).unwrap();
    assert_eq!(found[0], found[1]);
    for (name, values) in columns() {
        let null = take(&values, &UInt32Array::from(vec![4, 4]), None).unwrap();
        let found = partitions_of(&[null], PARTITIONS).unwrap();
        assert_eq!(found[0], found[1], "{name}");
    }
}

/// Where the values are must not matter: slices, views into several buffers, and dictionaries of any order.
#[test]
fn a_value_is_in_one_partition_in_whichever_array_it_is() {
    for (name, values) in columns() {
        let both = concat(&[&values, &values]).unwrap();
        let expected = partitions_of(&[Arc::clone(&both)], PARTITIONS).unwrap();
        assert_eq!(expected[..5], expected[5..], "{name}");
        let sliced = partitions_of(&[both.slice(3, 5)], PARTITIONS).unwrap();
        assert_eq!(sliced, expected[3..8], "{name}, sliced");
        let turned = take(&values, &UInt32Array::from(vec![4, 2, 0, 1, 3]), None).unwrap();
        let found = partitions_of(&[turned], PARTITIONS).unwrap();
        let of = |at: usize| expected[at];
        assert_eq!(found, [4, 2, 0, 1, 3].map(of), "{name}, turned around");
    }
}

#[test]
fn a_dictionary_alone_is_where_its_values_are() {
    let number: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5));
    let mut elsewhere = Vec::new();
    let is_flat = |kind: &DataType| !kind.is_nested() && !matches!(kind, DataType::Dictionary(..));
    for (name, values) in columns() {
        if !is_flat(values.data_type()) || values.data_type().is_null() {
            continue;
        }
        let to = DataType::Dictionary(
            Box::new(DataType::Int32),
            Box::new(values.data_type().clone()),
        );
        if !arrow::compute::can_cast_types(values.data_type(), &to) {
            continue;
        }
        let Ok(coded) = cast(&values, &to) else {
            continue;
        };
        let of = |keys: &[ArrayRef]| partitions_of(keys, PARTITIONS).unwrap();
        assert_eq!(
            of(&[Arc::clone(&coded)]),
            of(&[Arc::clone(&values)]),
            "{name}"
        );
        let plain = of(&[Arc::clone(&number), values]);
        if of(&[Arc::clone(&number), coded]) != plain {
            elsewhere.push(name);
        }
    }
    // As a key after another one they are elsewhere, so that both sides must have one type: `docs/upstream-bugs.md`.
    assert!(
        elsewhere.contains(&"int64") && elsewhere.contains(&"utf8 view"),
        "{elsewhere:?}"
    );
    assert!(!elsewhere.contains(&"utf8"), "{elsewhere:?}");
}

#[test]
fn a_text_is_elsewhere_as_a_view() {
    let text: ArrayRef = Arc::new(StringArray::from(vec![
        "short",
        "a text of more than twelve bytes",
    ]));
    let of = |kind| partitions_of(&[cast(&text, &kind).unwrap()], PARTITIONS).unwrap();
    let (plain, view) = (of(DataType::Utf8), of(DataType::Utf8View));
    assert_eq!(plain, of(DataType::LargeUtf8));
    assert_eq!((plain[0] == view[0], plain[1] == view[1]), (false, false));
}

/// Random rows of every type, hashed by one and by two columns into few and many partitions.
#[tokio::test]
async fn both_forms_put_each_row_where_the_hash_says() {
    let mut random = Random::new(20_261_128);
    for (at, (name, values)) in columns().into_iter().enumerate() {
        let rows = |random: &mut Random| -> RecordBatch {
            let picked = UInt32Array::from_iter_values(
                (0..random.below(90)).map(|_| random.below(5) as u32),
            );
            let values = take(&values, &picked, None).unwrap();
            let numbers = (0..picked.len()).map(|_| random.below(20) as i64);
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
            RecordBatch::try_from_iter_with_nullable([("n", numbers, true), ("v", values, true)])
                .unwrap()
        };
        let batches: Vec<Vec<RecordBatch>> = (0..3)
            .map(|_| (0..4).map(|_| rows(&mut random)).collect())
            .collect();
        let input = input(batches);
        let keys = match at % 2 {
            0 => vec![column(&input, "v")],
            _ => vec![column(&input, "n"), column(&input, "v")],
        };
        let partitions = *random.pick(&[1, 2, 3, 7, 64]);
        let to = To::Hash {
            keys: keys.clone(),
            partitions,
        };
        for form in FORMS {
            let found = moved(form, &input, &to, None, &Setup::default())
                .await
                .unwrap();
            for (partition, batch) in found
                .iter()
                .enumerate()
                .flat_map(|(p, b)| b.iter().map(move |b| (p, b)))
            {
                let keys = keys
                    .iter()
                    .map(|key| key.evaluate(batch).unwrap().into_array(batch.num_rows()));
                let keys: Vec<ArrayRef> = keys.map(Result::unwrap).collect();
                let expected = partitions_of(&keys, partitions).unwrap();
                assert!(
                    expected.iter().all(|expected| *expected == partition),
                    "{form:?} {name} in {partitions}: partition {partition} holds rows of {expected:?}\n{}",
                    pretty_format_batches(std::slice::from_ref(batch)).unwrap()
                );
            }
        }
    }
}

#[test]
fn no_key_and_no_partition_are_errors() {
    let number = dictionary(&(Arc::new(Int64Array::from(vec![1])) as ArrayRef));
    assert!(partitions_of(&[], 3).is_err());
    assert!(partitions_of(&[number], 0).is_err());
}
