//! Averages of decimals are the exact mean, rounded half away from zero, whichever way they are computed.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int32Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use datafusion::datasource::MemTable;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use tidegate_plan::{PlanInputs, PlanSettings, Registry, compile, decode, encode, session_state};

/// `k` is 0, 1, 1, 1, 2 and `x` is NULL, 0.05, 0.05, 0.06, -0.02 in two partitions, with each decimal type.
fn inputs() -> (SessionContext, PlanInputs) {
    let settings = PlanSettings {
        partitions: 2,
        ..PlanSettings::at(chrono::DateTime::UNIX_EPOCH)
    };
    let state = session_state(&settings, Arc::new(RuntimeEnv::default()), &Registry::new());
    let context = SessionContext::new_with_state(state);
    let batch = |keys: Vec<i32>, values: Vec<Option<i128>>| {
        let values = Decimal128Array::from(values)
            .with_precision_and_scale(9, 2)
            .unwrap();
        let typed = |data_type| cast(&values, &data_type).unwrap();
        RecordBatch::try_from_iter_with_nullable([
            ("k", Arc::new(Int32Array::from(keys)) as ArrayRef, true),
            ("x32", typed(DataType::Decimal32(9, 2)), true),
            ("x64", typed(DataType::Decimal64(15, 2)), true),
            ("x", typed(DataType::Decimal128(15, 2)), true),
            ("wide", typed(DataType::Decimal128(38, 2)), true),
            ("x256", typed(DataType::Decimal256(50, 2)), true),
        ])
        .unwrap()
    };
    let batches = vec![
        vec![batch(vec![0, 1], vec![None, Some(5)])],
        vec![batch(vec![1, 1, 2], vec![Some(5), Some(6), Some(-2)])],
    ];
    let table = MemTable::try_new(batches[0][0].schema(), batches).unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
    let inputs = PlanInputs::new(context.state(), Arc::new(settings));
    (context, inputs)
}

/// The rows of the answer, which must not change when the plan is written down and read again.
async fn answer(inputs: &PlanInputs, sql: &str) -> Result<String, String> {
    let plan = inputs.state.create_logical_plan(sql).await.unwrap();
    let graph = compile(plan, inputs).await.map_err(|e| e.to_string())?;
    let graph = graph.joined().map_err(|e| e.to_string())?;
    let stage = decode(&encode(graph.result()).unwrap(), &Registry::new()).unwrap();
    let mut answers = vec![];
    for plan in [Arc::clone(&graph.result().plan), stage.plan] {
        let batches = collect(plan, inputs.state.task_ctx())
            .await
            .map_err(|error| error.find_root().to_string())?;
        let mut rows = vec![];
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let values = batch.columns().iter();
                let texts: Vec<_> = values
                    .map(|column| array_value_to_string(column, row).unwrap())
                    .collect();
                rows.push(texts.join(" "));
            }
        }
        answers.push(rows.join("|"));
    }
    assert_eq!(answers[0], answers[1], "{sql}");
    Ok(answers.swap_remove(0))
}

async fn check(cases: &[(&str, &str)]) {
    let (_context, inputs) = inputs();
    for (sql, expected) in cases {
        assert_eq!(answer(&inputs, sql).await.unwrap(), *expected, "{sql}");
    }
}

#[tokio::test]
async fn every_decimal_type_has_its_exact_mean() {
    check(&[
        (
            "select avg(x), arrow_typeof(avg(x)) from t",
            "0.035000000000 Decimal128(25, 12)",
        ),
        (
            "select avg(x32), arrow_typeof(avg(x32)) from t",
            "0.035000000000 Decimal128(19, 12)",
        ),
        (
            "select avg(x64), arrow_typeof(avg(x64)) from t",
            "0.035000000000 Decimal128(25, 12)",
        ),
        (
            "select avg(wide), arrow_typeof(avg(wide)) from t",
            "0.03500000 Decimal128(38, 8)",
        ),
        (
            "select avg(x256), arrow_typeof(avg(x256)) from t",
            "0.035000000000 Decimal256(60, 12)",
        ),
    ])
    .await;
}

