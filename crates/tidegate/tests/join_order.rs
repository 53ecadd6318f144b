//! The order of joins: which reorderings are legal, that the cheap ones are found, and that `off` is the text's order.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use tidegate::Session;
use tidegate_testing::random::Random;

/// Facts point to shops and goods; shops lie in few towns.
const TABLES: [(&str, &str); 4] = [
    (
        "facts",
        "SELECT value AS id, value % 500 AS shop, value % 2000 AS good, value % 7 AS amount FROM generate_series(1, 40000) AS t(value)",
    ),
    (
        "shops",
        "SELECT value AS shop, value % 20 AS town, 'shop ' || value AS name FROM generate_series(0, 499) AS t(value)",
    ),
    (
        "goods",
        "SELECT value AS good, value % 100 AS kind FROM generate_series(0, 1999) AS t(value)",
    ),
    (
        "towns",
        "SELECT value AS town, 'town ' || value AS label FROM generate_series(0, 19) AS t(value)",
    ),
];

async fn session(directory: &Path) -> Session {
    let session = Session::builder().working_dir(directory).build().unwrap();
    for (name, rows) in TABLES {
        if !directory.join(format!("{name}.parquet")).exists() {
            let copy = format!("COPY ({rows}) TO '{name}.parquet'");
            session.sql(&copy).await.unwrap().collect().await.unwrap();
        }
        let view = format!("CREATE VIEW {name} AS SELECT * FROM '{name}.parquet'");
        session.sql(&view).await.unwrap().collect().await.unwrap();
    }
    session
}

/// The tables in the order EXPLAIN shows them: the build side of each join before its other side.
async fn scans(session: &Session, sql: &str) -> String {
    let plan = session.sql(sql).await.unwrap().explain().to_owned();
    let scans = plan.lines().filter(|line| line.contains("scan parquet"));
    let names = scans.filter_map(|line| {
        let (name, _) = line.split_once(".parquet")?;
        name.rsplit('/').next()
    });
    names.collect::<Vec<_>>().join(" ")
}

async fn set(session: &Session, name: &str, value: &str) {
    let set = format!("SET {name} = '{value}'");
    session.sql(&set).await.unwrap().collect().await.unwrap();
}

async fn rows(session: &Session, sql: &str) -> String {
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    arrow::util::pretty::pretty_format_batches(&batches)
        .unwrap()
        .to_string()
}

/// Each query, the order of its tables in the text's order, and the one that is chosen.
const ORDERS: [(&str, &str, &str, &str); 9] = [
    (
        "a comma join starts at the filtered end",
        "SELECT count(*) FROM facts f, goods g, shops s, towns t \
         WHERE f.good = g.good AND f.shop = s.shop AND s.town = t.town AND t.label = 'town 3'",
        "towns shops goods facts",
        "towns shops facts goods",
    ),
    (
        "so does an explicit one",
        "SELECT count(*) FROM facts f JOIN goods g ON f.good = g.good JOIN shops s ON f.shop = s.shop \
         JOIN towns t ON s.town = t.town WHERE t.label = 'town 3'",
        "towns shops goods facts",
        "towns shops facts goods",
    ),
    (
        "a left join stays above what it preserves",
        "SELECT count(g.kind) FROM facts f LEFT JOIN goods g ON f.good = g.good JOIN shops s ON f.shop = s.shop \
         WHERE s.town = 3",
        "shops goods facts",
        "shops goods facts",
    ),
    (
        "a semi join goes down to its owner",
        "SELECT count(*) FROM facts f JOIN shops s ON f.shop = s.shop \
         WHERE f.good IN (SELECT good FROM goods WHERE kind = 5)",
        "goods shops facts",
        "goods facts shops",
    ),
    (
        "an anti join goes down to its owner",
        "SELECT count(*) FROM facts f JOIN goods g ON f.good = g.good JOIN shops s ON f.shop = s.shop \
         WHERE NOT EXISTS (SELECT 1 FROM towns t WHERE t.town = s.town AND t.label <> 'town 3')",
        "towns shops goods facts",
        "goods towns shops facts",
    ),
    (
        "a condition on two tables waits for both",
        "SELECT count(*) FROM facts f, shops s, goods g WHERE f.shop = s.shop AND f.good = g.good AND s.town + g.kind = 7",
        "goods shops facts",
        "shops goods facts",
    ),
    (
        "a condition drawn anew for every row stays where it is",
        "SELECT count(*) FROM facts f, goods g, shops s WHERE f.good = g.good AND f.shop = s.shop AND random() < 2",
        "shops goods facts",
        "goods shops facts",
    ),
    (
        "tables without a condition between them are crossed last",
        "SELECT count(*) FROM towns t, shops s, facts f WHERE f.shop = s.shop AND s.town = 4 AND t.label = 'town 3'",
        "towns shops facts",
        "towns shops facts",
    ),
    (
        "an aggregate reads only the groups that are joined",
        "SELECT count(*) FROM facts f, goods g WHERE f.good = g.good AND g.kind = 5 \
         AND f.amount < (SELECT avg(i.amount) FROM facts i WHERE i.good = g.good)",
        "goods facts facts",
        "goods facts goods facts",
    ),
];

