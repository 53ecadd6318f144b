//! How soon a query stops when its stream is dropped: `stop-time DIR QUERIES [RUNS] [SEED]`.
//!
//! Each query is dropped at seeded random moments of its run. It has stopped when the process
//! computes no more, seen from its own processor time: what still computes has not stopped, whatever
//! it said.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tidegate::Session;
use tidegate_testing::random::Random;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Idle means less processor time than this in a window of [`WINDOW`].
const IDLE: Duration = Duration::from_micros(500);
const WINDOW: Duration = Duration::from_millis(5);
const GIVE_UP: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, data, queries, rest @ ..] = arguments.as_slice() else {
        return Err("usage: stop-time DIR QUERIES [RUNS] [SEED]".into());
    };
    let runs: u64 = rest.first().map_or(Ok(20), |text| text.parse())?;
    let seed: u64 = rest.get(1).map_or(Ok(20_260_718), |text| text.parse())?;
    let session = Session::builder().build()?;
    session.block_on(session.open_directory(data))?;
    let mut paths: Vec<PathBuf> = std::fs::read_dir(queries)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|e| e == "sql"));
    paths.sort();
    let mut all = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let text = std::fs::read_to_string(path)?;
        let begin = Instant::now();
        session.block_on(async { session.sql(&text).await?.collect().await })?;
        let whole = begin.elapsed();
        let mut random = Random::of_case(seed, number as u64);
        let mut times = Vec::new();
        for _ in 0..runs {
            times.push(stop(&session, &text, whole.mul_f64(random.fraction()))?);
        }
        times.sort();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        report(&name, &times)?;
        all.extend(times);
    }
    all.sort();
    report("all", &all)
}

fn report(name: &str, times: &[Duration]) -> Result<(), Box<dyn Error>> {
    let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize];
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{name}: {} stops, median {:.1?}, 99th percentile {:.1?}, most {:.1?}",
        times.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    )?;
    Ok(())
}

/// Starts the query, drops it after `run`, and waits until nothing computes.
fn stop(session: &Session, text: &str, run: Duration) -> Result<Duration, Box<dyn Error>> {
    let stream = session.block_on(async {
        let mut stream = session.sql(text).await?.stream().await?;
        let reading = async { while stream.next().await.is_some() {} };
        // Its end is one of the moments to stop at.
        let _ = tokio::time::timeout(run, reading).await;
        Ok::<_, tidegate::Error>(stream)
    })?;
    let dropped = Instant::now();
    drop(stream);
    loop {
        let (begin, before) = (Instant::now(), processor_time());
        std::thread::sleep(WINDOW);
        if processor_time() - before < IDLE {
            return Ok(begin - dropped);
        }
        if dropped.elapsed() > GIVE_UP {
            return Err(format!("still computing {GIVE_UP:?} after it was dropped").into());
        }
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
