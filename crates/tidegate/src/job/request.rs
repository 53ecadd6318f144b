//! What a job was asked for: the same request goes on, another one under the same name is an error.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tidegate_checkpoint::job::JobName;

use crate::error::{Error, ErrorKind, Result};
use crate::query::QueryKind;
use crate::script::Statement;
use crate::session::Session;

/// Digits of the name of a job that was given none.
const NAME_DIGITS: usize = 16;

/// Everything that decides what a job does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// What stored plans and results are compatible with.
    compatible: String,
    statements: Vec<String>,
    /// Values of `$name`.
    parameters: BTreeMap<String, String>,
    /// Settings that can change a result.
    settings: BTreeMap<String, String>,
    /// Where relative paths start.
    pub(super) directory: String,
    /// What the caller noted.
    pub(super) call: BTreeMap<String, String>,
}

impl Request {
    pub(super) fn new(
        session: &Session,
        statements: &[Statement],
        call: BTreeMap<String, String>,
    ) -> Self {
        let settings = session.setting_rows().into_iter();
        let settings = settings.filter(|row| row.affects_result);
        let parameters = session.params().into_iter();
        Self {
            compatible: crate::compat_id().into(),
            statements: statements.iter().map(|s| s.text.clone()).collect(),
            parameters: parameters
                .map(|(name, value)| (name, format!("{value:?}")))
                .collect(),
            settings: settings
                .map(|row| (row.name.to_string(), row.value))
                .collect(),
            directory: session.inner.place.working_dir.display().to_string(),
            call,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        // Plain data with text keys: it can always be written.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| {
            let message = format!("the request of the job cannot be read: {error}");
            Error::new(ErrorKind::Data, "job_damaged", message)
        })
    }

    /// The name of a job that was given none.
    pub(super) fn name(&self) -> String {
        let hash = blake3::hash(&self.encode()).to_hex();
        hash[..NAME_DIGITS].to_string()
    }

    /// Its statements as one text.
    pub(super) fn text(&self) -> String {
        let end = |text: &String| format!("{};\n", text.trim_end().trim_end_matches(';'));
        self.statements.iter().map(end).collect()
    }

    /// The error of a name that stands for another request.
    pub(super) fn differs(&self, name: &JobName, theirs: &[u8]) -> Error {
        let what = match Self::decode(theirs) {
            Ok(theirs) => self.difference(&theirs),
            Err(error) => error.to_string(),
        };
        let message = format!("the job `{name}` was started with another request: {what}");
        Error::new(ErrorKind::Usage, "job_differs", message)
            .with_hint("choose another name, or begin anew with --restart")
    }

    /// The first difference, as `it was …, and is …`.
    fn difference(&self, theirs: &Self) -> String {
        if self.compatible != theirs.compatible {
            return format!(
                "it was begun by a version with the compatible id {}, and this one has {}",
                theirs.compatible, self.compatible
            );
        }
        let (ours, others) = (self.statements.len(), theirs.statements.len());
        let mut pairs = self.statements.iter().zip(&theirs.statements);
        if let Some(at) = pairs.position(|(ours, theirs)| ours != theirs) {
            return format!(
                "statement {} was `{}`, and is `{}`",
                at + 1,
                one_line(&theirs.statements[at]),
                one_line(&self.statements[at])
            );
        }
        if ours != others {
            return format!("it had {others} statements, and has {ours}");
        }
        let maps = [
            ("parameter", &self.parameters, &theirs.parameters),
            ("setting", &self.settings, &theirs.settings),
            ("argument", &self.call, &theirs.call),
        ];
        for (word, ours, theirs) in maps {
            let names: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
            let shown =
                |value: Option<&String>| value.map_or("not given".into(), |v| format!("`{v}`"));
            if let Some(name) = names
                .into_iter()
                .find(|name| ours.get(*name) != theirs.get(*name))
            {
                let (was, is) = (shown(theirs.get(name)), shown(ours.get(name)));
                return format!("the {word} `{name}` was {was}, and is {is}");
            }
        }
        format!(
            "it was started in the directory `{}`, and this is `{}`",
            theirs.directory, self.directory
        )
    }
}

/// A text on one line, cut.
fn one_line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The statements with the last one, a query, written to a target.
pub(super) fn with_output(
    session: &Session,
    mut statements: Vec<Statement>,
    target: &str,
) -> Result<Vec<Statement>> {
    let wrong = |message: &str| Error::new(ErrorKind::Usage, "no_query", message);
    let Some(last) = statements.pop() else {
        return Err(wrong("there is no query whose result could be written"));
    };
    if last.kind() != QueryKind::Rows {
        return Err(wrong(
            "the last statement is no query whose result could be written",
        ));
    }
    let query = last.text.trim_end().trim_end_matches(';');
    let target = target.replace('\'', "''");
    let is_directory = target.ends_with('/') || Path::new(&target).extension().is_none();
    let format = if is_directory {
        " (FORMAT parquet)"
    } else {
        ""
    };
    let text = format!("COPY ({query}) TO '{target}'{format}");
    statements.extend(session.script(&text)?.statements);
    Ok(statements)
}
