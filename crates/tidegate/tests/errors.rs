//! A golden table of what users get wrong and the exact text they get: `errors/*.txt` holds the
//! statements and the answers, a group of them in a session of its own over files of its own.
//!
//! `TIDEGATE_ERRORS=csv` runs only the files whose name contains `csv`; `TIDEGATE_ERRORS_UPDATE=1`
//! writes what came out into them. Read the difference as a user would before you accept it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod errors {
    pub(crate) mod fixture;
    pub(crate) mod table;
}

use std::path::Path;
use std::time::Duration;

use errors::table::{Case, Group, Step};
use errors::{fixture, table};
use tidegate::{Error, ErrorKind, Session, Settings};

/// No statement of the table may take longer.
const CASE_TIME: Duration = Duration::from_secs(20);

/// At least this many mistakes are in the table.
const CASES_MIN: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mistake_is_answered_as_the_table_says() {
    let only = std::env::var("TIDEGATE_ERRORS").unwrap_or_default();
    let update = std::env::var("TIDEGATE_ERRORS_UPDATE").is_ok();
    let mut wrong = Vec::new();
    let mut ran = 0;
    for file in table::files(&only) {
        let mut groups = table::read(&file);
        for group in &mut groups {
            ran += answer(group, &mut wrong, update).await;
        }
        if update {
            table::write(&file, &groups);
        }
    }
    assert!(
        ran >= CASES_MIN || !only.is_empty(),
        "only {ran} mistakes in the table"
    );
    assert!(
        wrong.is_empty(),
        "{} of {ran} answers are wrong\n\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

/// Runs a group in a session of its own; gives the number of its mistakes.
async fn answer(group: &mut Group, wrong: &mut Vec<String>, update: bool) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path().canonicalize().unwrap();
    fixture::make(&top).await;
    let session = session(group, &top);
    let mut ran = 0;
    for step in &mut group.steps {
        match step {
            Step::Comment(_) => {}
            Step::Setup(sql) => {
                let done = run(&session, sql).await;
                done.unwrap_or_else(|error| panic!("{sql}: {}", error.message));
            }
            Step::Case(case) => {
                ran += 1;
                check(case, &session, &top, wrong, update).await;
            }
        }
    }
    ran
}

fn session(group: &Group, top: &Path) -> Session {
    let mut builder = Session::builder().working_dir(top).seed(7);
    let mut settings = Settings::default()
        .threads(2)
        .memory_limit("256MiB")
        .unwrap();
    for (name, value) in &group.options {
        match (name.as_str(), value) {
            ("read_only", _) => builder = builder.read_only(),
            ("no_network", _) => builder = builder.no_network(),
            ("allow_path", Some(path)) => builder = builder.allow_path(top.join(path)),
            ("memory_limit", Some(size)) => settings = settings.memory_limit(size).unwrap(),
            (name, _) => panic!("a group has no option {name}"),
        }
    }
    builder.settings(settings).build().unwrap()
}

async fn check(
    case: &mut Case,
    session: &Session,
    top: &Path,
    wrong: &mut Vec<String>,
    update: bool,
) {
    let sql = table::expand(&case.sql);
    let outcome = tokio::time::timeout(CASE_TIME, run(session, &sql)).await;
    let error = match outcome {
        Ok(Err(error)) => error,
        Ok(Ok(())) => return wrong.push(format!("{}: this is no mistake", case.sql)),
        Err(_) => return wrong.push(format!("{}: this hangs", case.sql)),
    };
    let shown = table::show(&error, &sql, &top.display().to_string());
    for broken in broken_rules(&error) {
        wrong.push(format!("{}\n{shown}\n  broken rule: {broken}", case.sql));
    }
    if shown != case.answer && !update {
        wrong.push(format!(
            "{}\nwanted\n{}\ngot\n{shown}",
            case.sql, case.answer
        ));
    }
    case.answer = shown;
}

/// Every statement of a script, to its last row.
async fn run(session: &Session, sql: &str) -> Result<(), Error> {
    for statement in &session.script(sql)?.statements {
        session.statement(statement).await?.collect().await?;
    }
    Ok(())
}

/// What no answer to a user may be: the list holds for all mistakes, today's and tomorrow's.
fn broken_rules(error: &Error) -> Vec<String> {
    const INSIDES: [&str; 31] = [
        "Internal",
        "internal error",
        "Optimizer",
        "DataFusion",
        "Arrow error",
        "Parquet error",
        "Utf8",
        "Int64",
        "Int32",
        "UInt64",
        "Float64",
        "Decimal128",
        "Date32",
        "Some(",
        "None",
        "Schema",
        "LogicalPlan",
        "Expr",
        "ScalarValue",
        "TableScan",
        "Struct",
        "Field",
        "DataType",
        "::",
        "Error",
        "error:",
        "\n",
        "\u{1}",
        "?table?",
        "sqlparser",
        "Column {",
    ];
    let mut broken = Vec::new();
    for text in std::iter::once(&error.message).chain(&error.hint) {
        for mark in INSIDES {
            if text.contains(mark) {
                broken.push(format!("shows insides: {mark:?} in {text:?}"));
            }
        }
        if text.ends_with('.') && !text.ends_with("…") {
            broken.push(format!("ends in a full stop: {text:?}"));
        }
        if !starts_low(text) {
            broken.push(format!("starts with a capital: {text:?}"));
        }
    }
    if error.kind == ErrorKind::Sql && error.span.is_none() {
        broken.push("does not say where in the SQL text".to_string());
    }
    if error.kind == ErrorKind::Bug {
        broken.push("calls a mistake of the user a defect".to_string());
    }
    broken
}

/// Lower case, a quoted thing, or a word of SQL, which is all capitals.
fn starts_low(text: &str) -> bool {
    let word = text.split(|c: char| !c.is_alphanumeric()).next();
    match word {
        Some(word) => !word.starts_with(char::is_uppercase) || word == word.to_uppercase(),
        None => false,
    }
}
