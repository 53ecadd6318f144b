//! Arithmetic out of range is an error, wherever it stands in a query and whatever the optimizer does with it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Int8Array, Int16Array, Int32Array, Int64Array, RecordBatch,
    UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::util::display::array_value_to_string;
use datafusion::datasource::MemTable;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionContext;
use tidegate_plan::{PlanInputs, PlanSettings, Registry, compile, decode, encode, session_state};

/// Two partitions, so that aggregates are computed in parts; `max` and `min` are the ends of each type, `one` is 1.
fn context() -> (SessionContext, PlanInputs) {
    let settings = PlanSettings {
        partitions: 2,
        ..PlanSettings::at(chrono::DateTime::UNIX_EPOCH)
    };
    let state = session_state(&settings, Arc::new(RuntimeEnv::default()), &Registry::new());
    let context = SessionContext::new_with_state(state.clone());
    macro_rules! table {
        ($name:literal, $array:ty, $native:ty) => {{
            let (max, min, one, seven) = (<$native>::MAX, <$native>::MIN, 1, 7);
            let batch = |rows: usize| {
                RecordBatch::try_from_iter_with_nullable([
                    (
                        "max",
                        Arc::new(<$array>::from(vec![Some(max); rows])) as ArrayRef,
                        true,
                    ),
                    (
                        "min",
                        Arc::new(<$array>::from(vec![Some(min); rows])) as ArrayRef,
                        true,
                    ),
                    (
                        "one",
                        Arc::new(<$array>::from(vec![Some(one); rows])) as ArrayRef,
                        true,
                    ),
                    (
                        "seven",
                        Arc::new(<$array>::from(vec![Some(seven); rows])) as ArrayRef,
                        true,
                    ),
                    (
                        "none",
                        Arc::new(<$array>::from(vec![None::<$native>; rows])) as ArrayRef,
                        true,
                    ),
                    (
                        "g",
                        Arc::new(Int32Array::from((0..rows as i32).collect::<Vec<_>>()))
                            as ArrayRef,
                        true,
                    ),
                ])
                .unwrap()
            };
            let batches = vec![vec![batch(2)], vec![batch(1)]];
            let table = MemTable::try_new(batches[0][0].schema(), batches).unwrap();
            context.register_table($name, Arc::new(table)).unwrap();
        }};
    }
    table!("i8", Int8Array, i8);
    table!("i16", Int16Array, i16);
    table!("i32", Int32Array, i32);
    table!("i64", Int64Array, i64);
    table!("u8", UInt8Array, u8);
    table!("u16", UInt16Array, u16);
    table!("u32", UInt32Array, u32);
    table!("u64", UInt64Array, u64);
    let big = 10_i128.pow(38) - 1;
    let decimal = |value| {
        Decimal128Array::from(vec![Some(value); 2])
            .with_precision_and_scale(38, 0)
            .unwrap()
    };
    let batch = RecordBatch::try_from_iter([
        ("max", Arc::new(decimal(big)) as ArrayRef),
        ("one", Arc::new(decimal(1)) as ArrayRef),
        ("zero", Arc::new(decimal(0)) as ArrayRef),
    ])
    .unwrap();
    let table = MemTable::try_new(batch.schema(), vec![vec![batch.clone()], vec![batch]]).unwrap();
    context.register_table("dec", Arc::new(table)).unwrap();
    let state = context.state();
    (context, PlanInputs::new(state, Arc::new(settings)))
}

