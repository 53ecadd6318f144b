//! What the meta commands do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate::arrow::array::{ArrayRef, RecordBatch, StringArray};
use tidegate::{TableKind, Value};

use super::meta::{self, Call, Verb};
use super::{Flow, READ_DEPTH_MAX, Repl, Stop, Told, edit};
use crate::failure::Failure;
use crate::jobs;
use crate::params;
use crate::render::{Format, RenderError};
use crate::report::Source;

/// Longer files are not read.
const READ_BYTES_MAX: u64 = 256 << 20;

impl Repl {
    /// Runs a meta command.
    pub(super) async fn act(&mut self, line: &str, depth: usize) -> Result<Flow, Stop> {
        let call = meta::parse(line).map_err(|(message, hint)| {
            Failure::usage("unknown_command", message).with_hint(hint)
        })?;
        match call.verb {
            Verb::Quit => return Ok(Flow::Leave(crate::exit::Exit::Done)),
            Verb::Read => return self.read_file(&call, depth).await,
            Verb::Edit => return self.edit(&call).map_err(Stop::from),
            Verb::Help => self.help(&call)?,
            Verb::Tables => self.tables(&call)?,
            // As in psql, `\\d` alone lists what there is.
            Verb::Schema if call.name == "\\d" && call.rest.is_empty() => self.tables(&call)?,
            Verb::Schema => self.schema(&call).await?,
            Verb::Mode => self.mode(&call)?,
            Verb::Output => self.output(&call)?,
            Verb::Once => self.once(&call)?,
            Verb::Timer => self.timer = self.switch(&call, "timer", self.timer)?,
            Verb::Expanded => self.expanded = self.switch(&call, "expanded", self.expanded)?,
            Verb::Pager => self.pager(&call)?,
            Verb::Width => self.width(&call)?,
            Verb::Null => self.null(&call)?,
            Verb::Params => self.params(&call)?,
            Verb::Explain => self.explain(&call, line).await?,
            Verb::Jobs => self.jobs()?,
        }
        Ok(Flow::GoOn)
    }

    fn help(&mut self, call: &Call<'_>) -> Result<(), Failure> {
        let Some(name) = one(call)? else {
            return self.show_text(&meta::help());
        };
        let line = match name.starts_with(['.', '\\']) {
            true => name,
            false => format!(".{name}"),
        };
        let found = meta::parse(&line).map_err(|(message, hint)| {
            Failure::usage("unknown_command", message).with_hint(hint)
        })?;
        let command = meta::COMMANDS.iter().find(|c| c.verb == found.verb);
        match command {
            Some(command) => self.show_text(&meta::help_of(command)),
            None => Ok(()),
        }
    }

    fn tables(&mut self, call: &Call<'_>) -> Result<(), Failure> {
        let part = one(call)?.unwrap_or_default().to_lowercase();
        let mut tables = self.session.tables();
        tables.retain(|table| table.name.to_lowercase().contains(&part));
        if tables.is_empty() {
            let said = match part.is_empty() {
                true => "there are no tables; query files by path: FROM 'data/'".to_string(),
                false => format!("no table has `{part}` in its name"),
            };
            self.shell.console.remark(&said);
            return Ok(());
        }
        let kind = |kind| match kind {
            TableKind::Table => "table",
            TableKind::View => "view",
        };
        let batch = texts(&[
            ("name", tables.iter().map(|t| t.name.clone()).collect()),
            ("kind", tables.iter().map(|t| kind(t.kind).into()).collect()),
            ("location", tables.iter().map(location).collect()),
        ])?;
        self.show(&batch)
    }

    fn jobs(&mut self) -> Result<(), Failure> {
        let jobs = self.session.jobs()?;
        self.watched.look(&jobs);
        match jobs.is_empty() {
            true => {
                let said = "there are no jobs; `tidegate run FILE --job NAME` starts one";
                self.shell.console.remark(said);
                Ok(())
            }
            false => {
                let batch = jobs::listed(&jobs).map_err(RenderError::on_stdout)?;
                self.show(&batch)
            }
        }
    }

    async fn schema(&mut self, call: &Call<'_>) -> Result<(), Failure> {
        let Some(table) = one(call)? else {
            return Err(usage(call, "needs a table, a view or a 'path'"));
        };
        let schema = tokio::select! {
            biased;
            _ = self.shell.signals.wait() => return Err(crate::run::interrupted()),
            schema = self.session.columns(&table) => schema.map_err(without_place)?,
        };
        let fields = schema.fields();
        let nullable = |nullable| if nullable { "yes" } else { "no" };
        let batch = texts(&[
            ("column", fields.iter().map(|f| f.name().clone()).collect()),
            (
                "type",
                fields
                    .iter()
                    .map(|f| tidegate::type_name(f.data_type()))
                    .collect(),
            ),
            (
                "nullable",
                fields
                    .iter()
                    .map(|f| nullable(f.is_nullable()).into())
                    .collect(),
            ),
        ])?;
        self.show(&batch)
    }

