//! The SQL this engine reads: PostgreSQL's grammar and precedence with DuckDB's friendly
//! additions. What the parser accepts and the engine does not run is refused by `guard`.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

/// The dialect. It names itself generic, because sqlparser lets that one read most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tidegate;

macro_rules! yes {
    ($($name:ident)*) => { $(fn $name(&self) -> bool { true })* };
}

impl Dialect for Tidegate {
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_' || !ch.is_ascii()
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$' || !ch.is_ascii()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"' || ch == '`'
    }

    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('"')
    }

    yes! {
        supports_unicode_string_literal
        supports_string_escape_constant
        supports_numeric_literal_underscores
        supports_nested_comments
        supports_string_literal_concatenation_with_newline
        supports_filter_during_aggregation
        supports_group_by_expr
        supports_group_by_with_modifier
        supports_order_by_all
        supports_from_first_select
        supports_select_wildcard_except
        supports_select_wildcard_exclude
        supports_select_wildcard_replace
        supports_select_wildcard_rename
        supports_select_wildcard_ilike
        supports_parens_around_table_factor
        supports_values_as_table_factor
        supports_left_associative_joins_without_parens
        supports_window_clause_named_window_reference
        supports_window_function_null_treatment_arg
        supports_named_fn_args_with_assignment_operator
        supports_named_fn_args_with_rarrow_operator
        supports_dictionary_syntax
        support_map_literal_syntax
        supports_lambda_functions
        supports_struct_literal
        supports_array_typedef_with_brackets
        supports_bitwise_shift_operators
        supports_interval_options
        supports_notnull_operator
        supports_comma_separated_trim
        supports_limit_comma
        supports_pipe_operator
        supports_connect_by
        supports_prewhere
        supports_limit_by
        supports_with_fill
        supports_interpolate
        supports_settings
        supports_select_format
        supports_match_recognize
        supports_data_type_signed_suffix
        allow_extract_custom
        allow_extract_single_quotes
        supports_in_empty_list
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    // `TOP 5` is a column and its alias in PostgreSQL, and no user of ours means that.
    fn supports_top_before_distinct(&self) -> bool {
        false
    }

    fn parse_prefix(&self, _parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        None
    }

    // PostgreSQL's table: https://www.postgresql.org/docs/current/sql-syntax-lexical.html
    fn prec_value(&self, precedence: Precedence) -> u8 {
        match precedence {
            Precedence::Period => 200,
            Precedence::DoubleColon => 140,
            Precedence::AtTz => 110,
            Precedence::Caret => 72,
            Precedence::MulDivModOp => 90,
            Precedence::PlusMinus => 80,
            Precedence::Xor => 75,
            Precedence::Ampersand | Precedence::Pipe | Precedence::Colon | Precedence::PgOther => {
                70
            }
            Precedence::Between | Precedence::Like => 60,
            Precedence::Eq => 50,
            Precedence::Is => 40,
            Precedence::UnaryNot => 30,
            Precedence::And => 20,
            Precedence::Or => 10,
        }
    }
}