/// The first value of the answer, or the message of the error.
async fn answer(inputs: &PlanInputs, sql: &str) -> Result<String, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let plan = inputs
        .state
        .create_logical_plan(sql)
        .await
        .map_err(|error| text(&error))?;
    let graph = compile(plan, inputs).await.map_err(|error| text(&error))?;
    let graph = graph.joined().map_err(|error| text(&error))?;
    let run = |plan| datafusion::physical_plan::collect(plan, inputs.state.task_ctx());
    let direct = run(Arc::clone(&graph.result().plan))
        .await
        .map_err(|error| text(&error.find_root()));
    let first = |batches: Vec<RecordBatch>| {
        let batch = batches.iter().find(|batch| batch.num_rows() > 0);
        batch.map_or("no rows".into(), |batch| {
            array_value_to_string(batch.column(0), 0).unwrap()
        })
    };
    let direct = direct.map(first);
    // What was written down and read again answers the same, the errors included.
    let stage = decode(&encode(graph.result()).unwrap(), &Registry::new()).unwrap();
    let again = run(stage.plan)
        .await
        .map_err(|error| text(&error.find_root()))
        .map(first);
    assert_eq!(direct, again, "{sql}");
    direct
}

async fn check(cases: &[(&str, Result<&str, &str>)]) {
    let (_context, inputs) = context();
    for (sql, expected) in cases {
        match (answer(&inputs, sql).await, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, *expected, "{sql}"),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{sql}: {found}"),
            (found, expected) => panic!("{sql}: {found:?}, not {expected:?}"),
        }
    }
}

#[tokio::test]
async fn every_integer_type_overflows_loudly() {
    let (_context, inputs) = context();
    for table in ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"] {
        let signed = table.starts_with('i');
        for (expression, fits) in [
            ("max + one", false),
            ("one + max", false),
            ("min - one", false),
            ("max * seven", false),
            ("seven * max", false),
            ("max - one", true),
            ("min + one", true),
            ("max * one", true),
            ("max + none", true),
            ("seven - one", true),
            ("one - seven", signed),
            ("-min", !signed),
            ("-seven", true),
            ("min * seven", !signed),
        ] {
            if expression.starts_with('-') && !signed {
                continue;
            }
            for sql in [
                format!("select {expression} from {table}"),
                format!("select count(*) from {table} where {expression} <> one"),
                format!("select count(*) from {table} group by {expression}"),
                format!("select max({expression}) from {table}"),
                format!("select max({expression}) over (partition by g) from {table}"),
                format!("select g from {table} order by {expression}"),
                format!("select case when g >= 0 then {expression} end from {table}"),
            ] {
                let found = answer(&inputs, &sql).await;
                match fits {
                    true => assert!(found.is_ok(), "{sql}: {found:?}"),
                    false => assert!(
                        found.as_ref().is_err_and(|e| e.contains("out of range")),
                        "{sql}: {found:?}"
                    ),
                }
            }
        }
    }
}