    /// `.mode FORMAT`, and psql's `\pset NAME VALUE` for what there is here.
    fn mode(&mut self, call: &Call<'_>) -> Result<(), Failure> {
        let words = meta::arguments(call.rest).map_err(|why| usage(call, &why))?;
        match words.as_slice() {
            [] => {
                let settings = self.session.settings();
                let format = settings.get("format").unwrap_or_default();
                self.shell.console.message(&format!("format: {format}"));
                Ok(())
            }
            [format] => self.set_format(format),
            [name, value] => match name.to_ascii_lowercase().as_str() {
                "format" => self.set_format(value),
                "null" => Ok(self.session.set("null_text", value)?),
                "pager" => self.set_pager(value),
                "expanded" => {
                    self.expanded = on_off(call, value)?;
                    Ok(())
                }
                _ => Err(usage(call, &format!("knows no `{name}`"))
                    .with_hint("it takes format, null, pager and expanded")),
            },
            _ => Err(usage(call, "takes one format")),
        }
    }

    fn set_format(&mut self, format: &str) -> Result<(), Failure> {
        let lower = format.to_ascii_lowercase();
        let known = || Format::names().chain(["auto"]);
        if known().any(|name| name == lower) {
            self.expanded = false;
            return Ok(self.session.set("format", &lower)?);
        }
        let failure = Failure::usage("unknown_format", format!("there is no format `{format}`"));
        let near = known()
            .map(|name| (strsim::damerau_levenshtein(name, &lower), name))
            .filter(|(distance, _)| *distance <= 2)
            .min();
        Err(match near {
            Some((_, near)) => failure.with_hint(format!("did you mean `{near}`?")),
            None => {
                let names: Vec<&str> = known().collect();
                failure.with_hint(format!("the formats are {}", names.join(", ")))
            }
        })
    }

    fn output(&mut self, call: &Call<'_>) -> Result<(), Failure> {
        let path = one(call)?.map(PathBuf::from);
        if let Some(path) = &path {
            writable(path)?;
        }
        self.target(path);
        Ok(())
    }

    fn once(&mut self, call: &Call<'_>) -> Result<(), Failure> {
        let Some(path) = one(call)?.map(PathBuf::from) else {
            return Err(usage(call, "needs a file"));
        };
        writable(&path)?;
        self.once = Some(path);
        Ok(())
    }

    /// A switch turned on, off or over, and told.
    fn switch(&self, call: &Call<'_>, what: &str, now: bool) -> Result<bool, Failure> {
        let then = match one(call)? {
            Some(word) => on_off(call, &word)?,
            None => !now,
        };
        let word = if then { "on" } else { "off" };
        self.shell.console.remark(&format!("{what}: {word}"));
        Ok(then)
    }

    fn pager(&mut self, call: &Call<'_>) -> Result<(), Failure> {
        let now = self.session.settings().get("pager").unwrap_or_default();
        let word = match one(call)? {
            Some(word) => word,
            None if now == "never" => "auto".into(),
            None => "off".into(),
        };
        self.set_pager(&word)?;
        let now = self.session.settings().get("pager").unwrap_or_default();
        self.shell.console.remark(&format!("pager: {now}"));
        Ok(())
    }

    fn set_pager(&mut self, word: &str) -> Result<(), Failure> {
        let value = match word.to_ascii_lowercase().as_str() {
            "on" | "auto" => "auto",
            "off" | "never" => "never",
            "always" => "always",
            _ => {
                let message = format!("`{word}` is not a way to page");
                return Err(Failure::usage("bad_argument", message)
                    .with_hint("it takes on (or auto), off (or never) and always"));
            }
        };
        Ok(self.session.set("pager", value)?)
    }

    fn width(&mut self, call: &Call<'_>) -> Result<(), Failure> {
        let Some(word) = one(call)? else {
            let told = match self.width {
                Some(width) => format!("width: {width}"),
                None => "width: that of the screen".into(),
            };
            self.shell.console.message(&told);
            return Ok(());
        };
        let width: usize = word
            .parse()
            .map_err(|_| usage(call, "takes a number of columns"))?;
        self.width = (width > 0).then_some(width);
        Ok(())
    }

    fn null(&mut self, call: &Call<'_>) -> Result<(), Failure> {
        let words = meta::arguments(call.rest).map_err(|why| usage(call, &why))?;
        match words.as_slice() {
            [] => {
                let text = self.session.settings().get("null_text").unwrap_or_default();
                self.shell.console.message(&format!("null: `{text}`"));
                Ok(())
            }
            words => Ok(self.session.set("null_text", &words.join(" "))?),
        }
    }

