//! `CREATE …` and `COPY …`, in DuckDB's and in DataFusion's spelling.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::error::{Code, Error, Result};
use super::parse::{Reader, is_word};
use super::statement::{
    Argument, Column, Copy, CreateExternalTable, CreateTableAs, Name, Statement, Value,
};
use super::types;

/// What may follow the head of a table or a COPY, in any order.
#[derive(Default)]
struct Clauses {
    format: Option<String>,
    location: Option<String>,
    mode: Option<String>,
    partition_by: Vec<(String, Option<DataType>)>,
    options: Vec<Argument>,
}

impl Clauses {
    fn partition_names(&self) -> Vec<String> {
        self.partition_by
            .iter()
            .map(|(name, _)| name.clone())
            .collect()
    }
}

impl Reader<'_> {
    pub(crate) fn copy(&mut self) -> Result<Copy> {
        self.next();
        let query = if self.paren_opens_query() {
            self.next();
            let query = self.query()?;
            if !self.parser.consume_token(&Token::RParen) {
                return Err(self.unexpected("`)`"));
            }
            query
        } else {
            self.table_or_query()?
        };
        if let Some(token) = self.take_word("FROM") {
            return Err(Error::unsupported("COPY … FROM is not supported")
                .at(self.source.range(token.span))
                .hint("files are read where they are: SELECT … FROM 'file', or CREATE TABLE t AS SELECT * FROM 'file'"));
        }
        self.expect_word("TO")?;
        let first = self.peek();
        for word in ["STDOUT", "STDIN", "PROGRAM"] {
            if is_word(&first.token, word) {
                return Err(Error::unsupported(format!("COPY … TO {word} is not supported"))
                    .at(self.source.range(first.span))
                    .hint("give a file or directory in quotes; the shell's -F and -o choose the output of a query"));
            }
        }
        let (target, target_span) = self.text("a file or directory in single quotes")?;
        let mut clauses = self.clauses()?;
        take_option(&mut clauses)?;
        let partition_by = clauses.partition_names();
        Ok(Copy {
            query,
            target,
            target_span,
            format: clauses.format,
            mode: clauses.mode,
            partition_by,
            options: clauses.options,
        })
    }

    pub(crate) fn create(&mut self) -> Result<Statement> {
        self.next();
        let or_replace = self.parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
        let start = self.peek();
        if self.take_word("TEMP").is_none() {
            self.take_word("TEMPORARY");
        }
        if let Some(token) = self.take_word("UNBOUNDED") {
            return Err(Error::unsupported("unbounded tables are not supported")
                .at(self.source.range(token.span)));
        }
        let external = self.take_word("EXTERNAL").is_some();
        let kind = self.next();
        let table = is_word(&kind.token, "TABLE");
        if !table && (external || !is_word(&kind.token, "VIEW")) {
            return Err(
                Error::unsupported(format!("CREATE {} is not supported", kind.token))
                    .at(self.source.range(start.span.union(&kind.span)))
                    .hint("there are CREATE TABLE … AS, CREATE EXTERNAL TABLE and CREATE VIEW"),
            );
        }
        let if_not_exists =
            self.parser
                .parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
        let name = self.name()?;
        if or_replace && if_not_exists {
            return Err(
                Error::syntax("OR REPLACE and IF NOT EXISTS exclude each other").at(name.span),
            );
        }
        match (table, external) {
            (true, true) => self
                .external_table(name, or_replace, if_not_exists)
                .map(Statement::CreateExternalTable),
            (true, false) => self
                .table_as(name, or_replace, if_not_exists)
                .map(Statement::CreateTableAs),
            (false, _) => self
                .view(name, or_replace, if_not_exists)
                .map(Statement::CreateView),
        }
    }

    fn table_as(
        &mut self,
        name: Name,
        or_replace: bool,
        if_not_exists: bool,
    ) -> Result<CreateTableAs> {
        let needs_query = |error: Error| {
            error.hint("write CREATE TABLE t AS SELECT …, or CREATE EXTERNAL TABLE t … LOCATION '…' to name files that exist")
        };
        let open = self.peek();
        let columns = match self.column_names() {
            Ok(columns) => columns,
            Err(_) if open.token == Token::LParen => {
                return Err(needs_query(
                    Error::unsupported("a table is created from a query, not from column types")
                        .at(self.source.range(open.span)),
                ));
            }
            Err(error) => return Err(error),
        };
        let mut clauses = self.clauses()?;
        take_option(&mut clauses)?;
        if self.peek().token == Token::EOF {
            return Err(needs_query(self.unexpected("AS and a query")));
        }
        self.expect_word("AS")?;
        let query = self.query()?;
        Ok(CreateTableAs {
            name,
            or_replace,
            if_not_exists,
            columns,
            location: clauses.location.take(),
            format: clauses.format.take(),
            mode: clauses.mode.take(),
            partition_by: clauses.partition_names(),
            options: clauses.options,
            query,
        })
    }

    fn external_table(
        &mut self,
        name: Name,
        or_replace: bool,
        if_not_exists: bool,
    ) -> Result<CreateExternalTable> {
        let columns = self.column_definitions()?;
        let mut clauses = self.clauses()?;
        let is_mode = |option: &&Argument| option.name.as_deref() == Some("mode");
        if let Some(mode) = clauses.options.iter().find(is_mode) {
            return Err(Error::new(
                Code::UnknownOption,
                "`mode` says how files are written, and this table only reads them",
            )
            .at(mode.span.clone()));
        }
        take_option(&mut clauses)?;
        let Some(location) = clauses.location else {
            return Err(self.unexpected("LOCATION '…'"));
        };
        Ok(CreateExternalTable {
            name,
            or_replace,
            if_not_exists,
            columns,
            format: clauses.format,
            location,
            partition_by: clauses.partition_by,
            options: clauses.options,
        })
    }

    /// `(a INT, b TEXT)` if it is there.
    fn column_definitions(&mut self) -> Result<Vec<Column>> {
        let mut columns = Vec::new();
        if !self.parser.consume_token(&Token::LParen) {
            return Ok(columns);
        }
        loop {
            let (name, data_type) = self.column()?;
            let Some(data_type) = data_type else {
                return Err(self.unexpected("a type"));
            };
            self.refuse_not_null()?;
            columns.push(Column { name, data_type });
            if self.parser.consume_token(&Token::RParen) {
                return Ok(columns);
            }
            if !self.parser.consume_token(&Token::Comma) {
                let token = self.peek();
                let refused = [
                    "DEFAULT",
                    "PRIMARY",
                    "UNIQUE",
                    "CHECK",
                    "REFERENCES",
                    "COMMENT",
                    "COLLATE",
                ];
                return Err(
                    match refused.iter().find(|word| is_word(&token.token, word)) {
                        Some(word) => Error::unsupported(format!(
                            "{word} is not supported in a table over files"
                        ))
                        .at(self.source.range(token.span)),
                        None => self.unexpected("`,` or `)`"),
                    },
                );
            }
        }
    }

    /// Files come from anywhere: a table over them cannot promise that they hold no NULL.
    fn refuse_not_null(&mut self) -> Result<()> {
        let first = self.peek();
        if !self.parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
            let _ = self.parser.parse_keyword(Keyword::NULL);
            return Ok(());
        }
        let last = self.parser.token_at(self.parser.index() - 1).span;
        Err(
            Error::unsupported("NOT NULL is not supported in a table over files")
                .at(self.source.range(first.span.union(&last)))
                .hint("leave it out: any program may write NULL into the files"),
        )
    }

    /// A name and perhaps a type.
    fn column(&mut self) -> Result<(String, Option<DataType>)> {
        let ident = self.parsed(|parser| parser.parse_identifier())?;
        if matches!(self.peek().token, Token::Comma | Token::RParen) {
            return Ok((ident.value, None));
        }
        let start = self.peek();
        let sql = self.parsed(|parser| parser.parse_data_type())?;
        let data_type =
            types::arrow_type(&sql).map_err(|error| error.at(self.source.range(start.span)))?;
        Ok((ident.value, Some(data_type)))
    }

    fn clauses(&mut self) -> Result<Clauses> {
        let mut clauses = Clauses::default();
        loop {
            let start = self.peek();
            let twice = |seen: bool, what: &str, reader: &Self| {
                let error = Error::syntax(format!("{what} is given twice"));
                if seen {
                    Err(error.at(reader.source.range(start.span)))
                } else {
                    Ok(())
                }
            };
            if self.take_word("STORED").is_some() {
                twice(clauses.format.is_some(), "STORED AS", self)?;
                self.expect_word("AS")?;
                clauses.format = Some(self.word_or_text("a format")?.to_ascii_lowercase());
            } else if self.take_word("LOCATION").is_some() {
                twice(clauses.location.is_some(), "LOCATION", self)?;
                clauses.location = Some(self.text("a path in single quotes")?.0);
            } else if self.take_word("PARTITIONED").is_some() {
                twice(!clauses.partition_by.is_empty(), "PARTITIONED BY", self)?;
                self.expect_word("BY")?;
                clauses.partition_by = self.partition_columns()?;
            } else if self.take_word("OPTIONS").is_some() {
                clauses.options.extend(self.option_list()?);
            } else if is_word(&start.token, "WITH") {
                self.next();
                if is_word(&self.peek().token, "OPTIONS") || self.peek().token == Token::LParen {
                    self.take_word("OPTIONS");
                    clauses.options.extend(self.option_list()?);
                } else {
                    let token = self.peek();
                    return Err(Error::unsupported(format!(
                        "WITH {} is not supported here",
                        token.token
                    ))
                    .at(self.source.range(start.span.union(&token.span)))
                    .hint("write OPTIONS (name value, …)"));
                }
            } else if start.token == Token::LParen && !self.paren_opens_query() {
                clauses.options.extend(self.option_list()?);
            } else {
                return Ok(clauses);
            }
        }
    }

    fn partition_columns(&mut self) -> Result<Vec<(String, Option<DataType>)>> {
        if !self.parser.consume_token(&Token::LParen) {
            return Err(self.unexpected("`(`"));
        }
        let mut columns = Vec::new();
        loop {
            columns.push(self.column()?);
            if self.parser.consume_token(&Token::RParen) {
                return Ok(columns);
            }
            if !self.parser.consume_token(&Token::Comma) {
                return Err(self.unexpected("`,` or `)`"));
            }
        }
    }
}