#[tokio::test]
async fn constants_are_checked_too() {
    check(&[
        (
            "select 9223372036854775807 + 1",
            Err("bigint out of range: `9223372036854775807 + 1`"),
        ),
        ("select 1 + 9223372036854775807", Err("out of range")),
        ("select -9223372036854775807 - 2", Err("out of range")),
        ("select 9223372036854775807 * 2", Err("out of range")),
        ("select -(-9223372036854775808)", Err("out of range")),
        (
            "select - a from (select -9223372036854775808 as a)",
            Err("out of range"),
        ),
        ("select abs(-9223372036854775808)", Err("overflow")),
        (
            "select a + 1 from (select 9223372036854775807 as a)",
            Err("out of range"),
        ),
        (
            "select 1 from i64 where 9223372036854775807 + 1 > 0",
            Err("out of range"),
        ),
        ("select cast(128 as tinyint)", Err("128")),
        ("select cast(9223372036854775808 as bigint)", Err("")),
        ("select cast(1e30 as bigint)", Err("")),
        ("select 9223372036854775806 + 1", Ok("9223372036854775807")),
        ("select 1 + 2 * 3 - 4", Ok("3")),
        ("select null + 9223372036854775807", Ok("")),
        (
            "select case when false then 9223372036854775807 + 1 else 5 end",
            Ok("5"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn sums_overflow_loudly_and_only_in_the_end() {
    check(&[
        ("select sum(max) from i64", Err("bigint out of range")),
        ("select sum(max) from u64", Err("unsigned bigint out of range")),
        ("select sum(max) from i32", Ok("6442450941")),
        ("select sum(max) from i64 group by one", Err("out of range")),
        ("select sum(max) from i64 group by g order by 1", Err("out of range")),
        ("select sum(distinct max) from i64", Ok("9223372036854775807")),
        ("select sum(distinct v) from (select max as v from i64 union all select one from i64)", Err("out of range")),
        ("select sum(max) over () from i64", Err("out of range")),
        ("select sum(max) over (order by g rows between 1 preceding and current row) from i64", Err("out of range")),
        // A frame of one row never overflows, although two rows are in it for a moment.
        (
            "select max(s) from (select sum(max) over (order by g rows between current row and current row) s from i64)",
            Ok("9223372036854775807"),
        ),
        // Too large on the way, not in the end: the answer is exact whatever the order of the rows.
        (
            "select sum(v) from (select max v from i64 union all select max v from i64 union all select min v from i64 \
             union all select min v from i64)",
            Ok("-6"),
        ),
        (
            "select sum(v) from (select 1 k, max v from i64 union all select 1 k, min v from i64 union all \
             select 1 k, one v from i64) group by k",
            Ok("0"),
        ),
        ("select sum(none) from i64", Ok("")),
        ("select sum(seven) filter (where g > 5) from i64", Ok("")),
        ("select sum(seven + 1), sum(seven + 2), sum(seven + 3) from i64", Ok("24")),
        ("select avg(max) from i64", Ok("9.223372036854776e18")),
    ])
    .await;
}

#[tokio::test]
async fn decimals_keep_their_precision() {
    check(&[
        ("select max + one from dec", Err("decimal(38, 0) out of range")),
        ("select max * (one + one) from dec", Err("out of range")),
        ("select -max - one from dec", Err("out of range")),
        ("select max - one from dec", Ok("99999999999999999999999999999999999998")),
        ("select sum(max) from dec", Err("out of range")),
        ("select sum(max) from dec group by one", Err("out of range")),
        ("select sum(one) from dec", Ok("4")),
        ("select sum(one) over (order by zero rows between 1 preceding and current row) from dec", Ok("1")),
        ("select 1.5 * 2.25", Ok("3.375")),
        ("select 1.10 - 0.1", Ok("1.00")),
        ("select 0.1 + 0.2 = 0.3", Ok("true")),
    ])
    .await;
}

#[tokio::test]
async fn division_by_zero_is_an_error_but_for_floats() {
    check(&[
        ("select 1 / 0", Err("ivide by zero")),
        ("select 1 % 0", Err("ivide by zero")),
        ("select max / (one - one) from i64", Err("ivide by zero")),
        ("select max % (one - one) from i64", Err("ivide by zero")),
        ("select 1.0 / 0.0", Err("ivide by zero")),
        ("select 1.5 % 0.0", Err("ivide by zero")),
        ("select one / zero from dec", Err("ivide by zero")),
        ("select one % zero from dec", Err("ivide by zero")),
        ("select min / -1 from i64", Err("verflow")),
        ("select min % -1 from i64", Ok("0")),
        ("select none / 0 from i64", Ok("")),
        ("select cast(1 as double) / cast(0 as double)", Ok("inf")),
        (
            "select isnan(cast(0 as double) / cast(0 as double))",
            Ok("true"),
        ),
        (
            "select case when g < 0 then one / 0 else seven end from i64",
            Ok("7"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn names_and_types_stay_as_they_were() {
    let (_context, inputs) = context();
    let plan = inputs.state.create_logical_plan(
        "select one + seven * 2, -one, sum(one + 1) from i64 group by one, seven",
    );
    let graph = compile(plan.await.unwrap(), &inputs).await.unwrap();
    let names: Vec<_> = graph
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(
        names,
        [
            "i64.one + i64.seven * Int64(2)",
            "(- i64.one)",
            "sum(i64.one + Int64(1))"
        ]
    );
    let explained = graph.to_string();
    assert!(explained.contains("one + seven * 2"), "{explained}");
    assert!(!explained.contains("checked_"), "{explained}");
}