    fn params(&mut self, call: &Call<'_>) -> Result<(), Failure> {
        let given = assignments(call.rest);
        if given.is_empty() {
            let bound = self.session.params();
            if bound.is_empty() {
                self.shell
                    .console
                    .remark("there are no parameters; .params name=value sets $name");
                return Ok(());
            }
            let value = |value: &Value| match value.is_null() {
                true => "NULL".to_string(),
                false => value.to_string(),
            };
            let types = bound
                .iter()
                .map(|(_, v)| tidegate::type_name(&v.data_type()));
            let batch = texts(&[
                ("name", bound.iter().map(|(name, _)| name.clone()).collect()),
                ("value", bound.iter().map(|(_, v)| value(v)).collect()),
                ("type", types.collect()),
            ])?;
            return self.show(&batch);
        }
        let parsed: Vec<(String, Value)> = given
            .iter()
            .map(|text| params::parse(text))
            .collect::<Result<_, _>>()?;
        for (name, value) in parsed {
            self.session.set_param(&name, value);
        }
        Ok(())
    }

    /// Shows plans. `.explain analyze` and `.explain verbose` are EXPLAIN with that word.
    async fn explain(&mut self, call: &Call<'_>, line: &str) -> Result<(), Stop> {
        let (word, sql) = explained(call.rest);
        if sql.is_empty() {
            let sql = self.last_sql.clone();
            if sql.is_empty() {
                return Err(usage(call, "needs a statement; there is no last one yet").into());
            }
            // Places count in a text that is not on the screen: shown with it, or not at all.
            let shown = self.plans(word, &sql).await;
            return shown.map_err(|failure| {
                let source = Source {
                    name: "the last statement".into(),
                    text: sql,
                };
                match self.failed(&failure, &source) {
                    Flow::GoOn => Stop::Told,
                    Flow::Leave(_) => Stop::Failure(failure),
                }
            });
        }
        let place = offset(line, sql);
        let shown = self.plans(word, sql).await;
        shown.map_err(|failure| Stop::from(failure).shifted(place))
    }

