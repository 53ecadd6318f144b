//! The meta commands: their names in both spellings, what they take, their help, and the way from a
//! typed line to a command. `.x` and `\x` are alike. Running them is in `act`.

/// What an argument of a command is; completion follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing.
    Nothing,
    /// A table, a view or a path.
    Table,
    /// An output format.
    Mode,
    /// A file.
    File,
    /// `on` or `off`.
    OnOff,
    /// Any text.
    Text,
    /// A statement.
    Sql,
    /// A meta command.
    Command,
}

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Lists the commands, or tells of one.
    Help,
    /// Lists tables and views.
    Tables,
    /// Shows the columns of a table.
    Schema,
    /// Shows or changes the output format.
    Mode,
    /// Sends all results that follow into a file.
    Output,
    /// Sends the next result into a file.
    Once,
    /// Runs a file.
    Read,
    /// Says after each statement how long it took.
    Timer,
    /// Says when results are shown in a pager.
    Pager,
    /// Opens an editor on a statement.
    Edit,
    /// Sets the width of tables.
    Width,
    /// Sets the text for NULL.
    Null,
    /// Lists and sets parameters.
    Params,
    /// Shows the plan of a statement.
    Explain,
    /// Lists the durable jobs.
    Jobs,
    /// Shows each row as lines.
    Expanded,
    /// Leaves.
    Quit,
}

/// What is known of a command.
#[derive(Debug)]
pub(crate) struct Command {
    /// What it does.
    pub(crate) verb: Verb,
    /// Its names; the first is the one help shows.
    pub(crate) names: &'static [&'static str],
    /// How its arguments are shown in help.
    pub(crate) usage: &'static str,
    /// What its arguments are.
    pub(crate) takes: Takes,
    /// One line of help.
    pub(crate) help: &'static str,
}

/// All commands, in the order of help.
#[rustfmt::skip]
pub(crate) static COMMANDS: &[Command] = &[
    Command { verb: Verb::Help, names: &["help", "?", "h"], usage: "[COMMAND]", takes: Takes::Command,
        help: "list the commands, or tell of one" },
    Command { verb: Verb::Tables, names: &["tables", "dt"], usage: "[PART]", takes: Takes::Table,
        help: "list tables and views, or those whose name contains PART" },
    Command { verb: Verb::Schema, names: &["schema", "d"], usage: "TABLE", takes: Takes::Table,
        help: "show the columns of a table, a view or a 'path'" },
    Command { verb: Verb::Mode, names: &["mode", "pset"], usage: "[FORMAT]", takes: Takes::Mode,
        help: "show or change the output format: auto is table on a terminal" },
    Command { verb: Verb::Output, names: &["output", "o"], usage: "[FILE]", takes: Takes::File,
        help: "write the results that follow to FILE, or to the screen again" },
    Command { verb: Verb::Once, names: &["once"], usage: "FILE", takes: Takes::File,
        help: "write the next result to FILE" },
    Command { verb: Verb::Read, names: &["read", "i"], usage: "FILE", takes: Takes::File,
        help: "run the statements and commands of FILE up to the first error" },
    Command { verb: Verb::Timer, names: &["timer", "timing"], usage: "[on|off]", takes: Takes::OnOff,
        help: "say after each statement how long it took" },
    Command { verb: Verb::Pager, names: &["pager"], usage: "[on|off|auto]", takes: Takes::OnOff,
        help: "show results that do not fit the screen in $PAGER, all their rows" },
    Command { verb: Verb::Edit, names: &["edit", "e"], usage: "[FILE]", takes: Takes::File,
        help: "edit the last statement, or FILE, in $EDITOR, and bring it to the prompt" },
    Command { verb: Verb::Width, names: &["width"], usage: "[COLUMNS]", takes: Takes::Text,
        help: "fit tables to so many columns (wider than the screen: in the pager); 0 for the screen" },
    Command { verb: Verb::Null, names: &["null"], usage: "[TEXT]", takes: Takes::Text,
        help: "show NULL as TEXT" },
    Command { verb: Verb::Params, names: &["params"], usage: "[NAME=VALUE …]", takes: Takes::Text,
        help: "list the parameters, or set $NAME" },
    Command { verb: Verb::Explain, names: &["explain"], usage: "[analyze|verbose] [STATEMENT]", takes: Takes::Sql,
        help: "show the plan of a statement, or of the last one; analyze runs it" },
    Command { verb: Verb::Jobs, names: &["jobs"], usage: "", takes: Takes::Nothing,
        help: "list the durable jobs" },
    Command { verb: Verb::Expanded, names: &["expanded", "x"], usage: "[on|off]", takes: Takes::OnOff,
        help: "show each row as lines of column and value" },
    Command { verb: Verb::Quit, names: &["quit", "q", "exit"], usage: "", takes: Takes::Nothing,
        help: "leave (so does Ctrl-D)" },
];

/// A line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call<'t> {
    /// What to do.
    pub(crate) verb: Verb,
    /// The name as typed, with its `.` or `\`.
    pub(crate) name: &'t str,
    /// What follows the name, trimmed, without a `;` at the end.
    pub(crate) rest: &'t str,
}