#[tokio::test]
async fn every_way_to_compute_a_mean_agrees() {
    let grouped = "0 |1 0.053333333333|2 -0.020000000000";
    check(&[
        ("select k, avg(x) from t group by k order by k", grouped),
        ("select k, avg(x64) from t group by k order by k", grouped),
        ("select k, avg(x256) from t group by k order by k", grouped),
        ("select k, avg(wide) from t group by k order by k", "0 |1 0.05333333|2 -0.02000000"),
        ("select avg(distinct x), avg(distinct wide) from t", "0.030000000000 0.03000000"),
        ("select k, avg(distinct x), count(x) from t group by k order by k", "0  0|1 0.055000000000 3|2 -0.020000000000 1"),
        ("select avg(x) filter (where k < 2) from t", "0.053333333333"),
        ("select k, avg(x) filter (where k > 1) from t group by k order by k", "0 |1 |2 -0.020000000000"),
        ("select avg(x) from t where k = 0", ""),
        (
            "select k, x, avg(x) over (order by k, x rows between 1 preceding and current row) from t order by k, x",
            "0  |1 0.05 0.050000000000|1 0.05 0.050000000000|1 0.06 0.055000000000|2 -0.02 0.020000000000",
        ),
        ("select distinct avg(x) over (partition by k) from t where k = 1", "0.053333333333"),
    ])
    .await;
}

#[tokio::test]
async fn means_are_rounded_half_away_from_zero() {
    check(&[
        ("select avg(v) from (values (1.0), (1.0), (0.0)) t(v)", "0.66666666667"),
        ("select avg(-v) from (values (1.0), (1.0), (0.0)) t(v)", "-0.66666666667"),
        (
            "select avg(v), avg(-v) from (values (cast(1e-38 as decimal(38, 38))), (cast(0 as decimal(38, 38)))) t(v)",
            "0.00000000000000000000000000000000000001 -0.00000000000000000000000000000000000001",
        ),
        // Values of more than 28 digits are summed in 256 bits.
        (
            "select avg(v) from (values (99999999999999999999999999999999.5), (99999999999999999999999999999999.5), \
             (-99999999999999999999999999999999.5), (-99999999999999999999999999999999.0)) t(v)",
            "0.1250000",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_mean_that_has_no_room_is_an_error() {
    let (_context, inputs) = inputs();
    let sql = "select avg(v) from (values (99999999999999999999999999999999999999), (1)) t(v)";
    let found = answer(&inputs, sql).await.unwrap_err();
    assert!(
        found.contains("decimal(38, 6) out of range: `avg`"),
        "{found}"
    );
}

#[tokio::test]
async fn quotients_are_rounded_half_away_from_zero() {
    check(&[
        (
            "select 2.0 / 3.0, -2.0 / 3.0, 2.0 / -3.0, -2.0 / -3.0",
            "0.6666666666666667 -0.6666666666666667 -0.6666666666666667 0.6666666666666667",
        ),
        (
            "select 1.0 / 3.0, 1.0 / 20000000000000000.0, 1.0 / 20000000000000001.0",
            "0.3333333333333333 0.0000000000000001 0.0000000000000000",
        ),
        (
            "select x / 3.0, 1 / x, x / x, x / null from t where x = 0.05 limit 1",
            "0.0166666666666667 20.0000000000000000 1.0000000000000000 ",
        ),
        // The numerator leaves 128 bits, the quotient does not.
        (
            "select cast(123456789012345678 as decimal(38, 12)) / cast(0.6 as decimal(38, 12))",
            "205761315020576130.0000000000000000",
        ),
    ])
    .await;
    let (_context, inputs) = inputs();
    for (sql, expected) in [
        ("select x / (x - x) from t where k = 1", "ivide by zero"),
        (
            "select cast(1e30 as decimal(38, 0)) / cast(1e-10 as decimal(38, 10))",
            "decimal(38, 16) out of range",
        ),
    ] {
        let found = answer(&inputs, sql).await.unwrap_err();
        assert!(found.contains(expected), "{sql}: {found}");
    }
}