/// Moves FORMAT, MODE and PARTITION_BY out of the options, and refuses an option given twice.
fn take_option(clauses: &mut Clauses) -> Result<()> {
    let mut kept: Vec<Argument> = Vec::new();
    for option in std::mem::take(&mut clauses.options) {
        let name = option.name.clone().unwrap_or_default();
        let twice = match name.as_str() {
            "format" => clauses.format.is_some(),
            "mode" => clauses.mode.is_some(),
            "partition_by" => !clauses.partition_by.is_empty(),
            _ => kept.iter().any(|seen| seen.name == option.name),
        };
        if twice {
            return Err(Error::new(
                Code::Duplicate,
                format!("the option `{name}` is given twice"),
            )
            .at(option.span));
        }
        match (name.as_str(), option.value) {
            ("format", Value::Text(text)) => clauses.format = Some(text.to_ascii_lowercase()),
            ("mode", Value::Text(text)) => clauses.mode = Some(text.to_ascii_lowercase()),
            ("partition_by", value) => {
                clauses.partition_by = names(value)
                    .ok_or_else(|| {
                        Error::new(Code::UnknownOption, "PARTITION_BY takes columns: (a, b)")
                            .at(option.span)
                    })?
                    .into_iter()
                    .map(|name| (name, None))
                    .collect();
            }
            ("format" | "mode", _) => {
                return Err(
                    Error::new(Code::UnknownOption, format!("`{name}` takes one word"))
                        .at(option.span),
                );
            }
            (_, value) => kept.push(Argument { value, ..option }),
        }
    }
    clauses.options = kept;
    Ok(())
}

fn names(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Text(text) => Some(vec![text]),
        Value::List(values) => values
            .into_iter()
            .map(|value| match value {
                Value::Text(text) => Some(text),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}
