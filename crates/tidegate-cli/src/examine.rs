//! `inspect` and `doctor`: what files hold, and what is wrong with them, as titled tables.

use std::io::Write;
use std::time::Instant;

use tidegate::{Report, Session};

use crate::args::Examination;
use crate::console::{self, Loudness};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::{Format, Look, RenderError, whole};
use crate::run;
use crate::shell::Shell;

/// Prints the report, and logs that it did. A file that is not sound is a failure.
pub(crate) async fn run(
    session: &Session,
    shell: &Shell,
    examination: &Examination,
) -> Result<Exit, Failure> {
    let started = Instant::now();
    if let Some(log) = &shell.log {
        let (word, path) = match examination {
            Examination::Inspect { path } => ("inspect", path),
            Examination::Doctor { path } => ("doctor", path),
        };
        log.started(&format!("{word} {path}"));
    }
    let outcome = examine(session, shell, examination).await;
    let elapsed = started.elapsed();
    match (&shell.log, &outcome) {
        (Some(log), Ok(report)) => log.done(elapsed, rows_of(report)),
        (Some(log), Err(failure)) => log.failed(elapsed, failure),
        (None, _) => {}
    }
    if shell.console.loudness >= Loudness::Verbose {
        shell.console.remark(&run::time_taken(elapsed));
    }
    Ok(match outcome?.healthy {
        true => Exit::Done,
        false => Exit::Failed,
    })
}

fn rows_of(report: &Report) -> u64 {
    let rows = report
        .sections
        .iter()
        .map(|section| section.batch.num_rows());
    rows.sum::<usize>() as u64
}

async fn examine(
    session: &Session,
    shell: &Shell,
    examination: &Examination,
) -> Result<Report, Failure> {
    let format = format(session)?;
    let examined = async {
        match examination {
            Examination::Inspect { path } => session.inspect(path).await,
            Examination::Doctor { path } => session.doctor(path).await,
        }
    };
    let report = tokio::select! {
        biased;
        _ = shell.signals.wait() => return Err(run::interrupted()),
        report = examined => report?,
    };
    let look = shell.look(&session.settings());
    let text = render(&report, &format, &look).map_err(RenderError::on_stdout)?;
    console::print(&text)?;
    Ok(report)
}

/// Tables, wherever they go, unless another format is asked for.
fn format(session: &Session) -> Result<Format, Failure> {
    let named = session.settings().get("format").unwrap_or_default();
    let format = Format::of_name(&named).unwrap_or(Format::Table);
    match format.takes_one_result() {
        false => Ok(format),
        true => {
            let message = format!("`{named}` holds one result, and a report has several");
            Err(Failure::usage("not_one_result", message).with_hint("choose json or csv"))
        }
    }
}

fn render(report: &Report, format: &Format, look: &Look) -> Result<Vec<u8>, RenderError> {
    let mut out = Vec::new();
    match is_json(format) {
        true => json(report, format, look, &mut out)?,
        false => {
            for (nth, section) in report.sections.iter().enumerate() {
                if nth > 0 {
                    out.extend_from_slice(b"\n");
                }
                title(section.title, format, &mut out)?;
                whole(&section.batch, format, look, &mut out)?;
            }
        }
    }
    Ok(out)
}

fn is_json(format: &Format) -> bool {
    matches!(Format::of_name("json"), Some(json) if json == *format)
}

/// One object: an array of rows for each section, and whether all is well.
fn json(
    report: &Report,
    format: &Format,
    look: &Look,
    out: &mut Vec<u8>,
) -> Result<(), RenderError> {
    write!(out, "{{\"healthy\":{}", report.healthy)?;
    for section in &report.sections {
        write!(out, ",\n\"{}\":", section.title.replace(' ', "_"))?;
        whole(&section.batch, format, look, out)?;
        out.truncate(out.trim_ascii_end().len());
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

/// Formats that only programs read have no titles: their columns tell sections apart.
fn title(title: &str, format: &Format, out: &mut Vec<u8>) -> Result<(), RenderError> {
    match format {
        Format::Table | Format::Line => writeln!(out, "{title}")?,
        Format::Markdown => writeln!(out, "## {title}\n")?,
        Format::Html => writeln!(out, "<h2>{title}</h2>")?,
        _ => {}
    }
    Ok(())
}
