//! Takes secrets out of a statement before it is written to a log or a history: values of options
//! whose names sound like secrets, and credentials inside of URLs.

/// Words that make the name of an option sound like one that holds a secret.
const SECRET_WORDS: &[&str] = &[
    "secret",
    "password",
    "passwd",
    "token",
    "credential",
    "key",
    "sas",
    "signature",
    "sig",
];
/// What stands in the place of a secret.
const REDACTED: &str = "***";

/// The statement without its secrets.
pub(crate) fn statement(sql: &str) -> String {
    let mut clean = String::with_capacity(sql.len());
    let mut last_word = String::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '\'' | '"' => rest.split_at(quoted_len(rest, first)),
            c if is_word(c) => rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
            c => rest.split_at(c.len_utf8()),
        };
        let literal = first == '\'';
        if literal && is_secret(&last_word) {
            clean.push('\'');
            clean.push_str(REDACTED);
            clean.push('\'');
            last_word.clear();
        } else {
            clean.push_str(&if literal { url(token) } else { token.into() });
            if literal || first == '"' || is_word(first) {
                last_word = token.trim_matches(['\'', '"']).to_ascii_lowercase();
            }
        }
        rest = after;
    }
    clean
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '$')
}

/// The bytes of a quoted token, its quotes included; doubled quotes belong to it.
fn quoted_len(text: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(end) = text[at..].find(quote) {
        at += end + 1;
        match text[at..].starts_with(quote) {
            true => at += 1,
            false => return at,
        }
    }
    text.len()
}

fn is_secret(name: &str) -> bool {
    let mut words = name.split(|c: char| !c.is_alphanumeric());
    words.any(|word| SECRET_WORDS.iter().any(|secret| word.ends_with(secret)))
}

/// A URL without user information and without secret parts of its query.
fn url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.into();
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{REDACTED}@{host}"),
        None => authority.into(),
    };
    let Some((path, query)) = path.split_once('?') else {
        return format!("{scheme}://{authority}{path}");
    };
    let clean = |part: &str| match part.split_once('=') {
        Some((name, value)) if is_secret(&name.to_ascii_lowercase()) => {
            let quote = if value.ends_with('\'') { "'" } else { "" };
            format!("{name}={REDACTED}{quote}")
        }
        _ => part.into(),
    };
    let query: Vec<String> = query.split('&').map(clean).collect();
    format!("{scheme}://{authority}{path}?{}", query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expect: &str) {
        assert_eq!(statement(sql), expect);
    }

    #[test]
    fn values_of_options_that_sound_like_secrets_are_taken_out() {
        check(
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 's3://b/x' OPTIONS ('aws.secret_access_key' 'abc', aws.region 'eu', token = 'it''s')",
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 's3://b/x' OPTIONS ('aws.secret_access_key' '***', aws.region 'eu', token = '***')",
        );
    }

    #[test]
    fn credentials_in_urls_are_taken_out() {
        check(
            "select * from 'https://me:pw@host/a.csv?sig=abc&x=1&X-Amz-Signature=q'",
            "select * from 'https://***@host/a.csv?sig=***&x=1&X-Amz-Signature=***'",
        );
    }

    #[test]
    fn everything_else_stays() {
        for sql in [
            "select 'a', \"b\" from t where x = 'é' -- c",
            "select 'open",
            "",
            "from 'data/*.parquet'",
        ] {
            check(sql, sql);
        }
    }
}