#[tokio::test]
async fn joins_are_ordered_by_evidence() {
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    let mut wrong = Vec::new();
    for (what, sql, text, chosen) in ORDERS {
        set(&session, "join_order", "off").await;
        let (off, expected) = (scans(&session, sql).await, rows(&session, sql).await);
        set(&session, "join_order", "auto").await;
        let (auto, found) = (scans(&session, sql).await, rows(&session, sql).await);
        assert_eq!(found, expected, "{what}");
        if (off.as_str(), auto.as_str()) != (text, chosen) {
            wrong.push(format!("{what}: off `{off}`, auto `{auto}`"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is read below an aggregate is read once more where it stands, and must be the same rows both times.
#[tokio::test]
async fn an_aggregate_is_reduced_only_by_what_can_be_read_twice() {
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    std::fs::write(directory.path().join("few.csv"), "k,v\n1,9\n2,x\n3,9\n").unwrap();
    let averages = "(SELECT good, avg(amount) AS m FROM facts GROUP BY good) x";
    let windowed = "(SELECT good, row_number() OVER (ORDER BY random()) AS r FROM goods) g";
    let sql = format!(
        "SELECT count(*) AS n FROM {averages} JOIN {windowed} ON x.good = g.good WHERE g.r <= 20"
    );
    assert!(rows(&session, &sql).await.contains("| 20 |"));
    let first = "(SELECT any_value(good) AS good FROM goods GROUP BY good % 10) g";
    let sql = format!("SELECT count(*) AS n FROM {averages} JOIN {first} ON x.good = g.good");
    assert!(rows(&session, &sql).await.contains("| 10 |"));
    let skipping = "read_csv('few.csv', on_error = 'skip', types = {'v': 'BIGINT'}) b";
    let sql = format!("SELECT count(*) AS n FROM {averages} JOIN {skipping} ON x.good = b.k");
    assert!(rows(&session, &sql).await.contains("| 2 |"));
    let rejected = rows(&session, "SELECT count(*) AS n FROM reject_rows").await;
    assert!(rejected.contains("| 1 |"), "{rejected}");
}

#[tokio::test]
async fn a_key_over_several_tables_is_hashed() {
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    let sql = "SELECT count(*) AS n FROM facts a JOIN goods g ON a.good = g.good \
               JOIN facts f ON g.kind + a.id = f.id WHERE a.id < 20000";
    let plan = session.sql(sql).await.unwrap().explain().to_owned();
    assert!(!plan.contains("row by row"), "{plan}");
    assert!(rows(&session, sql).await.contains("| 19999 |"));
}

#[tokio::test]
async fn the_same_files_give_the_same_plan() {
    let directory = tempfile::tempdir().unwrap();
    let first = session(directory.path()).await;
    let second = session(directory.path()).await;
    for (_, sql, ..) in ORDERS {
        let plans = [&first, &second].map(|session| session.sql(sql));
        let [one, other] = plans;
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        assert_eq!(one.explain(), other.explain());
    }
}

/// Joins, each with what is true of the rows of its first join.
const ESTIMATES: [(&str, &str, f64); 3] = [
    (
        "tables meet in the same alternative",
        "FROM facts f JOIN goods g ON f.good = g.good \
         WHERE f.amount BETWEEN 1 AND 2 AND g.kind = 2 OR f.amount BETWEEN 3 AND 4 AND g.kind = 4",
        229.0,
    ),
    (
        "an outer join leaves NULL where it finds nothing",
        "FROM facts f LEFT JOIN (SELECT * FROM shops WHERE town < 5) s ON f.shop = s.shop JOIN goods g ON f.good = g.good \
         WHERE s.shop IS NULL",
        30_000.0,
    ),
    (
        "a condition on groups is told by their size",
        "FROM shops s WHERE (SELECT sum(amount) FROM facts f WHERE f.shop = s.shop) > 100",
        500.0,
    ),
];

/// The rows that are expected of the first join of a plan.
async fn expected(session: &Session, sql: &str) -> f64 {
    let plan = session.sql(sql).await.unwrap().explain().to_owned();
    let join = plan.lines().find(|line| line.contains("join ")).unwrap();
    let (_, rows) = join.split_once("about ").unwrap();
    let digits: String = rows.chars().take_while(|c| *c != ' ').collect();
    digits.replace(',', "").parse().unwrap()
}

#[tokio::test]
async fn rows_are_estimated_by_what_conditions_say() {
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    let mut wrong = Vec::new();
    for (what, from, rows) in ESTIMATES {
        let found = expected(&session, &format!("SELECT count(*) {from}")).await;
        if found.max(rows) / found.min(rows) > 1.3 {
            wrong.push(format!("{what}: {found} where there are {rows}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_is_known_does_not_depend_on_the_queries_before() {
    let directory = tempfile::tempdir().unwrap();
    let lines: String = (1..=500).map(|n| format!("{n},{}\n", n % 7)).collect();
    std::fs::write(directory.path().join("t.csv"), format!("a,b\n{lines}")).unwrap();
    let plan = async |session: &Session, table: &str, bound: &str| {
        let sql =
            format!("SELECT count(*) FROM {table} t JOIN {table} u USING (b) WHERE t.a < {bound}");
        session.sql(&sql).await.unwrap().explain().to_owned()
    };
    let asked = [
        ("'t.csv'", "50"),
        ("read_csv('t.csv', all_text=true)", "'50'"),
        ("read_csv('t.csv', types={'a': 'DECIMAL(9, 2)'})", "50"),
        ("read_csv('t.csv', header=false, names=['a', 'b'])", "'50'"),
    ];
    let used = session(directory.path()).await;
    for _ in 0..2 {
        for (table, bound) in asked {
            let fresh = session(directory.path()).await;
            let fresh = plan(&fresh, table, bound).await;
            assert_eq!(plan(&used, table, bound).await, fresh, "{table}");
        }
    }
}

#[tokio::test]
async fn without_samples_joins_are_ordered_by_footers() {
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    set(&session, "sampling_budget", "0").await;
    let (what, sql, ..) = ORDERS[0];
    // One of the twenty towns is guessed, as many rows as there are goods: either may be built.
    assert_eq!(
        scans(&session, sql).await,
        "goods towns shops facts",
        "{what}"
    );
}

/// Sixty-four tables: a chain, and a star whose centre comes last.
#[tokio::test]
async fn many_tables_are_ordered_greedily() {
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    let tables: Vec<String> = (0..64).map(|at| format!("towns t{at}")).collect();
    let chain: Vec<String> = (1..64)
        .map(|at| format!("t{}.town = t{at}.town", at - 1))
        .collect();
    let star: Vec<String> = (0..63).map(|at| format!("t63.town = t{at}.town")).collect();
    for conditions in [chain, star] {
        let sql = format!(
            "SELECT count(*) AS n FROM {} WHERE {}",
            tables.join(", "),
            conditions.join(" AND ")
        );
        assert!(rows(&session, &sql).await.contains("| 20 |"));
    }
}

/// So many random graphs in every run of the tests; `benches/random_joins.py` compares more, with DuckDB too.
const GRAPHS: u64 = 150;

/// A query over two to seven small tables, joined in every way there is; its answer is one row.
fn graph(random: &mut Random) -> String {
    let column = |random: &mut Random, end: usize| {
        format!("r{}.{}", random.below(end), random.pick(&["a", "b"]))
    };
    let count = 2 + random.below(6);
    let mut source = format!("t{} r0", random.below(4));
    for at in 1..count {
        let kinds = ["JOIN", "JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN"];
        let kind = random.pick(&kinds);
        let (table, left) = (random.below(4), column(random, at));
        let right = random.pick(&["a", "b"]);
        let more = match random.below(6) {
            0 => format!(" AND {} <> r{at}.a", column(random, at)),
            1 => format!(" AND {} = r{at}.b", column(random, at)),
            _ => String::new(),
        };
        source += &format!(" {kind} t{table} r{at} ON {left} = r{at}.{right}{more}");
    }
    let mut conditions = vec!["true".to_owned()];
    for _ in 0..random.below(4) {
        let (owner, table) = (column(random, count), random.below(4));
        conditions.push(match random.below(6) {
            0 => format!("{owner} IN (SELECT a FROM t{table})"),
            1 => format!("NOT EXISTS (SELECT 1 FROM t{table} s WHERE s.a = {owner})"),
            2 => format!("EXISTS (SELECT 1 FROM t{table} s WHERE s.a = {owner} AND s.b <> r0.b)"),
            3 => format!("{owner} <= (SELECT max(s.b) FROM t{table} s WHERE s.a = {owner})"),
            4 => format!("{owner} NOT IN (SELECT b FROM t{table} WHERE b IS NOT NULL)"),
            _ => format!("{owner} > {}", random.below(3)),
        });
    }
    let sums: Vec<String> = (0..count)
        .map(|at| format!("sum(r{at}.a), sum(r{at}.b)"))
        .collect();
    format!(
        "SELECT count(*), {} FROM {source} WHERE {}",
        sums.join(", "),
        conditions.join(" AND ")
    )
}

#[tokio::test]
async fn random_graphs_give_the_same_rows_in_any_order() {
    let directory = tempfile::tempdir().unwrap();
    let session = Session::builder()
        .working_dir(directory.path())
        .build()
        .unwrap();
    for case in 0..GRAPHS {
        let random = &mut Random::of_case(20_261_125, case);
        if case % 25 == 0 {
            for table in 0..4 {
                let value = |random: &mut Random| match random.below(8) {
                    0 => "NULL".to_owned(),
                    other => (other % 5).to_string(),
                };
                let rows: Vec<String> = (0..1 + random.below(8))
                    .map(|_| format!("({}, {})", value(random), value(random)))
                    .collect();
                let (rows, limit) = (rows.join(", "), random.below(9));
                let columns = "SELECT a::BIGINT AS a, b::BIGINT AS b";
                let copy = format!(
                    "COPY ({columns} FROM (VALUES {rows}) v(a, b) LIMIT {limit}) TO 't{table}.parquet'"
                );
                session.sql(&copy).await.unwrap().collect().await.unwrap();
                let view =
                    format!("CREATE OR REPLACE VIEW t{table} AS SELECT * FROM 't{table}.parquet'");
                session.sql(&view).await.unwrap().collect().await.unwrap();
            }
        }
        let sql = graph(random);
        set(&session, "join_order", "off").await;
        let expected = rows(&session, &sql).await;
        set(&session, "join_order", "auto").await;
        assert_eq!(rows(&session, &sql).await, expected, "case {case}: {sql}");
    }
}
