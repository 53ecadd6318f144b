//! A nested-loop join that is short of memory fails; DataFusion's answers with wrong rows.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::SessionContext;
use tidegate_plan::{
    PlanInputs, PlanSettings, Registry, StageGraph, compile, decode, encode, session_state,
};

/// `l` is more than a megabyte. `r` is larger, so that the planner keeps `l` as the side held in memory, and comes in four
/// partitions; each of them matches other rows of `l`.
fn inputs(partitions: usize, memory: usize) -> PlanInputs {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_limit(memory, 1.0)
        .build_arc()
        .unwrap();
    let settings = PlanSettings {
        partitions,
        ..PlanSettings::at(chrono::DateTime::UNIX_EPOCH)
    };
    let state = session_state(&settings, runtime, &Registry::new());
    let context = SessionContext::new_with_state(state);
    let table = |key: &str, pad: &str, width: usize, parts: Vec<Vec<i64>>| {
        let part = |keys: Vec<i64>| {
            let pads: Vec<String> = keys.iter().map(|key| format!("{key:0>width$}")).collect();
            let columns = [
                (key, Arc::new(Int64Array::from(keys)) as ArrayRef),
                (pad, Arc::new(StringArray::from(pads)) as ArrayRef),
            ];
            RecordBatch::try_from_iter(columns).unwrap()
        };
        let parts: Vec<_> = parts.into_iter().map(|keys| vec![part(keys)]).collect();
        MemTable::try_new(parts[0][0].schema(), parts).unwrap()
    };
    let left = table(
        "x",
        "lpad",
        3000,
        vec![(0..250).collect(), (250..500).collect()],
    );
    let right = table(
        "y",
        "rpad",
        4500,
        (0..4)
            .map(|part| (0..125).map(|row| row * 4 + part).collect())
            .collect(),
    );
    context.register_table("l", Arc::new(left)).unwrap();
    context.register_table("r", Arc::new(right)).unwrap();
    PlanInputs::new(context.state(), Arc::new(settings))
}

async fn graph(inputs: &PlanInputs, sql: &str) -> StageGraph {
    let plan = inputs.state.create_logical_plan(sql).await.unwrap();
    compile(plan, inputs).await.unwrap().joined().unwrap()
}

async fn run(inputs: &PlanInputs, graph: &StageGraph) -> Result<String, DataFusionError> {
    let batches = collect(Arc::clone(&graph.result().plan), inputs.state.task_ctx()).await?;
    Ok(arrow::util::pretty::pretty_format_batches(&batches)?.to_string())
}

/// LEFT, SEMI, ANTI and MARK joins without an equality to hash by. Each row of `l` up to 249 matches one of `r`.
const QUERIES: [&str; 4] = [
    "select count(*), count(y), sum(length(lpad)), sum(length(rpad)) from l left join r \
     on x - y between 0 and 0 and x + y < 499 and length(rpad) > x - 9999",
    "select count(*), sum(length(lpad)) from l where exists (select 1 from r \
     where x - y between 0 and 0 and x + y < 499 and length(rpad) > x - 9999)",
    "select count(*), sum(length(lpad)) from l where not exists (select 1 from r \
     where x - y between 0 and 0 and x + y < 499 and length(rpad) > x - 9999)",
    "select count(*), sum(length(lpad)) from l where x < 0 or exists (select 1 from r \
     where x - y between 0 and 0 and x + y < 499 and length(rpad) > x - 9999)",
];

#[tokio::test]
async fn with_memory_enough_partitions_agree() {
    let (one, four) = (inputs(1, 1 << 30), inputs(4, 1 << 30));
    for sql in QUERIES {
        let expected = run(&one, &graph(&one, sql).await).await.unwrap();
        assert_eq!(
            run(&four, &graph(&four, sql).await).await.unwrap(),
            expected,
            "{sql}"
        );
    }
}

#[tokio::test]
async fn short_of_memory_it_fails_rather_than_lie() {
    let (plenty, short) = (inputs(1, 1 << 30), inputs(4, 1 << 19));
    for sql in QUERIES {
        let expected = run(&plenty, &graph(&plenty, sql).await).await.unwrap();
        let graph = graph(&short, sql).await;
        match run(&short, &graph).await {
            Ok(found) => assert_eq!(
                found,
                expected,
                "{sql}\n{}",
                displayable(graph.result().plan.as_ref()).indent(false)
            ),
            Err(error) => {
                assert!(
                    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)),
                    "{error}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_guard_is_there_and_survives_encoding() {
    let inputs = inputs(4, 1 << 30);
    for (sql, join) in QUERIES
        .iter()
        .zip(["Left", "LeftSemi", "LeftAnti", "LeftMark"])
    {
        let graph = graph(&inputs, sql).await;
        let text = |plan: &dyn ExecutionPlan| displayable(plan).indent(false).to_string();
        let plan = text(graph.result().plan.as_ref());
        assert!(
            plan.contains(&format!("NestedLoopJoinExec: join_type={join},")),
            "{plan}"
        );
        assert_eq!(
            plan.matches("SpillScopeExec: forbidden").count(),
            1,
            "{plan}"
        );
        assert_eq!(plan.matches("SpillScopeExec: allowed").count(), 2, "{plan}");
        let decoded = decode(&encode(graph.result()).unwrap(), &Registry::new()).unwrap();
        assert_eq!(text(decoded.plan.as_ref()), plan);
    }
}
