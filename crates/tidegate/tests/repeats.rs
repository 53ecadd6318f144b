//! What `EXPLAIN` says of running a stage again, proved: durable jobs of the same statement, in other threads and with
//! their tasks in another order, seal the same bits where a stage is `exact`, and give the same rows where none varies.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../../tidegate-plan/tests/tpch/data.rs"]
mod data;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tidegate::{Origin, Session, Settings};
use tidegate_checkpoint::RealVfs;
use tidegate_checkpoint::job::{JobName, Jobs, Record, TaskKey};

use data::{TABLES, queries, write_tables};

/// Threads and how tasks are scheduled.
const WAYS: [(usize, &str); 5] = [
    (1, "fifo"),
    (2, "round_robin"),
    (7, "longest_first"),
    (2, "critical_path"),
    (7, "priority"),
];

/// Where sums of doubles and ties would show it.
const MORE: [&str; 6] = [
    "SELECT l_returnflag, sum(CAST(l_extendedprice AS DOUBLE) * 0.1) AS s, avg(CAST(l_tax AS DOUBLE) / 3) AS a
     FROM lineitem GROUP BY l_returnflag ORDER BY l_returnflag",
    "SELECT sum(CAST(l_extendedprice AS DOUBLE) / 7) AS s, avg(l_quantity / 3e0) AS a, avg(l_linenumber) AS n FROM lineitem",
    "SELECT l_orderkey, l_linenumber, l_shipmode FROM lineitem ORDER BY l_shipmode",
    "SELECT l_orderkey, l_linenumber, l_shipmode FROM lineitem ORDER BY l_shipmode LIMIT 20",
    "SELECT o_custkey, sum(CAST(o_totalprice AS DOUBLE) / 3) AS s FROM orders JOIN lineitem ON o_orderkey = l_orderkey
     GROUP BY o_custkey ORDER BY s DESC LIMIT 5",
    "SELECT CAST(l_discount AS DOUBLE) AS d, count(*) AS c FROM lineitem GROUP BY d ORDER BY c",
];

fn session(dir: &Path, jobs: &Path, (threads, scheduling): (usize, &str)) -> Session {
    let settings = Settings::default().threads(threads).job_dir(jobs);
    let mut settings = settings.memory_limit("1GiB").unwrap();
    for (name, value) in [
        ("partitions", "5"),
        ("checkpoint.mode", "all"),
        ("scheduling", scheduling),
    ] {
        settings.set(name, value, Origin::Flag).unwrap();
    }
    let session = Session::builder()
        .seed(7)
        .settings(settings)
        .build()
        .unwrap();
    for table in TABLES {
        let path = dir.join(table);
        let view = format!("CREATE VIEW {table} AS SELECT * FROM '{}/'", path.display());
        let made = async { session.sql(&view).await?.collect().await };
        session.block_on(made).unwrap();
    }
    session
}

/// What a statement gave, and the hash of everything it sealed.
fn run(dir: &Path, way: (usize, &str), sql: &str) -> (Vec<String>, BTreeMap<TaskKey, String>) {
    let jobs = tempfile::tempdir().unwrap();
    let session = session(dir, jobs.path(), way);
    let job = session.job("again").sql(sql).open().unwrap();
    let batches = session.block_on(async { job.query(0).await?.collect().await });
    let text = arrow::util::pretty::pretty_format_batches(&batches.unwrap()).unwrap();
    let rows = text.to_string().lines().map(String::from).collect();
    drop(job);
    let name: JobName = "again".parse().unwrap();
    let store = Jobs::new(Arc::new(RealVfs), jobs.path().into(), Arc::new(|| 0));
    let records = store.look(&name).unwrap().unwrap().records.into_iter();
    let sealed = records.filter_map(|record| match record {
        Record::Sealed { key, blake3, .. } => Some((key, blake3)),
        _ => None,
    });
    (rows, sealed.collect())
}

