//! Did-you-mean: the few names that are near to one that was not found.

/// How many names a suggestion lists at most.
const NEAR_MAX: usize = 3;

/// The names nearest to `wanted`, best first, at most three, none that is far off.
///
/// ```
/// # use tidegate_catalog::near_names;
/// assert_eq!(near_names("trps", ["trips", "zones"]), vec!["trips"]);
/// ```
pub fn near_names<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let wanted_low = wanted.to_lowercase();
    let mut scored: Vec<(f64, &str)> = names
        .into_iter()
        .filter(|name| !name.is_empty())
        .map(|name| (likeness(&wanted_low, &name.to_lowercase()), name))
        .filter(|(score, _)| *score >= 0.7)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.dedup_by(|a, b| a.1 == b.1);
    scored
        .into_iter()
        .take(NEAR_MAX)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// "did you mean `a`, `b` or `c`?", or nothing when nothing is near.
pub fn did_you_mean(near: &[String]) -> Option<String> {
    let quoted: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    let (last, others) = quoted.split_last()?;
    Some(if others.is_empty() {
        format!("did you mean {last}?")
    } else {
        format!("did you mean {} or {last}?", others.join(", "))
    })
}

/// 1 for equal but for case and extension, 0 for nothing in common.
fn likeness(wanted: &str, name: &str) -> f64 {
    let stem = |text: &str| text.split('.').next().unwrap_or_default().to_owned();
    if stem(wanted) == stem(name) && !stem(wanted).is_empty() {
        return 1.0;
    }
    if wanted.len() >= 3
        && (name.starts_with(wanted) || wanted.starts_with(name) && name.len() >= 3)
    {
        return 0.9;
    }
    strsim::normalized_damerau_levenshtein(wanted, name)
        .max(strsim::jaro_winkler(wanted, name) - 0.15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_few_ordered_and_near() {
        let names = [
            "orders.parquet",
            "order_items.parquet",
            "customers.csv",
            "x",
        ];
        assert_eq!(near_names("orders.csv", names)[0], "orders.parquet");
        assert_eq!(near_names("costumers.csv", names), vec!["customers.csv"]);
        assert!(near_names("zzzzzz", names).is_empty());
    }

    #[test]
    fn a_suggestion_reads_as_a_sentence() {
        let near = |names: &[&str]| {
            did_you_mean(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(near(&[]), None);
        assert_eq!(near(&["a"]).as_deref(), Some("did you mean `a`?"));
        assert_eq!(
            near(&["a", "b", "c"]).as_deref(),
            Some("did you mean `a`, `b` or `c`?")
        );
    }
}
