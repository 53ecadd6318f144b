//! Sub-commands that need no session: settings, completions, the manual page, the version.

use std::sync::Arc;

use clap::builder::StyledStr;
use tidegate::arrow::array::{ArrayRef, RecordBatch, StringArray};

use crate::args::{self, Print, Typed};
use crate::config::Config;
use crate::console::{self, Console};
use crate::demo;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::{Format, Look, RenderError, whole};

/// Runs a sub-command.
pub(crate) fn run(
    what: &Print,
    typed: &Typed,
    config: &Config,
    console: &Console,
) -> Result<Exit, Failure> {
    stands_alone(typed)?;
    match what {
        Print::Config { show_origin } => settings(*show_origin, config, console),
        Print::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut args::command(), "tidegate", &mut script);
            print(&script)
        }
        Print::Demo(what) => {
            demo::check(what.dir.as_deref())?;
            demo::run(what)
        }
        Print::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(args::command())
                .render(&mut page)
                .map_err(|error| Failure::io("cannot make the manual page", error))?;
            print(&page)
        }
    }
}

/// A sub-command is not mixed with a run of SQL.
pub(crate) fn stands_alone(typed: &Typed) -> Result<(), Failure> {
    let args = &typed.args;
    if !typed.given.is_empty() || !args.paths.is_empty() || args.output.is_some() {
        let message = "a sub-command stands alone: it takes no other path, no SQL and no -o";
        return Err(Failure::usage("bad_call", message));
    }
    Ok(())
}

/// Prints the text of `--help`.
pub(crate) fn help(console: &Console, text: &StyledStr) -> Exit {
    let text = match console.stdout_color {
        true => text.ansi().to_string(),
        false => text.to_string(),
    };
    print(text.as_bytes()).unwrap_or_else(|failure| {
        crate::report::failure(console, &failure, None);
        failure.exit()
    })
}

/// Prints what this program is and what it is made of.
pub(crate) fn version() -> Result<Exit, Failure> {
    let text = format!(
        "tidegate   {}\ncompatible {}\narrow      {}\ndatafusion {}\n",
        env!("CARGO_PKG_VERSION"),
        tidegate::compat_id(),
        tidegate::arrow::ARROW_VERSION,
        tidegate::DATAFUSION_VERSION,
    );
    print(text.as_bytes())
}

fn settings(show_origin: bool, config: &Config, console: &Console) -> Result<Exit, Failure> {
    let rows = config.settings.rows();
    let names = rows.iter().map(|row| row.name.to_string());
    let values = rows.iter().map(|row| row.value.clone());
    let origins = rows.iter().map(|row| row.origin.to_string());
    let mut columns = vec![("name", strings(names)), ("value", strings(values))];
    if show_origin {
        columns.push(("origin", strings(origins)));
    }
    let batch =
        RecordBatch::try_from_iter(columns).map_err(|e| RenderError::from(e).on_stdout())?;
    let auto = match console.stdout_terminal {
        true => Format::Table,
        false => Format::csv(),
    };
    let named = config.settings.get("format").unwrap_or_default();
    let look = Look {
        width: console.stdout_terminal.then(|| console.width()),
        color: console.stdout_color,
        max_rows: 0,
        ..Look::full(&config.settings)
    };
    let format = Format::of_name(&named).unwrap_or(auto);
    let mut out = Vec::new();
    whole(&batch, &format, &look, &mut out).map_err(RenderError::on_stdout)?;
    print(&out)
}

fn strings(texts: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(texts.map(Some).collect::<StringArray>())
}

fn print(text: &[u8]) -> Result<Exit, Failure> {
    console::print(text).map(|()| Exit::Done)
}
