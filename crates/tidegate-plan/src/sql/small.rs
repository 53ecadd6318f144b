//! EXPLAIN, INSERT, DROP, SET, RESET and SHOW.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::IsOptional;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::error::{Code, Error, Result};
use super::parse::{Reader, is_word};
use super::statement::{
    Drop, Explain, Insert, Name, Set, Show, Statement, TableRef, TableRefKind, Value,
};

impl Reader<'_> {
    pub(super) fn explain(&mut self) -> Result<Explain> {
        self.next();
        let (mut analyze, mut verbose, mut format) = (false, false, None);
        let mut durable = false;
        loop {
            if self.parser.parse_keyword(Keyword::ANALYZE) {
                analyze = true;
            } else if self.parser.parse_keyword(Keyword::VERBOSE) {
                verbose = true;
            } else if self.take_word("DURABLE").is_some() {
                durable = true;
            } else if self.parser.parse_keyword(Keyword::FORMAT) {
                format = Some(self.word_or_text("a format")?.to_ascii_lowercase());
            } else if self.peek().token == Token::LParen && !self.paren_opens_query() {
                for option in self.option_list()? {
                    let name = option.name.unwrap_or_default();
                    match (name.as_str(), &option.value) {
                        ("analyze", Value::Boolean(on)) => analyze = *on,
                        ("verbose", Value::Boolean(on)) => verbose = *on,
                        ("durable", Value::Boolean(on)) => durable = *on,
                        ("format", Value::Text(text)) => format = Some(text.to_ascii_lowercase()),
                        _ => {
                            return Err(Error::new(
                                Code::UnknownOption,
                                format!("EXPLAIN has no option `{name}` of this form"),
                            )
                            .at(option.span)
                            .hint("there are ANALYZE, VERBOSE, DURABLE and FORMAT"));
                        }
                    }
                }
            } else {
                break;
            }
        }
        let first = self.peek();
        let statement = match &first.token {
            Token::Word(word) if word.value.eq_ignore_ascii_case("explain") => {
                return Err(Error::syntax("EXPLAIN cannot explain an EXPLAIN")
                    .at(self.source.range(first.span)));
            }
            _ => self.statement()?,
        };
        if statement.query().is_none() {
            return Err(
                Error::unsupported(format!("{} has no plan to explain", statement.verb()))
                    .at(self.source.range(first.span)),
            );
        }
        Ok(Explain {
            analyze,
            verbose,
            durable,
            format,
            statement: Box::new(statement),
        })
    }

    pub(super) fn insert(&mut self) -> Result<Insert> {
        let verb = self.next();
        if let Some(token) = self.take_word("OVERWRITE") {
            return Err(Error::unsupported("INSERT OVERWRITE is not supported")
                .at(self.source.range(token.span))
                .hint("write the files with COPY … TO '…' (MODE overwrite)"));
        }
        if let Some(token) = self.take_word("OR") {
            return Err(Error::unsupported(
                "INSERT OR REPLACE is not supported: tables have no keys",
            )
            .at(self.source.range(verb.span.union(&token.span))));
        }
        self.expect_word("INTO")?;
        let _ = self.parser.parse_keyword(Keyword::TABLE);
        let table = self.insert_target()?;
        let columns = self.insert_columns()?;
        let query = self.query()?;
        for word in ["RETURNING", "ON"] {
            if let Some(token) = self.take_word(word) {
                return Err(
                    Error::unsupported(format!("INSERT … {word} is not supported"))
                        .at(self.source.range(token.span)),
                );
            }
        }
        Ok(Insert {
            table,
            columns,
            query,
        })
    }

    fn insert_columns(&mut self) -> Result<Vec<Name>> {
        if self.peek().token != Token::LParen || self.paren_opens_query() {
            let first = self.peek();
            let words = ["DEFAULT", "BY", "PARTITION", "AS"];
            return match words.iter().find(|word| is_word(&first.token, word)) {
                Some(word) => Err(
                    Error::unsupported(format!("INSERT … {word} is not supported"))
                        .at(self.source.range(first.span))
                        .hint("write INSERT INTO t (a, b) SELECT … or VALUES …"),
                ),
                None => Ok(Vec::new()),
            };
        }
        let idents = self.parsed(|parser| {
            parser.parse_parenthesized_column_list(IsOptional::Mandatory, false)
        })?;
        Ok(idents
            .into_iter()
            .map(|ident| Name {
                span: self.source.range(ident.span),
                parts: vec![ident.value],
            })
            .collect())
    }

    fn insert_target(&mut self) -> Result<TableRef> {
        let first = self.peek();
        if let Token::SingleQuotedString(path) = &first.token {
            self.next();
            return Ok(TableRef {
                key: path.clone(),
                kind: TableRefKind::Path(path.clone()),
                span: self.source.range(first.span),
            });
        }
        let name = self.name()?;
        let reference = name.table_reference();
        Ok(TableRef {
            key: reference.to_string(),
            kind: TableRefKind::Name(reference),
            span: name.span,
        })
    }

    pub(super) fn drop(&mut self) -> Result<Drop> {
        self.next();
        let kind = self.next();
        let view = match &kind.token {
            token if is_word(token, "TABLE") => false,
            token if is_word(token, "VIEW") => true,
            Token::EOF => return Err(self.was_unexpected("TABLE or VIEW")),
            token => {
                return Err(Error::unsupported(format!("DROP {token} is not supported"))
                    .at(self.source.range(kind.span))
                    .hint("there are DROP TABLE and DROP VIEW"));
            }
        };
        let if_exists = self.parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        let mut names = vec![self.name()?];
        while self.parser.consume_token(&Token::Comma) {
            names.push(self.name()?);
        }
        for word in ["CASCADE", "RESTRICT", "PURGE"] {
            if let Some(token) = self.take_word(word) {
                return Err(
                    Error::unsupported(format!("DROP … {word} is not supported"))
                        .at(self.source.range(token.span)),
                );
            }
        }
        Ok(Drop {
            view,
            if_exists,
            names,
        })
    }

    pub(super) fn set(&mut self) -> Result<Set> {
        self.next();
        for word in ["LOCAL", "GLOBAL", "TRANSACTION", "ROLE"] {
            if let Some(token) = self.take_word(word) {
                return Err(Error::unsupported(format!("SET {word} is not supported"))
                    .at(self.source.range(token.span))
                    .hint("write SET name = value; it holds for this session"));
            }
        }
        self.take_word("SESSION");
        let name = self.setting_name()?;
        let spelled = if name.parts == ["time"] && self.take_word("ZONE").is_some() {
            "time_zone".to_string()
        } else {
            if !self.parser.consume_token(&Token::Eq) && self.take_word("TO").is_none() {
                return Err(self.unexpected("`=` or TO"));
            }
            name.to_string()
        };
        let value = self.value()?;
        if self.peek().token == Token::Comma {
            return Err(self
                .unexpected("one value")
                .hint("write a list as ['a', 'b']"));
        }
        Ok(Set {
            name: spelled,
            span: name.span,
            value,
        })
    }

    /// The name of a setting: lower case, without the `tidegate.`.
    fn setting_name(&mut self) -> Result<Name> {
        let mut name = self.name()?;
        for part in &mut name.parts {
            *part = part.to_ascii_lowercase();
        }
        if name.parts.len() > 1 && name.parts[0] == "tidegate" {
            name.parts.remove(0);
        }
        Ok(name)
    }

    pub(super) fn reset(&mut self) -> Result<Statement> {
        self.next();
        if self.parser.parse_keyword(Keyword::ALL) {
            return Ok(Statement::Reset(None));
        }
        self.setting_name().map(|name| Statement::Reset(Some(name)))
    }

    pub(super) fn show(&mut self) -> Result<Show> {
        self.next();
        let first = self.peek();
        if is_word(&first.token, "ALL") && self.is_last(1) {
            self.next();
            return Ok(Show::All);
        }
        if is_word(&first.token, "TABLES") {
            self.next();
            return Ok(Show::Tables);
        }
        if is_word(&first.token, "FUNCTIONS") {
            self.next();
            return Ok(Show::Functions);
        }
        if is_word(&first.token, "COLUMNS") {
            self.next();
            if self.take_word("FROM").is_none() && self.take_word("IN").is_none() {
                return Err(self.unexpected("FROM and a table"));
            }
            return self.all_of_table().map(Show::Columns);
        }
        if is_word(&first.token, "CREATE") || is_word(&first.token, "DATABASES") {
            return Err(
                Error::unsupported(format!("SHOW {} is not supported", first.token))
                    .at(self.source.range(first.span))
                    .hint("there are SHOW TABLES, SHOW COLUMNS FROM t, SHOW ALL and SHOW setting"),
            );
        }
        self.setting_name().map(Show::Setting)
    }
}
