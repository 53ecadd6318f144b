//! `demo`: a durable job of this very program is killed and taken up again, on data made for it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidegate::arrow::record_batch::RecordBatchReader;
use tidegate::write::{WriteFormat, encoder};
use tidegate::{Error, ErrorKind, JobReport, Session, Settings, format_bytes};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator,
    PartSuppGenerator, RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow,
    SupplierArrow,
};

use crate::args::Demo;
use crate::console;
use crate::exit::Exit;
use crate::failure::Failure;

/// The name of the job.
const JOB: &str = "demo";
/// Rows of a batch that is made.
const BATCH_ROWS: usize = 8192;
/// The job is killed when so many tasks are sealed.
const KILLED_AFTER_TASKS: usize = 4;
/// A job that seals nothing in this time is not waited for.
const WAIT: Duration = Duration::from_secs(600);

/// What the demo computes: the profit by nation and year (TPC-H's query 9).
const SQL: &str = "\
select nation, o_year, sum(amount) as sum_profit
from (select n_name as nation, extract(year from o_orderdate) as o_year,
             l_extendedprice * (1 - l_discount) - ps_supplycost * l_quantity as amount
      from part, supplier, lineitem, partsupp, orders, nation
      where s_suppkey = l_suppkey and ps_suppkey = l_suppkey and ps_partkey = l_partkey
        and p_partkey = l_partkey and o_orderkey = l_orderkey and s_nationkey = n_nationkey
        and p_name like '%green%')
group by nation, o_year
order by nation, o_year desc;
";

/// Runs the demo.
pub(crate) fn run(demo: &Demo) -> Result<Exit, Failure> {
    let scratch = match &demo.dir {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(|e| Failure::io("cannot make a directory", e))?),
    };
    let directory = match (&demo.dir, &scratch) {
        (Some(directory), _) => directory.clone(),
        (None, Some(scratch)) => scratch.path().to_path_buf(),
        (None, None) => std::env::temp_dir(),
    };
    Stage::new(directory, demo.scale)?.play()
}

/// Where the demo is played.
struct Stage {
    data: PathBuf,
    jobs: PathBuf,
    script: PathBuf,
    scale: f64,
    session: Session,
}

impl Stage {
    fn new(directory: PathBuf, scale: f64) -> Result<Self, Failure> {
        let (data, jobs) = (directory.join("tpch"), directory.join("jobs"));
        let script = directory.join("profit.sql");
        std::fs::create_dir_all(&data).map_err(|e| Failure::io("cannot make the directory", e))?;
        std::fs::write(&script, SQL).map_err(|e| Failure::io("cannot write the query", e))?;
        let settings = Settings::default().job_dir(&jobs);
        let session = Session::builder().settings(settings).build()?;
        Ok(Self {
            data,
            jobs,
            script,
            scale,
            session,
        })
    }

    fn play(&self) -> Result<Exit, Failure> {
        let made = Instant::now();
        self.make()?;
        say(&format!(
            "made TPC-H at scale {} in {:.1} s",
            self.scale,
            made.elapsed().as_secs_f64()
        ))?;
        let expected = self.plain()?;
        let _ = self.session.remove_job(JOB);
        say("started the query as a durable job")?;
        let mut killed = self.job()?;
        let sealed = self.wait_for_seals(&mut killed)?;
        match killed.kill() {
            Ok(()) => say(&format!("killed it (SIGKILL) after {sealed} sealed tasks"))?,
            Err(error) => return Err(Failure::io("cannot kill the job", error)),
        }
        killed
            .wait()
            .map_err(|e| Failure::io("cannot wait for the job", e))?;
        say("ran it again")?;
        let resumed = self.job()?.wait_with_output();
        let resumed = resumed.map_err(|e| Failure::io("cannot wait for the job", e))?;
        let report = self.session.job_report(JOB)?;
        let (run, reused) = report.tasks();
        say(&format!(
            "it went on: {reused} of {run} tasks ({}) were found sealed and not computed again",
            format_bytes(report.bytes_reused())
        ))?;
        self.judge(&report, &resumed.stdout, &expected)
    }

    fn judge(&self, report: &JobReport, rows: &[u8], expected: &[u8]) -> Result<Exit, Failure> {
        let lines = expected
            .split(|byte| *byte == b'\n')
            .count()
            .saturating_sub(2);
        match (rows == expected, report.tasks().1) {
            (true, 1..) => {
                say(&format!(
                    "the answer, {lines} rows, is that of the query that nobody killed"
                ))?;
                Ok(Exit::Done)
            }
            (true, 0) => Err(wrong(
                "nothing of the job was used again: it was killed too early",
            )),
            (false, _) => Err(wrong(
                "the answer is not that of the query that nobody killed",
            )),
        }
    }

