//! Credentials of Amazon's shared files, `~/.aws/credentials` and `~/.aws/config`: the step of the standard chain
//! between the environment and instance metadata.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

/// The keys of one profile.
#[derive(Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) access_key_id: Option<String>,
    pub(crate) secret_access_key: Option<String>,
    pub(crate) session_token: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) endpoint_url: Option<String>,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl Profile {
    /// The profile of this name from the files below `home`. Files that are not there hold nothing.
    pub(crate) fn read(home: &Path, name: &str) -> Self {
        let text =
            |file: &str| std::fs::read_to_string(home.join(".aws").join(file)).unwrap_or_default();
        Self::of(&text("credentials"), &text("config"), name)
    }

    fn of(credentials: &str, config: &str, name: &str) -> Self {
        let in_config = if name == "default" {
            "default".to_owned()
        } else {
            format!("profile {name}")
        };
        let mut values = section(config, &in_config);
        values.extend(section(credentials, name));
        let mut take = |key: &str| values.remove(key);
        Self {
            access_key_id: take("aws_access_key_id"),
            secret_access_key: take("aws_secret_access_key"),
            session_token: take("aws_session_token"),
            region: take("region"),
            endpoint_url: take("endpoint_url"),
        }
    }
}

/// The keys of one section. Indented lines belong to a nested key and are left out.
fn section(text: &str, name: &str) -> HashMap<String, String> {
    let mut inside = false;
    let mut values = HashMap::new();
    for line in text.lines() {
        let bare = line.trim();
        if let Some(header) = bare
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            inside = header.split_whitespace().eq(name.split_whitespace());
        } else if inside
            && !line.starts_with([' ', '\t', '#', ';'])
            && let Some((key, value)) = bare
                .split_once('=')
                .filter(|(_, value)| !value.trim().is_empty())
        {
            values.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "[default]\naws_access_key_id = A\naws_secret_access_key=S==\n\n[other]\naws_access_key_id = B\n";
    const CONFIG: &str = "[default]\nregion = eu-west-1\ns3 =\n  endpoint_url = http://nested\n# c = d\n[profile other]\nregion=us-east-2\n";

    #[test]
    fn profiles_are_read_from_both_files() {
        let default = Profile::of(CREDENTIALS, CONFIG, "default");
        assert_eq!(
            (
                default.access_key_id.as_deref(),
                default.secret_access_key.as_deref()
            ),
            (Some("A"), Some("S=="))
        );
        assert_eq!(
            (default.region.as_deref(), default.endpoint_url.as_deref()),
            (Some("eu-west-1"), None)
        );
        let other = Profile::of(CREDENTIALS, CONFIG, "other");
        assert_eq!(
            (other.access_key_id.as_deref(), other.region.as_deref()),
            (Some("B"), Some("us-east-2"))
        );
        assert_eq!(Profile::of(CREDENTIALS, CONFIG, "none"), Profile::default());
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", Profile::of(CREDENTIALS, CONFIG, "default"));
        assert!(
            !shown.contains("S==") && !shown.contains("\"A\""),
            "{shown}"
        );
    }
}