    async fn plans(&mut self, word: Option<&str>, sql: &str) -> Result<(), Failure> {
        let script = self.session.script(sql)?;
        for statement in &script.statements {
            match word {
                None => {
                    let query = tokio::select! {
                        biased;
                        _ = self.shell.signals.wait() => return Err(crate::run::interrupted()),
                        query = self.session.statement(statement) => query?,
                    };
                    let text = query.explain().to_string();
                    self.show_text(&text)?;
                }
                Some(word) => {
                    let prefix = format!("EXPLAIN {word} ");
                    let text = format!("{prefix}{}", statement.text);
                    let explained = self.session.script(&text);
                    let explained = explained
                        .map_err(|error| moved(error.into(), prefix.len(), statement.span.start))?;
                    for explained in &explained.statements {
                        let ran = self.logged(explained).await;
                        ran.map_err(|failure| moved(failure, prefix.len(), statement.span.start))?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn read_file(&mut self, call: &Call<'_>, depth: usize) -> Result<Flow, Stop> {
        let Some(path) = one(call)?.map(PathBuf::from) else {
            return Err(usage(call, "needs a file").into());
        };
        if depth >= READ_DEPTH_MAX {
            let message = format!(
                "`{}` is read by files that read one another",
                path.display()
            );
            let hint = format!("at most {READ_DEPTH_MAX} files may");
            return Err(Failure::usage("read_depth", message).with_hint(hint).into());
        }
        let mut text = read(&path)?;
        // The last statement of a file may do without its end.
        let rest = super::split::split(&text).used;
        if !text[rest..].trim().is_empty() {
            text.push_str("\n;");
        }
        let source = Source {
            name: path.display().to_string(),
            text,
        };
        let flow = self.all(&source, depth + 1).await;
        flow.map_err(|Told| Stop::Told)
    }

    fn edit(&mut self, call: &Call<'_>) -> Result<Flow, Failure> {
        match one(call)? {
            Some(path) => {
                let edited = edit::file(Path::new(&path))?;
                self.initial = edited.unwrap_or_default();
                Ok(Flow::GoOn)
            }
            None => {
                let text = self.last_sql.clone();
                self.edit_text_of(&text)
            }
        }
    }

    /// Edits a statement that is being typed.
    pub(super) fn edit_text(&mut self, text: &str) -> Flow {
        match self.edit_text_of(text) {
            Ok(flow) => flow,
            Err(failure) => {
                self.complain(&failure, None);
                Flow::GoOn
            }
        }
    }

    fn edit_text_of(&mut self, text: &str) -> Result<Flow, Failure> {
        match edit::text(text)? {
            Some(edited) => self.initial = edited,
            None => self
                .shell
                .console
                .remark("the editor failed; nothing was taken"),
        }
        Ok(Flow::GoOn)
    }
}

/// The word of EXPLAIN that a text starts with, and the rest.
fn explained(rest: &str) -> (Option<&'static str>, &str) {
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let words = ["ANALYZE", "VERBOSE"];
    let word = words
        .iter()
        .find(|word| word.eq_ignore_ascii_case(&rest[..end]));
    match word {
        Some(word) => (Some(word), rest[end..].trim_start()),
        None => (None, rest),
    }
}

/// Where a part of a text starts in it.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// The place of an error in a text with a prefix, counted without it from another start.
fn moved(failure: Failure, prefix: usize, start: usize) -> Failure {
    match failure {
        Failure::Failed(mut error) => {
            let place = |at: usize| at.saturating_sub(prefix) + start;
            error.span = error.span.map(|span| place(span.start)..place(span.end));
            Failure::Failed(error)
        }
        other => other,
    }
}

/// The error of a statement that the user did not write.
fn without_place(error: tidegate::Error) -> tidegate::Error {
    tidegate::Error {
        span: None,
        ..error
    }
}

/// Where a table is, without credentials.
fn location(table: &tidegate::TableInfo) -> String {
    tidegate::redacted(&table.location).into_owned()
}

/// The one argument there may be.
fn one(call: &Call<'_>) -> Result<Option<String>, Failure> {
    let mut words = meta::arguments(call.rest).map_err(|why| usage(call, &why))?;
    match words.len() {
        0 | 1 => Ok(words.pop()),
        _ => {
            Err(usage(call, "takes one argument").with_hint("put it into quotes if it has spaces"))
        }
    }
}

fn usage(call: &Call<'_>, why: &str) -> Failure {
    Failure::usage("bad_argument", format!("`{}` {why}", call.name))
}

fn on_off(call: &Call<'_>, word: &str) -> Result<bool, Failure> {
    match word.to_ascii_lowercase().as_str() {
        "on" | "true" | "1" | "yes" => Ok(true),
        "off" | "false" | "0" | "no" => Ok(false),
        _ => Err(usage(call, "takes on or off")),
    }
}

/// The texts `name=value` of a line; a value in single quotes keeps its spaces and its quotes.
fn assignments(rest: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut in_quotes = false;
    for c in rest.chars() {
        in_quotes ^= c == '\'';
        match (c.is_whitespace() && !in_quotes, found.last_mut()) {
            (false, Some(last)) => last.push(c),
            _ => found.push(String::new()),
        }
    }
    found.retain(|text| !text.is_empty());
    found
}

/// Says early that a file cannot be written: before a long query, not after it.
fn writable(path: &Path) -> Result<(), Failure> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if path.is_dir() {
        let message = format!("`{}` is a directory", path.display());
        return Err(Failure::usage("output_is_directory", message)
            .with_hint("COPY (query) TO 'directory/' writes into one"));
    }
    match directory.is_dir() {
        true => Ok(()),
        false => {
            let message = format!("there is no directory `{}`", directory.display());
            Err(Failure::usage("missing_path", message))
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    use std::io::Read;
    let name = path.display().to_string();
    let named = |error| Failure::io(&format!("cannot read `{name}`"), error);
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::usage("missing_path", format!("there is no file `{name}`"))
        }
        _ => named(error),
    })?;
    let mut bytes = Vec::new();
    let count = file.take(READ_BYTES_MAX + 1).read_to_end(&mut bytes);
    if count.map_err(named)? as u64 > READ_BYTES_MAX {
        let message = format!("`{name}` is longer than 256 MiB");
        return Err(Failure::usage("too_long", message));
    }
    Ok(crate::call::source(name, bytes)?.text)
}

/// A table of texts.
fn texts(columns: &[(&str, Vec<String>)]) -> Result<RecordBatch, Failure> {
    let column = |(name, values): &(&str, Vec<String>)| {
        let array: ArrayRef = Arc::new(StringArray::from_iter_values(values));
        (name.to_string(), array)
    };
    RecordBatch::try_from_iter(columns.iter().map(column)).map_err(|error| {
        Failure::Failed(tidegate::Error::new(
            tidegate::ErrorKind::Bug,
            "bad_table",
            error.to_string(),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_parameters_keep_their_quotes() {
        assert_eq!(
            assignments("a=1  b='x y' c='it''s'"),
            ["a=1", "b='x y'", "c='it''s'"]
        );
        assert_eq!(assignments("  "), Vec::<String>::new());
    }
}
