//! What was typed. Flags of settings come from the table of settings, so that each has one name
//! everywhere; the rest is written out here. Nothing is looked up or decided: see `call`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, StyledStr};
use clap::error::{ContextKind, ContextValue, ErrorKind as ClapKind};
use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches, Subcommand};
use tidegate::{SettingDef, Settings};

use crate::failure::Failure;
use crate::render::Format;

/// Settings that are on or off: their flags take no value.
const SWITCHES: &[&str] = &["durable", "no_network", "read_only", "speculation"];
/// Settings whose flags can be given more than once.
const LISTS: &[&str] = &["allow_path"];
/// What separates the values of a list.
const LIST_SEPARATOR: &str = ":";

const AFTER_HELP: &str = "\
SQL comes from -c, from -f, or from standard input if that is not a terminal; without any of them \
the REPL opens. A PATH that is called like a sub-command is written with a directory: `./inspect`.

Exit codes: 0 done, 1 SQL or run-time error, 2 wrong call, 3 a durable job stopped and can be taken up again, 4 a limit was reached, 5 denied by the \
sandbox, 130 interrupted.";

/// The flags that are not settings.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directories whose files become tables, or files that become tables
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Run this SQL; may be given again
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    command: Vec<String>,
    /// Run the SQL of this file, `-` for standard input; may be given again
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Write the result to this file, whole or not at all; its suffix says the format
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Bind $NAME: 7 is an integer, 1.50 a decimal, 2024-01-31 a date, true, false, null, 'quoted'
    /// or anything else a text
    #[arg(
        short = 'p',
        long = "param",
        value_name = "NAME=VALUE",
        allow_hyphen_values = true
    )]
    pub(crate) params: Vec<String>,
    /// Say nothing on standard error but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more: the time each statement took
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Show no result in a pager
    #[arg(long)]
    pub(crate) no_pager: bool,
    /// Read no configuration file
    #[arg(long, global = true)]
    pub(crate) no_rc: bool,
    /// Write errors as one JSON object a line
    #[arg(long, global = true)]
    pub(crate) json_errors: bool,
    /// Go on with the next statement after an error
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Append a line for the start and the end of each statement to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
    /// Print the version and what it is made of
    #[arg(short = 'V', long)]
    pub(crate) version: bool,
}

/// What to do instead of running SQL.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Verb {
    /// Durable jobs; needs a session.
    #[command(flatten)]
    Job(JobCall),
    /// Look at files; needs a session.
    #[command(flatten)]
    Examine(Examination),
    /// Print something that is known; needs none.
    #[command(flatten)]
    Print(Print),
}

/// What is to be done about durable jobs.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum JobCall {
    /// Run the SQL of a file as a durable job: killed and run again, it goes on from what is sealed
    Run(RunJob),
    /// Take up a job where its last process left it
    Resume {
        /// Its name
        name: String,
    },
    /// List the durable jobs
    Jobs,
    /// Look at, stop or remove durable jobs
    #[command(subcommand)]
    Job(JobVerb),
}

/// A job that is to be run.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RunJob {
    /// The file with its SQL, `-` for standard input
    pub(crate) file: PathBuf,
    /// Directories whose files become tables, or files that become tables
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// The name of the job: the same name goes on with it
    #[arg(long, value_name = "NAME")]
    pub(crate) job: String,
    /// Forget what a job of this name has done, and begin anew
    #[arg(long)]
    pub(crate) restart: bool,
    /// Write the result of the last statement, a query, to this file or directory
    #[arg(short = 'o', long, value_name = "TARGET")]
    pub(crate) output: Option<String>,
    /// Bind $NAME, as without a job
    #[arg(
        short = 'p',
        long = "param",
        value_name = "NAME=VALUE",
        allow_hyphen_values = true
    )]
    pub(crate) params: Vec<String>,
}

/// What is to be done about a job.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum JobVerb {
    /// Tell what a job has done, stage by stage
    Report {
        /// Its name
        name: String,
    },
    /// Read all that a job has sealed and published, and tell what is wrong with it
    Verify {
        /// Its name
        name: String,
    },
    /// Stop the process that runs a job; the job can be taken up again
    Cancel {
        /// Its name
        name: String,
    },
    /// Remove jobs that have ended, with all that is sealed of them
    Gc {
        /// Only these jobs, also if they have not ended
        names: Vec<String>,
        /// Only jobs to which nothing happened for so long, such as 30d
        #[arg(long, value_name = "TIME")]
        older_than: Option<String>,
    },
}

/// What is to be found out about a path.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Examination {
    /// Describe a file or directory: columns, sizes, row groups, encodings, statistics
    Inspect {
        /// A file, directory, glob or URL
        path: String,
    },
    /// Read all of a file and tell what is wrong with it, and where; exit code 1 if anything is
    Doctor {
        /// A file, directory, glob or URL
        path: String,
    },
}

/// What can be printed without a session.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Print {
    /// Print the settings
    Config {
        /// Say where each value comes from
        #[arg(long)]
        show_origin: bool,
    },
    /// Print a script that completes the command line
    Completions {
        /// The shell it is for
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
    /// Kill a durable job and take it up again, on TPC-H data made for it
    Demo(Demo),
}

