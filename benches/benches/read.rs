//! Micro benchmarks of scans: one million rows as Parquet and as CSV, read through the front door.
//!
//! `cargo bench -p tidegate-benches --bench read`

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use tidegate::Session;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: u64 = 1_000_000;

fn main() {
    divan::main();
}

/// Rows of eight columns, shaped like order lines.
const LINES: &str = "SELECT value AS id, value % 20011 AS part, (value % 50 + 1)::DECIMAL(15, 2) AS quantity,
    ((value * 7919) % 100000)::DECIMAL(15, 2) / 100 AS price, ((value % 11)::DECIMAL(15, 2) / 100) AS discount,
    CASE value % 3 WHEN 0 THEN 'A' WHEN 1 THEN 'N' ELSE 'R' END AS flag,
    DATE '1992-01-01' + CAST(value % 2500 AS INTEGER) AS shipped,
    'line number ' || value || CASE value % 7 WHEN 0 THEN ', quoted' ELSE '' END AS comment";

/// The lines in one file, and queries over it.
struct Lines {
    session: Session,
    bytes: u64,
    _directory: tempfile::TempDir,
}

impl Lines {
    fn new(suffix: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = directory.path().join(format!("lines.{suffix}"));
        let session = Session::builder().build().expect("the defaults are valid");
        let place = path.display().to_string();
        let lines = Self {
            bytes: 0,
            _directory: directory,
            session,
        };
        lines.run(&format!("COPY ({LINES} FROM range({ROWS})) TO '{place}'"));
        let register = lines.session.register_path("lines", &place);
        lines.session.block_on(register).expect("it was written");
        let bytes = std::fs::metadata(&path).map_or(0, |found| found.len());
        Self { bytes, ..lines }
    }

    fn run(&self, sql: &str) -> usize {
        let query = async { self.session.sql(sql).await?.collect().await };
        let batches = self.session.block_on(query).expect("the query is valid");
        batches.iter().map(|batch| batch.num_rows()).sum()
    }

    fn bench(&self, bencher: Bencher, sql: &str) {
        bencher
            .counter(ItemsCount::new(ROWS))
            .counter(BytesCount::new(self.bytes))
            .bench(|| self.run(sql));
    }
}

const FORMATS: [&str; 3] = ["parquet", "csv", "ndjson"];

#[divan::bench(args = FORMATS, sample_count = 10)]
fn count(bencher: Bencher, format: &str) {
    Lines::new(format).bench(bencher, "SELECT count(*) FROM lines");
}

#[divan::bench(args = FORMATS, sample_count = 10)]
fn sum_of_decimals(bencher: Bencher, format: &str) {
    Lines::new(format).bench(bencher, "SELECT sum(price * (1 - discount)) FROM lines");
}

#[divan::bench(args = FORMATS, sample_count = 10)]
fn few_groups(bencher: Bencher, format: &str) {
    let sql = "SELECT flag, sum(quantity), avg(price), count(*) FROM lines WHERE shipped < DATE '1998-01-01' GROUP BY flag";
    Lines::new(format).bench(bencher, sql);
}

#[divan::bench(args = FORMATS, sample_count = 10)]
fn every_column(bencher: Bencher, format: &str) {
    let sql = "SELECT max(id), max(part), max(quantity), max(price), max(discount), max(flag), max(shipped), max(comment) FROM lines";
    Lines::new(format).bench(bencher, sql);
}