    /// Makes the tables, unless they are there.
    fn make(&self) -> Result<(), Failure> {
        let scale = self.scale;
        macro_rules! table {
            ($name:literal, $arrow:ident, $generator:ident) => {
                let rows = $arrow::new($generator::new(scale, 1, 1));
                self.table($name, rows.with_batch_size(BATCH_ROWS))?;
            };
        }
        table!("customer", CustomerArrow, CustomerGenerator);
        table!("lineitem", LineItemArrow, LineItemGenerator);
        table!("nation", NationArrow, NationGenerator);
        table!("orders", OrderArrow, OrderGenerator);
        table!("part", PartArrow, PartGenerator);
        table!("partsupp", PartSuppArrow, PartSuppGenerator);
        table!("region", RegionArrow, RegionGenerator);
        table!("supplier", SupplierArrow, SupplierGenerator);
        Ok(())
    }

    fn table(&self, name: &str, rows: impl RecordBatchReader) -> Result<(), Failure> {
        let path = self.data.join(format!("{name}.parquet"));
        if path.exists() {
            return Ok(());
        }
        let failed =
            |error: &dyn std::fmt::Display| wrong(&format!("cannot make `{name}`: {error}"));
        let file = self.session.output_file(&path)?;
        let format = WriteFormat::named("parquet").map_err(|e| failed(&e))?;
        let mut file = encoder(&format, rows.schema(), file).map_err(|e| failed(&e))?;
        for batch in rows {
            let batch = batch.map_err(|e| failed(&e))?;
            file.write(&batch).map_err(|e| failed(&e))?;
        }
        file.finish().map_err(|e| failed(&e))?.commit()?;
        Ok(())
    }

    /// The answer of the query as it is.
    fn plain(&self) -> Result<Vec<u8>, Failure> {
        let mut call = self.call()?;
        call.arg(&self.data).arg("-f").arg(&self.script);
        let done = call
            .output()
            .map_err(|e| Failure::io("cannot run the query", e))?;
        match done.status.success() {
            true => Ok(done.stdout),
            false => Err(wrong(String::from_utf8_lossy(&done.stderr).trim())),
        }
    }

    fn job(&self) -> Result<Child, Failure> {
        let mut call = self.call()?;
        call.arg("run").arg(&self.script).arg(&self.data);
        call.args([
            "--job",
            JOB,
            "--checkpoint-mode",
            "all",
            "--partitions",
            "8",
        ]);
        call.arg("--job-dir").arg(&self.jobs);
        call.stdout(Stdio::piped()).stderr(Stdio::null());
        call.spawn()
            .map_err(|e| Failure::io("cannot start the job", e))
    }

    fn call(&self) -> Result<Command, Failure> {
        let program = std::env::current_exe();
        let program = program.map_err(|e| Failure::io("cannot find this program", e))?;
        let mut call = Command::new(program);
        call.args(["--no-rc", "-q", "-F", "csv"])
            .stdin(Stdio::null());
        Ok(call)
    }

    /// Waits until some of the job is sealed.
    fn wait_for_seals(&self, job: &mut Child) -> Result<usize, Failure> {
        let began = Instant::now();
        loop {
            let sealed = match self.session.job_report(JOB) {
                Ok(report) => report.tasks().0,
                // Its directory is not there yet.
                Err(error) if error.code == "unknown_job" => 0,
                Err(error) => return Err(error.into()),
            };
            if sealed >= KILLED_AFTER_TASKS {
                return Ok(sealed);
            }
            let ended = job
                .try_wait()
                .map_err(|e| Failure::io("cannot wait for the job", e))?;
            if ended.is_some() || began.elapsed() > WAIT {
                return Err(wrong("the job ended before it could be killed"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn wrong(message: &str) -> Failure {
    Failure::Failed(Error::new(ErrorKind::Io, "demo", message))
}

fn say(text: &str) -> Result<(), Failure> {
    console::print(format!("{text}\n").as_bytes())
}

/// Whether a path was given that holds something else already.
pub(crate) fn check(directory: Option<&Path>) -> Result<(), Failure> {
    match directory {
        Some(path) if path.exists() && !path.is_dir() => {
            let message = format!("`{}` is no directory", path.display());
            Err(Failure::usage("bad_path", message))
        }
        _ => Ok(()),
    }
}
