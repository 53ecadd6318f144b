//! Uses a session from plain threads, without any async runtime.
#![allow(clippy::print_stdout)]

use std::thread;

use tidegate::Session;

/// Four threads share one session.
pub fn run() -> Result<usize, tidegate::Error> {
    let session = Session::builder().build()?;
    let workers: Vec<_> = (0..4)
        .map(|n| {
            let session = session.clone();
            thread::spawn(move || {
                let query =
                    session.block_on(session.sql(&format!("SELECT value FROM range({n}, 10)")))?;
                let batches = session.block_on(query.collect())?;
                Ok(batches.iter().map(|batch| batch.num_rows()).sum::<usize>())
            })
        })
        .collect();
    let mut rows = 0;
    for worker in workers {
        rows += worker.join().expect("no worker panics")?;
    }
    Ok(rows)
}

fn main() -> Result<(), tidegate::Error> {
    println!("{} rows", run()?);
    Ok(())
}