/// What is said of each stage, by its number.
fn classes(dir: &Path, sql: &str) -> BTreeMap<u32, String> {
    let jobs = tempfile::tempdir().unwrap();
    let session = session(dir, jobs.path(), WAYS[0]);
    let explain = format!("EXPLAIN (DURABLE, FORMAT json) {sql}");
    let explained = session.block_on(async { session.sql(&explain).await?.collect().await });
    let text = arrow::util::pretty::pretty_format_batches(&explained.unwrap()).unwrap();
    let text = text.to_string();
    let lines = text.lines().filter(|line| line.starts_with("| ")).skip(1);
    let json: String = lines
        .map(|line| line.trim_matches(|c| c == '|').trim())
        .collect();
    let graph: serde_json::Value = serde_json::from_str(&json).unwrap();
    let stages = graph["stages"].as_array().unwrap().iter();
    stages
        .map(|stage| {
            let number = stage["stage"].as_u64().unwrap();
            (
                number as u32,
                stage["run_again"].as_str().unwrap().to_string(),
            )
        })
        .collect()
}

#[test]
fn an_exact_stage_seals_the_same_bits_each_time() {
    let dir = tempfile::tempdir().unwrap();
    write_tables(dir.path());
    let statements = queries().into_iter().map(|(_, sql)| sql);
    let statements = statements.chain(MORE.map(String::from));
    let (mut exact, mut unordered, mut varies, mut answers) = (0, 0, 0, 0);
    for sql in statements {
        let classes = classes(dir.path(), &sql);
        let (rows, sealed) = run(dir.path(), WAYS[0], &sql);
        assert!(!sealed.is_empty(), "{sql}");
        let any_varies = classes.values().any(|class| class == "varies");
        let is_exact = |key: &TaskKey| classes[&key.stage] == "exact";
        for way in &WAYS[1..] {
            let (again, sealed_again) = run(dir.path(), *way, &sql);
            assert_eq!(sealed_again.len(), sealed.len(), "{way:?} {sql}");
            for (key, hash) in sealed.iter().filter(|(key, _)| is_exact(key)) {
                assert_eq!(&sealed_again[key], hash, "task {key} {way:?} {sql}");
            }
            if !any_varies {
                let sorted = |rows: &Vec<String>| {
                    let mut rows = rows.clone();
                    rows.sort();
                    rows
                };
                match sql.contains("ORDER BY") || sql.contains("order by") {
                    true => assert_eq!(again, rows, "{way:?} {sql}"),
                    false => assert_eq!(sorted(&again), sorted(&rows), "{way:?} {sql}"),
                }
                answers += 1;
            }
        }
        exact += sealed.keys().filter(|key| is_exact(key)).count();
        for class in classes.values() {
            unordered += usize::from(class == "unordered");
            varies += usize::from(class == "varies");
        }
    }
    assert!(exact > 50, "{exact} exact tasks");
    assert!(answers > 100, "{answers} answers");
    println!(
        "{exact} exact tasks, {unordered} unordered stages, {varies} that vary; {answers} answers alike"
    );
}

#[test]
fn random_numbers_follow_from_the_seed_of_the_session_and_from_nothing_else() {
    let drawn = |seed: Option<u64>| {
        let builder = Session::builder();
        let session = match seed {
            Some(seed) => builder.seed(seed),
            None => builder,
        };
        let session = session.build().unwrap();
        let draw = || {
            let rows = async {
                session
                    .sql("SELECT random(), uuid()")
                    .await?
                    .collect()
                    .await
            };
            let rows = session.block_on(rows).unwrap();
            arrow::util::pretty::pretty_format_batches(&rows)
                .unwrap()
                .to_string()
        };
        (draw(), draw())
    };
    let (one, two) = drawn(Some(1));
    assert_ne!(one, two);
    assert_eq!(drawn(Some(1)), (one.clone(), two));
    assert_ne!(drawn(Some(2)).0, one);
    assert_ne!(drawn(None).0, drawn(None).0);
}
