//! The command line of Tidegate: arguments, settings, streams, exit codes and the REPL. It sees
//! nothing of the engine but the public API of `tidegate`.

mod args;
mod call;
mod config;
mod console;
mod defect;
mod demo;
mod examine;
mod exit;
mod failure;
mod jobs;
mod log;
mod memory;
mod open;
mod params;
mod progress;
mod render;
mod repl;
mod report;
mod run;
mod shell;
mod signals;
mod stdin;
mod verbs;

use std::process::ExitCode;
use std::time::Duration;

use args::{Parsed, Typed, Verb};
use call::{Call, Task};
use config::{Config, Files};
use console::{Console, ErrorForm, Loudness};
use exit::Exit;
use failure::Failure;
use shell::Shell;
use signals::Signals;

/// How long what a query still does may delay the end of the process: writes that were stopped
/// remove what they staged.
const END_WAIT: Duration = Duration::from_secs(2);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    memory::begin();
    defect::guard(program).into()
}

fn program() -> Exit {
    match args::parse(std::env::args_os()) {
        Ok(Parsed::Typed(typed)) => start(*typed),
        Ok(Parsed::Help(text)) => verbs::help(&before_settings(), &text),
        Err(failure) => {
            report::failure(&before_settings(), &failure, None);
            failure.exit()
        }
    }
}

/// The console of a call whose flags could not be read.
fn before_settings() -> Console {
    let errors = match std::env::args_os().any(|arg| arg == "--json-errors") {
        true => ErrorForm::Json,
        false => ErrorForm::Text,
    };
    Console::new(&tidegate::Settings::default(), Loudness::Normal, errors)
}

/// Does what was typed, once it is known.
fn start(typed: Typed) -> Exit {
    let config = match settings(&typed) {
        Ok(config) => config,
        Err(wrong) => {
            let source = wrong.source.as_ref();
            report::failure(&before_settings(), &wrong.failure, source);
            return wrong.failure.exit();
        }
    };
    let console = console(&typed, &config);
    for warning in &config.warnings {
        report::warning(&console, warning);
    }
    let outcome = match (&typed.verb, typed.args.version) {
        (_, true) => verbs::version(),
        (Some(Verb::Print(what)), false) => verbs::run(what, &typed, &config, &console),
        (Some(Verb::Examine(_) | Verb::Job(_)) | None, false) => {
            in_session(typed, &config, console.clone())
        }
    };
    outcome.unwrap_or_else(|failure| {
        report::failure(&console, &failure, None);
        failure.exit()
    })
}

fn settings(typed: &Typed) -> Result<Config, Box<config::Located>> {
    let files = match typed.args.no_rc {
        true => Files::Ignore,
        false => Files::Read,
    };
    let mut flags = typed.settings.clone();
    if typed.args.no_pager {
        flags.push(("pager", "never".into()));
    }
    config::resolve(files, &flags)
}

fn console(typed: &Typed, config: &Config) -> Console {
    let loudness = match (typed.args.quiet, typed.args.verbose) {
        (true, _) => Loudness::Quiet,
        (false, true) => Loudness::Verbose,
        (false, false) => Loudness::Normal,
    };
    let errors = match typed.args.json_errors {
        true => ErrorForm::Json,
        false => ErrorForm::Text,
    };
    Console::new(&config.settings, loudness, errors)
}

/// Opens a session and runs SQL in it, or the REPL.
fn in_session(typed: Typed, config: &Config, console: Console) -> Result<Exit, Failure> {
    let log = typed.args.log_file.as_deref().map(log::Log::open);
    let signals = Signals::install();
    let call = match &typed.verb {
        Some(Verb::Examine(what)) => {
            verbs::stands_alone(&typed)?;
            Call::examination(what.clone())
        }
        Some(Verb::Job(what)) => {
            verbs::stands_alone(&typed)?;
            jobs::call(what, &config.settings)?
        }
        // It reads the statements, perhaps from a pipe.
        _ => signals.while_idle(|| Call::new(typed.args, &typed.given, &config.settings))?,
    };
    let shell = Shell {
        console,
        signals,
        log: log.transpose()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start", error))?;
    let work = async {
        let session = tokio::select! {
            biased;
            _ = shell.signals.wait() => return Err(run::interrupted()),
            session = open::session(&call, config, &shell.console) => session?,
        };
        memory::let_go_of_code();
        let exit = match &call.task {
            Task::Run(run) => run::run(&session, &shell, run).await,
            Task::Examine(what) => examine::run(&session, &shell, what).await?,
            Task::Jobs(what) => jobs::look(&session, &shell, what)?,
            Task::Repl => repl::run(session.clone(), shell).await,
        };
        Ok((exit, session))
    };
    let outcome = runtime.block_on(async {
        tokio::pin!(work);
        tokio::select! {
            biased;
            outcome = &mut work => outcome,
            () = memory::settle() => work.await,
        }
    });
    // A call that hangs, as on a pipe nobody writes to, must not keep the process alive.
    runtime.shutdown_background();
    let (exit, session) = outcome?;
    session.close(END_WAIT);
    Ok(exit)
}
