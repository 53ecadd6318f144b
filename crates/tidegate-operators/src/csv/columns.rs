//! The columns of a sample whose dialect is decided: header or none, names and types.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

use super::convert::Nulls;
use super::header::{self, after, begin, first_record, unique};
use super::infer::Guess;
use super::record::{Record, State};
use super::sniff::{DIALECT_RECORDS, Sample, Sniffed, note_types};
use super::{Dialect, Encoding, Error, Position};

impl Sample<'_> {
    /// The columns: header or none, names and types.
    pub(super) fn describe(&self, mut dialect: Dialect) -> Result<Sniffed, Error> {
        let begin = begin(self.text, self.whole, &dialect, &self.file)?;
        let (start, first) = first_record(self.text, self.whole, begin, &dialect, &self.file)?;
        let Some(first) = first else {
            return Ok(Sniffed {
                dialect,
                fields: vec![],
                inferred: vec![],
                at: start,
                notices: vec![],
            });
        };
        let nulls = Nulls::new(&dialect);
        let mut guesses = vec![Guess::default(); first.fields.len()];
        let mut repeats = false;
        let mut rest = 0;
        for record in self
            .records_from(&dialect, first.next)
            .take(self.said.sample_rows())
        {
            rest += 1;
            let ragged = record.fields.len() != first.fields.len() && !dialect.null_padding;
            if record.state != State::Whole || ragged {
                continue;
            }
            repeats |= rest <= DIALECT_RECORDS && self.shares_text(&first, &record);
            note_types(&mut guesses, &record, self.text, &dialect, &nulls);
        }
        let mut notices = Vec::new();
        dialect.header = match self.said.header {
            Some(said) => said,
            None => self.has_header(&first, &guesses, repeats, &dialect, &nulls),
        };
        let at = if dialect.header {
            after(self.text, start, &first)
        } else {
            begin
        };
        if !dialect.header {
            note_types(&mut guesses, &first, self.text, &dialect, &nulls);
        }
        let written = if dialect.header {
            header::names(self.text, start.line, &first, &dialect, &self.file)?
        } else {
            Vec::new()
        };
        dialect.column_names =
            self.names(written, guesses.len(), &dialect.given_names, &mut notices)?;
        if let Some(choice) = self.choices(&dialect) {
            notices.insert(0, choice);
        }
        self.finish(dialect, &guesses, at, notices)
    }

    /// A record that has a name of the first record in the same column is a sign that the first one holds no names.
    fn shares_text(&self, first: &Record, record: &Record) -> bool {
        let pairs = first.fields.iter().zip(&record.fields);
        pairs.into_iter().any(|(one, other)| {
            let (one, other) = (
                &self.text[one.range.clone()],
                &self.text[other.range.clone()],
            );
            !one.is_empty() && one == other
        })
    }

    fn has_header(
        &self,
        first: &Record,
        guesses: &[Guess],
        repeats: bool,
        dialect: &Dialect,
        nulls: &Nulls,
    ) -> bool {
        let mut all_text = true;
        let mut first_typed = false;
        for (field, guess) in first.fields.iter().zip(guesses) {
            let bytes = field.bytes(self.text, dialect);
            let null = is_null_word(&bytes) || (!field.quoted && nulls.holds(&bytes));
            let mut alone = Guess::default();
            alone.add(&bytes, dialect);
            first_typed |= !null && !alone.is_text();
            if guess.is_text() {
                continue;
            }
            all_text = false;
            let mut with = guess.clone();
            with.add(&bytes, dialect);
            if !null && with.is_text() {
                return true;
            }
        }
        let no_rest = guesses.iter().all(|guess| guess.values == 0);
        match all_text || no_rest {
            true => !first_typed && !repeats,
            false => false,
        }
    }

    /// The names of the header, or those given instead, or made-up ones.
    fn names(
        &self,
        mut names: Vec<String>,
        count: usize,
        given: &[String],
        notices: &mut Vec<String>,
    ) -> Result<Vec<String>, Error> {
        names.extend((names.len()..count).map(|index| format!("column{index}")));
        let names = header::renamed(names, given, &self.file)?;
        let (names, said) = unique(names, &self.file);
        notices.extend(said);
        Ok(names)
    }

    fn finish(
        &self,
        dialect: Dialect,
        guesses: &[Guess],
        at: Position,
        mut notices: Vec<String>,
    ) -> Result<Sniffed, Error> {
        let mut fields = Vec::new();
        let mut inferred = Vec::new();
        for (name, guess) in dialect.column_names.iter().zip(guesses) {
            let said = self.said.type_of(name).map_err(|error| Error {
                file: Arc::clone(&self.file),
                ..error
            })?;
            let all_text = self.said.all_text == Some(true);
            inferred.push(said.is_none() && !all_text);
            if said.is_none() && !all_text && guess.is_comma_decimal() && dialect.delimiter != b','
            {
                notices.push(format!(
                    "`{}`: column `{name}` is text; decimal_separator=',' reads it as numbers",
                    self.file
                ));
            }
            let kind = said.unwrap_or_else(|| {
                if all_text {
                    DataType::Utf8View
                } else {
                    guess.data_type()
                }
            });
            fields.push(Field::new(name, kind, true));
        }
        Ok(Sniffed {
            dialect,
            fields,
            inferred,
            at,
            notices,
        })
    }

    /// What was chosen that is not the usual, as options to paste.
    fn choices(&self, dialect: &Dialect) -> Option<String> {
        let mut choices = Vec::new();
        if self.said.delim.is_none() && dialect.delimiter != b',' {
            choices.push(format!(
                "delim='{}'",
                char::from(dialect.delimiter).escape_default()
            ));
        }
        if self.said.quote.is_none() && dialect.quote != Some(b'"') {
            choices.push("quote=''''".to_owned());
        }
        if self.said.escape.is_none() && !dialect.doubles() {
            choices.push("escape='\\'".to_owned());
        }
        if self.said.header.is_none() && !dialect.header {
            choices.push("header=false".to_owned());
        }
        if self.said.encoding.is_none() && dialect.encoding != Encoding::Utf8 {
            choices.push(format!("encoding='{}'", dialect.encoding.name()));
        }
        (!choices.is_empty())
            .then(|| format!("`{}` is read with {}", self.file, choices.join(", ")))
    }
}

fn is_null_word(bytes: &[u8]) -> bool {
    let words = [
        "", "na", "n/a", "null", "none", "nil", "nan", "-", "?", "\\n",
    ];
    words
        .iter()
        .any(|word| bytes.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}
