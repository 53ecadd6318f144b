//! What the session knows by name, asked when a completion needs it and kept until the next
//! statement. An answer that takes too long is no answer: Tab never hangs.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use tidegate::{Session, Settings};
use tokio::runtime::Handle;

/// How long Tab may wait for the columns of one table.
const PATIENCE: Duration = Duration::from_millis(700);

/// Names for completion. Lives on the thread of the editor.
pub(crate) struct Names {
    source: Source,
    settings: Vec<&'static str>,
    functions: OnceCell<Vec<String>>,
    table_functions: OnceCell<Vec<String>>,
    tables: OnceCell<Vec<String>>,
    columns: RefCell<HashMap<String, Vec<String>>>,
}

enum Source {
    Session(Session, Handle),
    #[cfg(test)]
    Fixed,
}

impl Names {
    /// Names that a session knows. Must be called inside of its runtime.
    pub(crate) fn of_session(session: Session) -> Self {
        Self::from(Source::Session(session, Handle::current()))
    }

    fn from(source: Source) -> Self {
        Self {
            source,
            settings: Settings::definitions().iter().map(|def| def.name).collect(),
            functions: OnceCell::new(),
            table_functions: OnceCell::new(),
            tables: OnceCell::new(),
            columns: RefCell::default(),
        }
    }

    /// Fixed names, for tests of what asks them.
    #[cfg(test)]
    pub(super) fn fixed(tables: &[(&str, &[&str])], functions: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        let names = Self::from(Source::Fixed);
        let _ = names.functions.set(owned(functions));
        let _ = names
            .tables
            .set(tables.iter().map(|(name, _)| name.to_string()).collect());
        for (table, columns) in tables {
            names
                .columns
                .borrow_mut()
                .insert(table.to_string(), owned(columns));
        }
        names
    }

    /// Forgets what a statement may have changed.
    pub(crate) fn forget(&mut self) {
        self.tables.take();
        self.functions.take();
        self.table_functions.take();
        self.columns.get_mut().clear();
    }

    pub(super) fn settings(&self) -> &[&'static str] {
        &self.settings
    }

    pub(super) fn functions(&self) -> &[String] {
        self.functions.get_or_init(|| match &self.source {
            Source::Session(session, _) => session.functions(),
            #[cfg(test)]
            Source::Fixed => vec![],
        })
    }

    /// The functions that stand in FROM.
    pub(super) fn table_functions(&self) -> &[String] {
        self.table_functions.get_or_init(|| match &self.source {
            Source::Session(session, _) => session.table_functions(),
            #[cfg(test)]
            Source::Fixed => vec!["generate_series".into(), "read_csv".into()],
        })
    }

    pub(super) fn tables(&self) -> &[String] {
        self.tables.get_or_init(|| match &self.source {
            Source::Session(session, _) => session
                .tables()
                .into_iter()
                .map(|table| table.name)
                .collect(),
            #[cfg(test)]
            Source::Fixed => vec![],
        })
    }

    /// The columns of a table, a view or a path; none where it is not known or takes too long.
    pub(super) fn columns(&self, table: &str) -> Vec<String> {
        if let Some(known) = self.columns.borrow().get(table) {
            return known.clone();
        }
        let found = self.ask(table);
        let mut known = self.columns.borrow_mut();
        known.insert(table.to_string(), found.clone());
        found
    }

    fn ask(&self, table: &str) -> Vec<String> {
        let (session, runtime) = match &self.source {
            Source::Session(session, runtime) => (session, runtime),
            #[cfg(test)]
            Source::Fixed => return vec![],
        };
        let asked = runtime
            .block_on(async { tokio::time::timeout(PATIENCE, session.columns(table)).await });
        match asked {
            Ok(Ok(schema)) => schema.fields().iter().map(|f| f.name().clone()).collect(),
            _ => vec![],
        }
    }
}
