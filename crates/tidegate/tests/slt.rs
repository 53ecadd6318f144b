//! Runs every file under `sql/`: each in a session of its own, with the working directory at the
//! top of the repository and `$TMP` standing for a fresh directory.
//!
//! `TIDEGATE_SLT=select` runs only files whose path contains `select`; `TIDEGATE_SLT_UPDATE=1`
//! writes what came out into the files. Read the difference before you accept it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tidegate::{Error, Origin, QueryKind, Session, Settings};
use tidegate_testing::slt::rows;
use tidegate_testing::slt::sqllogictest::{
    AsyncDB, DBOutput, DefaultColumnType, Runner, default_column_validator, default_normalizer,
    default_validator,
};

struct Database {
    session: Session,
    directory: tempfile::TempDir,
}

/// An error as a user reads it: the line, then what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failure(String);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure(match error.hint {
            Some(hint) => format!("{}: {} ({hint})", error.code, error.message),
            None => format!("{}: {}", error.code, error.message),
        })
    }
}

#[async_trait]
impl AsyncDB for Database {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let sql = sql.replace("$TMP", &self.directory.path().display().to_string());
        let mut last = DBOutput::StatementComplete(0);
        for statement in &self.session.script(&sql)?.statements {
            let query = self.session.statement(statement).await?;
            let (kind, schema) = (query.kind(), query.schema());
            let handle = query.handle();
            let batches = query.collect().await?;
            let notices = handle.notices();
            let undivided = notices.iter().find(|n| n.message.contains("not divided"));
            if let Some(undivided) = undivided {
                return Err(Failure(undivided.message.clone()));
            }
            if kind == QueryKind::Rows {
                last = rows(&schema, &batches).map_err(|error| Failure(error.to_string()))?;
            }
        }
        Ok(last)
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "tidegate"
    }
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "slt") {
            found.push(path);
        }
    }
}

/// The ways in which every file must give the same.
const WAYS: [&[(&str, &str)]; 3] = [
    &[],
    &[("execution", "staged"), ("partitions", "7")],
    &[("execution", "staged"), ("partitions", "1")],
];

async fn database(way: &[(&str, &str)]) -> Result<Database, Failure> {
    let mut settings = Settings::default().threads(2).memory_limit("1GiB")?;
    for (name, value) in way {
        settings.set(name, value, Origin::Flag)?;
    }
    let session = Session::builder()
        .settings(settings)
        .working_dir(top())
        .seed(7)
        .build()?;
    let directory = tempfile::tempdir().map_err(|error| Failure(error.to_string()))?;
    Ok(Database { session, directory })
}

#[tokio::test]
async fn every_file_under_sql_passes() {
    let mut found = Vec::new();
    files(&top().join("sql"), &mut found);
    found.sort();
    let only = std::env::var("TIDEGATE_SLT").unwrap_or_default();
    let update = std::env::var("TIDEGATE_SLT_UPDATE").is_ok();
    let mut failed = Vec::new();
    let mut ran = 0;
    for file in found
        .iter()
        .filter(|file| file.to_string_lossy().contains(&only))
    {
        ran += 1;
        let name = file.to_string_lossy();
        // Plans are not the same; what they give is.
        let ways = match update || name.contains("explain") {
            true => &WAYS[..1],
            false => &WAYS[..],
        };
        for way in ways {
            let mut runner = Runner::new(|| database(way));
            let outcome = match update {
                true => runner
                    .update_test_file(
                        &*name,
                        " ",
                        default_validator,
                        default_normalizer,
                        default_column_validator,
                    )
                    .await
                    .map_err(|error| error.to_string()),
                false => runner
                    .run_file_async(file)
                    .await
                    .map_err(|error| error.to_string()),
            };
            if let Err(error) = outcome {
                failed.push(format!("{name} {way:?}: {error}"));
            }
        }
    }
    assert!(ran > 0, "no file under sql/ matches `{only}`");
    assert!(
        failed.is_empty(),
        "{} of {ran} files failed\n{}",
        failed.len(),
        failed.join("\n\n")
    );
}