/// Understands a line that starts with `.` or `\`. An error is one line and a hint.
pub(crate) fn parse(line: &str) -> Result<Call<'_>, (String, String)> {
    let line = line.trim();
    let end = line.find(char::is_whitespace).unwrap_or(line.len());
    let name = line[..end].trim_end_matches(';');
    let bare = name.get(1..).unwrap_or("");
    let rest = line[end..].trim();
    match find(bare) {
        Some(command) => Ok(Call {
            verb: command.verb,
            name,
            rest: if command.takes == Takes::Sql {
                rest
            } else {
                rest.trim_end_matches(';').trim_end()
            },
        }),
        None => Err((format!("no command `{name}`"), hint(name, bare))),
    }
}

/// The command of a name, without its `.`, in any case.
pub(crate) fn find(name: &str) -> Option<&'static Command> {
    let lower = name.to_ascii_lowercase();
    COMMANDS
        .iter()
        .find(|command| command.names.contains(&lower.as_str()))
}

fn hint(name: &str, bare: &str) -> String {
    let mark = if name.starts_with('\\') { '\\' } else { '.' };
    let lower = bare.to_ascii_lowercase();
    let near = COMMANDS
        .iter()
        .flat_map(|command| command.names)
        .map(|known| (strsim::damerau_levenshtein(known, &lower), *known))
        .filter(|(distance, known)| *distance <= 2 && *distance < known.len())
        .min();
    match near {
        Some((_, near)) => format!("did you mean `{mark}{near}`?"),
        None => format!("{mark}help lists the commands"),
    }
}

/// The words of an argument text; quotes keep spaces together and are taken off.
pub(crate) fn arguments(rest: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some(q) if q == c && chars.peek() == Some(&c) => {
                            chars.next();
                            word.push(c);
                        }
                        Some(q) if q == c => break,
                        Some(other) => word.push(other),
                        None => return Err(format!("the quote {c} is not closed")),
                    }
                }
            }
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// The help text: one line a command.
pub(crate) fn help() -> String {
    let left = |command: &Command| format!(".{} {}", command.names[0], command.usage);
    let width = COMMANDS.iter().map(|c| left(c).chars().count()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for command in COMMANDS {
        text.push_str(&format!("{:<width$}  {}\n", left(command), command.help));
    }
    text.push_str(
        "\nA statement ends with `;`. `_` is the last result. `.` and `\\` are alike, and the names\n\
         of psql are known: \\? \\dt \\d \\pset \\o \\i \\timing \\e \\x \\q.\n\
         Ctrl-C stops a query or clears the line, Ctrl-R searches the history, Tab completes.\n",
    );
    text
}

/// The help of one command, with all its names.
pub(crate) fn help_of(command: &Command) -> String {
    let others: Vec<String> = command.names[1..]
        .iter()
        .map(|n| format!("\\{n}"))
        .collect();
    let also = match others.is_empty() {
        true => String::new(),
        false => format!(" (also {})", others.join(", ")),
    };
    format!(
        ".{} {}\n{}{also}\n",
        command.names[0], command.usage, command.help
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_spellings_and_the_names_of_psql_are_known() {
        for (dot, backslash) in [
            (".help", "\\?"),
            (".tables", "\\dt"),
            (".schema t", "\\d t"),
            (".mode csv", "\\pset csv"),
            (".output f", "\\o f"),
            (".read f", "\\i f"),
            (".timer", "\\timing"),
            (".edit", "\\e"),
            (".expanded", "\\x"),
            (".quit", "\\q"),
        ] {
            assert_eq!(parse(dot).unwrap().verb, parse(backslash).unwrap().verb);
            assert_eq!(parse(dot).unwrap().rest, parse(backslash).unwrap().rest);
        }
        assert_eq!(parse(".QUIT;").unwrap().verb, Verb::Quit);
        assert_eq!(parse(".explain select 1;").unwrap().rest, "select 1;");
    }

    #[test]
    fn a_near_name_is_suggested_in_the_same_spelling() {
        assert_eq!(
            parse(".tabels").unwrap_err(),
            (
                "no command `.tabels`".into(),
                "did you mean `.tables`?".into()
            )
        );
        assert_eq!(parse("\\timin").unwrap_err().1, "did you mean `\\timing`?");
        assert_eq!(parse(".zzzzz").unwrap_err().1, ".help lists the commands");
        assert_eq!(parse("\\").unwrap_err().0, "no command `\\`");
    }

    #[test]
    fn quotes_keep_an_argument_together() {
        assert_eq!(
            arguments("a 'b c' \"d\"\"e\"").unwrap(),
            ["a", "b c", "d\"e"]
        );
        assert_eq!(arguments("").unwrap(), Vec::<String>::new());
        assert_eq!(arguments("''").unwrap(), [""]);
        assert!(arguments("'a").is_err());
    }

    #[test]
    fn every_name_is_used_once() {
        let mut names: Vec<_> = COMMANDS.iter().flat_map(|c| c.names).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