/// How the demo is played.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Demo {
    /// TPC-H's scale factor: 1 makes about 350 MB
    #[arg(long, default_value_t = 1.0)]
    pub(crate) scale: f64,
    /// A directory for data and job that stays; else a temporary one
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
}

/// A piece of SQL, in the order in which it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    /// The text of a `-c`.
    Text(String),
    /// The file of a `-f`.
    File(PathBuf),
}

/// Everything that was typed.
#[derive(Debug)]
pub(crate) struct Typed {
    /// The flags that are not settings.
    pub(crate) args: Args,
    /// The sub-command.
    pub(crate) verb: Option<Verb>,
    /// The SQL, in order.
    pub(crate) given: Vec<Given>,
    /// Settings by name.
    pub(crate) settings: Vec<(&'static str, String)>,
}

/// The outcome of reading the command line.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// Something to be done.
    Typed(Box<Typed>),
    /// The text of `--help`.
    Help(StyledStr),
}

/// The whole command line, for parsing, completion and the manual page.
pub(crate) fn command() -> Command {
    let command = Command::new("tidegate")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .override_usage("tidegate [PATH]... [-c SQL]... [-f FILE]... [FLAGS]\n       tidegate [FLAGS] <SUB-COMMAND>")
        .after_help(AFTER_HELP)
        .subcommand_value_name("SUB-COMMAND")
        .subcommand_help_heading("Sub-commands");
    let command = Verb::augment_subcommands(Args::augment_args(command));
    command
        .about("SQL over directories of Parquet and CSV")
        .subcommand_required(false)
        .args(Settings::definitions().iter().map(setting_flag))
}

fn setting_flag(def: &'static SettingDef) -> Arg {
    // Flags live as long as the process: one allocation for each setting.
    let long: &'static str = Box::leak(def.name.replace(['_', '.'], "-").into_boxed_str());
    let flag = Arg::new(def.name)
        .long(long)
        .help(format!("{} Takes {}", def.help, def.takes))
        .help_heading("Settings")
        .global(true);
    let flag = match def.name {
        "format" => flag.short('F'),
        _ => flag,
    };
    match def.name {
        "format" => flag
            .action(ArgAction::Set)
            .value_name("FORMAT")
            .help("The format of results")
            .value_parser(PossibleValuesParser::new(formats()))
            .ignore_case(true),
        name if SWITCHES.contains(&name) => flag.action(ArgAction::SetTrue).help(def.help),
        name if LISTS.contains(&name) => flag.action(ArgAction::Append).value_name("PATH"),
        _ => flag.action(ArgAction::Set).value_name("VALUE"),
    }
}

fn formats() -> impl Iterator<Item = &'static str> {
    std::iter::once("auto").chain(Format::names())
}

/// Reads the command line.
pub(crate) fn parse(typed: impl IntoIterator<Item = OsString>) -> Result<Parsed, Failure> {
    let matches = match command().try_get_matches_from(with_leading_comments(typed)) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ClapKind::DisplayHelp => {
            return Ok(Parsed::Help(error.render()));
        }
        Err(error) => return Err(explain(&error)),
    };
    let args = Args::from_arg_matches(&matches).map_err(|error| explain(&error))?;
    let verb = match matches.subcommand_name() {
        Some(_) => Some(Verb::from_arg_matches(&matches).map_err(|error| explain(&error))?),
        None => None,
    };
    Ok(Parsed::Typed(Box::new(Typed {
        given: in_order(&args, &matches),
        settings: settings(&matches),
        verb,
        args,
    })))
}

/// SQL that begins with a comment is written as one word with its `-c`: alone it looks like a flag.
fn with_leading_comments(typed: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    let mut may_be_flags = true;
    for word in typed {
        let comment = word.to_str().is_some_and(|text| {
            let rest = text.strip_prefix("--").or_else(|| text.strip_prefix('-'));
            rest.is_some_and(|rest| rest.starts_with(char::is_whitespace) || text.contains('\n'))
        });
        match words.last_mut() {
            Some(flag) if comment && may_be_flags && flag == "--command" => {
                flag.push("=");
                flag.push(word);
            }
            Some(flag) if comment && may_be_flags && (flag == "-c" || flag == "-qc") => {
                flag.push(word);
            }
            _ => {
                may_be_flags &= word != "--";
                words.push(word);
            }
        }
    }
    words
}

/// `-c` and `-f` in the order in which they were typed.
fn in_order(args: &Args, matches: &ArgMatches) -> Vec<Given> {
    let at = |id: &str| matches.indices_of(id).into_iter().flatten();
    let texts = args.command.iter().cloned().map(Given::Text);
    let files = args.file.iter().cloned().map(Given::File);
    let mut given: Vec<(usize, Given)> = at("command").zip(texts).collect();
    given.extend(at("file").zip(files));
    given.sort_by_key(|(at, _)| *at);
    given.into_iter().map(|(_, given)| given).collect()
}

