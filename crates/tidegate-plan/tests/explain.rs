//! EXPLAIN's text is a promise: read the difference before you accept it.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::datasource::MemTable;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use tidegate_plan::{
    ExplainFormat, PlanInputs, PlanSettings, Registry, Repeats, StageGraph, compile, explain,
    explain_analyze, session_state,
};

fn inputs(partitions: usize) -> PlanInputs {
    let settings = PlanSettings {
        partitions,
        ..PlanSettings::at(chrono::DateTime::UNIX_EPOCH)
    };
    let state = session_state(&settings, Arc::new(RuntimeEnv::default()), &Registry::new());
    let context = SessionContext::new_with_state(state);
    let batch = |from: i64| {
        let keys: Vec<i64> = (from..from + 10).collect();
        let zones: Vec<&str> = keys
            .iter()
            .map(|key| if key % 3 == 0 { "north" } else { "south" })
            .collect();
        RecordBatch::try_from_iter([
            ("zone", Arc::new(StringArray::from(zones)) as ArrayRef),
            ("fare", Arc::new(Int64Array::from(keys)) as ArrayRef),
        ])
        .unwrap()
    };
    let parts = vec![vec![batch(0)], vec![batch(10)]];
    for name in ["trips", "old"] {
        let table = MemTable::try_new(parts[0][0].schema(), parts.clone()).unwrap();
        context.register_table(name, Arc::new(table)).unwrap();
    }
    PlanInputs::new(context.state(), Arc::new(settings))
}

async fn graph(inputs: &PlanInputs, sql: &str) -> StageGraph {
    let plan = inputs.state.create_logical_plan(sql).await.unwrap();
    compile(plan, inputs).await.unwrap().joined().unwrap()
}

#[tokio::test]
async fn every_word_has_its_line() {
    let inputs = inputs(2);
    let cases = [
        "select zone, sum(fare * 2 + 1) as total from trips where fare > 3 and zone like 'n%' group by zone order by total desc limit 3",
        "select t.zone, o.fare from trips t join old o on t.fare = o.fare and t.zone <> o.zone",
        "select fare, rank() over (partition by zone order by fare desc) from trips union all select fare, 1 from old limit 5",
        "select count(*) from trips where fare > (select avg(fare) from old)",
    ];
    let mut text = String::new();
    for sql in cases {
        text += &format!("{sql}\n{}\n", graph(&inputs, sql).await);
    }
    assert_eq!(text.trim(), EXPECTED.trim(), "{text}");
}

const EXPECTED: &str = include_str!("explain.txt");

#[tokio::test]
async fn parentheses_are_kept_wherever_an_expression_is_computed() {
    let inputs = inputs(2);
    let right = ["(fare + 1) * 2", "(t.fare + 1) * 2", "(o.fare - 1) * 3"];
    for sql in [
        "select (fare + 1) * 2 from trips",
        "select sum((fare + 1) * 2) from trips",
        "select zone, sum((fare + 1) * 2) as s from trips group by zone having sum((fare + 1) * 2) > 5",
        "select (fare + 1) * 2, count(*) from trips group by (fare + 1) * 2 order by (fare + 1) * 2",
        "select t.zone from trips t join old o on (t.fare + 1) * 2 = (o.fare - 1) * 3",
        "select sum((fare + 1) * 2) over (partition by (fare + 1) * 2 order by zone) from trips",
        "select a from (select (fare + 1) * 2 as a from trips) where a > 3",
    ] {
        for verbose in [false, true] {
            let text = explain(&graph(&inputs, sql).await, verbose, ExplainFormat::Text);
            let sections = text
                .split("\n\n")
                .filter(|part| !part.starts_with("operators:"));
            let steps = sections.collect::<Vec<_>>().join("\n");
            assert!(
                right.iter().any(|right| steps.contains(right)),
                "{sql}\n{text}"
            );
            for wrong in ["fare + 1 * 2", "fare - 1 * 3"] {
                assert!(!steps.contains(wrong), "{sql}\n{text}");
            }
        }
    }
}

#[tokio::test]
async fn a_graph_can_be_drawn() {
    let inputs = inputs(2);
    let sql = "select zone, count(*) from trips where zone < 'x\"y' group by zone";
    let graph = graph(&inputs, sql).await;
    let text = explain(&graph, false, ExplainFormat::Graphviz);
    assert!(
        text.starts_with("digraph plan {") && text.trim_end().ends_with('}'),
        "{text}"
    );
    assert!(
        text.contains("s0_1 -> s0_0") && text.contains("'x\\\"y'"),
        "{text}"
    );
    let page = explain(&graph, false, ExplainFormat::Html);
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.contains("</html>"),
        "{page}"
    );
    assert!(
        page.contains("&lt; 'x&quot;y'") && !page.contains("http"),
        "{page}"
    );
    assert_eq!(page.matches("<li>").count(), page.matches("</li>").count());
}

