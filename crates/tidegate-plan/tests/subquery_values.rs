//! Subqueries used as values over columns that cannot be NULL: what is written down and read again answers the same.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::util::display::array_value_to_string;
use datafusion::datasource::MemTable;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use tidegate_plan::rules::SubqueryNulls;
use tidegate_plan::{PlanInputs, PlanSettings, Registry, compile, decode, encode, session_state};

/// `k` is 1, 2, 2, 4 and `s` one letter each, neither of which can be NULL.
fn inputs() -> (SessionContext, PlanInputs) {
    let settings = PlanSettings {
        partitions: 2,
        ..PlanSettings::at(chrono::DateTime::UNIX_EPOCH)
    };
    let state = session_state(&settings, Arc::new(RuntimeEnv::default()), &Registry::new());
    let context = SessionContext::new_with_state(state);
    let batch = |keys: [i32; 2], texts: [&str; 2]| {
        RecordBatch::try_from_iter_with_nullable([
            (
                "k",
                Arc::new(Int32Array::from(keys.to_vec())) as ArrayRef,
                false,
            ),
            ("s", Arc::new(StringArray::from(texts.to_vec())), false),
        ])
        .unwrap()
    };
    let batches = vec![
        vec![batch([1, 2], ["a", "b"])],
        vec![batch([2, 4], ["c", "d"])],
    ];
    let table = MemTable::try_new(batches[0][0].schema(), batches).unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
    let inputs = PlanInputs::new(context.state(), Arc::new(settings));
    (context, inputs)
}

async fn answer(inputs: &PlanInputs, sql: &str) -> Result<String, String> {
    let plan = inputs.state.create_logical_plan(sql).await.unwrap();
    let graph = compile(plan, inputs).await.map_err(|e| e.to_string())?;
    let graph = graph.joined().map_err(|e| e.to_string())?;
    let stage = decode(&encode(graph.result()).unwrap(), &Registry::new()).unwrap();
    let mut answers = vec![];
    for plan in [Arc::clone(&graph.result().plan), stage.plan] {
        let batches = collect(plan, inputs.state.task_ctx()).await;
        let batches = batches.map_err(|error| error.find_root().to_string())?;
        let rows = batches.iter().flat_map(|batch| {
            let text = |row: usize| {
                let values = batch.columns().iter();
                let texts = values.map(|column| array_value_to_string(column, row).unwrap());
                texts.collect::<Vec<_>>().join(" ")
            };
            (0..batch.num_rows()).map(text)
        });
        answers.push(rows.collect::<Vec<_>>().join("|"));
    }
    assert_eq!(answers[0], answers[1], "{sql}");
    Ok(answers.swap_remove(0))
}

#[tokio::test]
async fn values_may_be_null_where_their_columns_may_not() {
    let (_context, inputs) = inputs();
    for (sql, expect) in [
        ("SELECT (SELECT s FROM t WHERE k = 3) IS NULL", "true"),
        (
            "SELECT coalesce((SELECT s FROM t WHERE k = 3), 'none')",
            "none",
        ),
        (
            "SELECT (SELECT s FROM t WHERE k = 4) || (SELECT s FROM t WHERE k = 1)",
            "da",
        ),
        (
            "SELECT count(*) FROM t WHERE (SELECT k FROM t WHERE k > 4) IS NULL",
            "4",
        ),
        (
            "SELECT k, (SELECT s FROM t u WHERE u.k = t.k - 1) AS p FROM t WHERE k <> 2 ORDER BY k",
            "1 |4 ",
        ),
        (
            "SELECT k, (SELECT s FROM t u WHERE u.k + 3 = t.k) AS p FROM t ORDER BY k",
            "1 |2 |2 |4 a",
        ),
        (
            "SELECT k FROM t WHERE (SELECT s FROM t u WHERE u.k + 3 = t.k) IS NULL ORDER BY k",
            "1|2|2",
        ),
        (
            "SELECT count((SELECT s FROM t u WHERE u.k + 3 = t.k)) FROM t",
            "1",
        ),
    ] {
        assert_eq!(answer(&inputs, sql).await.as_deref(), Ok(expect), "{sql}");
    }
}

#[tokio::test]
async fn several_rows_are_an_error_where_they_are_asked_for() {
    let (_context, inputs) = inputs();
    for sql in [
        "SELECT (SELECT s FROM t u WHERE u.k = t.k) FROM t",
        "SELECT (SELECT s FROM t u WHERE u.k > t.k) FROM t",
        "SELECT k FROM t WHERE (SELECT s FROM t u WHERE u.k = t.k) = 'a'",
        "SELECT max((SELECT s FROM t u WHERE u.k = t.k)) FROM t",
    ] {
        let error = answer(&inputs, sql).await.unwrap_err();
        assert!(error.contains("more than one row"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn to_say_it_twice_changes_nothing() {
    let (_context, inputs) = inputs();
    let sql = "SELECT x IS NULL, (SELECT 1 WHERE x IS NULL) FROM
               (SELECT k AS x FROM t UNION ALL SELECT (SELECT k FROM t WHERE k > 4)) u";
    let plan = inputs.state.create_logical_plan(sql).await.unwrap();
    let options = inputs.state.config_options();
    let once = |plan: LogicalPlan| SubqueryNulls.analyze(plan, options).unwrap();
    let first = once(plan.clone());
    assert_ne!(plan, first);
    assert_eq!(first, once(first.clone()));
}