/// The settings that were typed. Flags of a sub-command were made its own by being global.
fn settings(matches: &ArgMatches) -> Vec<(&'static str, String)> {
    let mut deepest = matches;
    while let Some((_, inner)) = deepest.subcommand() {
        deepest = inner;
    }
    let mut settings = Vec::new();
    for def in Settings::definitions() {
        if deepest.value_source(def.name) != Some(clap::parser::ValueSource::CommandLine) {
            continue;
        }
        let value = match SWITCHES.contains(&def.name) {
            true => "true".into(),
            false => {
                let values = deepest.get_many::<String>(def.name).into_iter().flatten();
                let values: Vec<&str> = values.map(String::as_str).collect();
                values.join(LIST_SEPARATOR)
            }
        };
        settings.push((def.name, value));
    }
    settings
}

/// An error of the parser in our words: one line, and the nearest name if there is one.
fn explain(error: &clap::Error) -> Failure {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let argument = context(ContextKind::InvalidArg).unwrap_or_default();
    let flag = argument.split(" <").next().unwrap_or_default();
    let value = context(ContextKind::InvalidValue).filter(|value| !value.is_empty());
    let (code, message) = match (error.kind(), value) {
        (ClapKind::UnknownArgument, _) if argument.starts_with('-') => {
            ("unknown_flag", format!("there is no flag `{argument}`"))
        }
        (ClapKind::UnknownArgument, _) => {
            ("bad_call", format!("`{argument}` is one argument too many"))
        }
        (ClapKind::InvalidValue, Some(value)) => {
            ("bad_flag", format!("`{value}` is not a value of `{flag}`"))
        }
        (ClapKind::MissingRequiredArgument, _) => {
            let argument = argument.trim_matches(['<', '>']);
            ("bad_call", format!("the argument `{argument}` is missing"))
        }
        (ClapKind::InvalidValue, None) => ("bad_flag", format!("`{flag}` needs a value")),
        _ => {
            let text = error.render().to_string();
            let line = text.lines().next().unwrap_or_default();
            let line = line.trim_start_matches("error: ").replace('\'', "`");
            ("bad_flag", line)
        }
    };
    let near = context(ContextKind::SuggestedArg).or(context(ContextKind::SuggestedValue));
    let is_missing = error.kind() == ClapKind::MissingRequiredArgument;
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => String::new(),
    };
    let usage = usage.trim().trim_start_matches("Usage: ");
    let hint = match (near, error.get(ContextKind::ValidValue)) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, Some(ContextValue::Strings(words))) if !words.is_empty() => {
            format!("it takes {}", words.join(", "))
        }
        (None, _) if is_missing && usage.lines().count() == 1 => format!("call it as `{usage}`"),
        _ => "`tidegate --help` lists the flags".into(),
    };
    Failure::usage(code, message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn typed(line: &str) -> Typed {
        let words = std::iter::once("tidegate").chain(line.split_whitespace());
        match parse(words.map(OsString::from)).unwrap() {
            Parsed::Typed(typed) => *typed,
            Parsed::Help(_) => panic!("help was not asked for"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn sql_keeps_its_order() {
        let typed = typed("-f a.sql -c one -f - -c two");
        assert_eq!(
            typed.given,
            [
                Given::File("a.sql".into()),
                Given::Text("one".into()),
                Given::File("-".into()),
                Given::Text("two".into())
            ]
        );
    }

    #[test]
    fn sql_may_begin_with_a_comment() {
        let given = |words: &[&str]| {
            let words = std::iter::once(&"tidegate").chain(words);
            match parse(words.map(OsString::from)) {
                Ok(Parsed::Typed(typed)) => Some(typed.given),
                _ => None,
            }
        };
        let sql = "-- note\nselect 1";
        let text = |sql: &str| Some(vec![Given::Text(sql.into())]);
        for flag in ["-c", "--command", "-qc"] {
            assert_eq!(given(&[flag, sql]), text(sql), "{flag}");
            assert_eq!(given(&[flag, "--note\nselect 1"]), text("--note\nselect 1"));
            assert_eq!(given(&[flag, "- 1"]), text("- 1"));
        }
        assert_eq!(given(&["-c", "--fromat"]), None);
        assert_eq!(given(&["-c", "--quiet"]), None);
        assert_eq!(given(&["-c", "select 1", sql]), None);
        assert_eq!(given(&["--", "-c", sql]), Some(Vec::new()));
    }

    #[test]
    fn settings_are_flags_before_and_after_a_sub_command() {
        for line in ["--threads 2 config", "config --threads 2"] {
            assert_eq!(typed(line).settings, [("threads", "2".to_string())]);
        }
        assert_eq!(typed("-F csv").settings, [("format", "csv".to_string())]);
    }

    #[test]
    fn an_unknown_flag_suggests_a_near_one() {
        let words = ["tidegate", "--fromat", "csv"].map(OsString::from);
        let Failure::Usage(error) = parse(words).unwrap_err() else {
            panic!("not an error of use");
        };
        assert_eq!(error.message, "there is no flag `--fromat`");
        assert_eq!(error.hint.as_deref(), Some("did you mean `--format`?"));
    }
}