#[tokio::test]
async fn what_running_again_gives_is_said_honestly() {
    let (one, two) = (inputs(1), inputs(2));
    for (sql, alone, together) in [
        ("select * from trips", Repeats::AnyOrder, Repeats::AnyOrder),
        ("select 1", Repeats::Exactly, Repeats::Exactly),
        (
            "select fare, zone from trips order by fare, zone",
            Repeats::Exactly,
            Repeats::Exactly,
        ),
        (
            "select fare, zone from trips order by fare",
            Repeats::AnyOrder,
            Repeats::AnyOrder,
        ),
        (
            "select fare, zone from trips order by fare limit 3",
            Repeats::Varies,
            Repeats::Varies,
        ),
        (
            "select fare from trips order by fare limit 3",
            Repeats::Exactly,
            Repeats::Exactly,
        ),
        (
            "select fare from trips limit 3",
            Repeats::Varies,
            Repeats::Varies,
        ),
        (
            "select zone, sum(fare) from trips group by zone",
            Repeats::AnyOrder,
            Repeats::AnyOrder,
        ),
        (
            "select zone, avg(fare) from trips group by zone",
            Repeats::Varies,
            Repeats::Varies,
        ),
        (
            "select array_agg(fare) from trips",
            Repeats::Varies,
            Repeats::Varies,
        ),
        (
            "select random() from trips",
            Repeats::Varies,
            Repeats::Varies,
        ),
        (
            "select rank() over (order by zone) from trips",
            Repeats::AnyOrder,
            Repeats::AnyOrder,
        ),
        (
            "select fare, row_number() over (order by zone) from trips",
            Repeats::Varies,
            Repeats::Varies,
        ),
        (
            "select t.fare from trips t join old o using (fare)",
            Repeats::AnyOrder,
            Repeats::AnyOrder,
        ),
    ] {
        assert_eq!(graph(&one, sql).await.result().repeats, alone, "{sql}");
        assert_eq!(graph(&two, sql).await.result().repeats, together, "{sql}");
    }
}

#[tokio::test]
async fn analyze_counts_rows_and_verbose_says_more() {
    let inputs = inputs(2);
    let graph = graph(
        &inputs,
        "select zone, count(*) from trips where fare < 5 group by zone",
    )
    .await;
    let plan = Arc::clone(&graph.result().plan);
    collect(plan, inputs.state.task_ctx()).await.unwrap();
    let text = explain_analyze(&graph, None, false, ExplainFormat::Text);
    assert!(
        text.lines()
            .any(|line| line.contains("where fare < 5") && line.contains("5 rows")),
        "{text}"
    );
    assert!(
        text.lines()
            .all(|line| line.is_empty() || line.starts_with("stage") || line.contains(" ms")),
        "{text}"
    );
    let verbose = explain(&graph, true, ExplainFormat::Text);
    assert!(
        verbose.contains("run again: unordered") && verbose.contains("FilterExec"),
        "{verbose}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&explain_analyze(&graph, None, false, ExplainFormat::Json)).unwrap();
    assert_eq!(json["stages"][1]["steps"]["measured"]["rows"], 2);
    assert!(
        "xml"
            .parse::<ExplainFormat>()
            .unwrap_err()
            .to_string()
            .contains("graphviz")
    );
}

#[tokio::test]
async fn sums_that_share_an_argument_are_one_sum() {
    let inputs = inputs(2);
    let graph = graph(
        &inputs,
        "select sum(fare + 1) a, sum(fare + 2), sum(3 + fare) from trips",
    )
    .await;
    let text = graph.to_string();
    assert!(text.contains("partial: sum(fare), count(fare)"), "{text}");
    let rows = collect(Arc::clone(&graph.result().plan), inputs.state.task_ctx())
        .await
        .unwrap();
    let rows = arrow::util::pretty::pretty_format_batches(&rows)
        .unwrap()
        .to_string();
    assert!(rows.contains("| 210 | 230 "), "{rows}");
    assert!(rows.contains("sum(trips.fare + Int64(2))"), "{rows}");
}

#[tokio::test]
async fn a_heavy_key_is_shown() {
    let inputs = inputs(2);
    let sql = "select k, count(*) from (select fare, case when fare < 18 then 0 else fare end as k from trips) \
               join old using (fare) group by k, fare";
    let even = graph(&inputs, sql).await;
    collect(Arc::clone(&even.result().plan), inputs.state.task_ctx())
        .await
        .unwrap();
    let text = explain_analyze(&even, None, false, ExplainFormat::Text);
    assert!(!text.contains("% in one partition"), "{text}");
    let sql = "select row_number() over (partition by case when fare < 18 then 0 else fare end) from trips";
    let skewed = graph(&inputs, sql).await;
    collect(Arc::clone(&skewed.result().plan), inputs.state.task_ctx())
        .await
        .unwrap();
    let text = explain_analyze(&skewed, None, false, ExplainFormat::Text);
    assert!(text.contains("% in one partition"), "{text}");
}
