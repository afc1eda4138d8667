//! Telling secrets among settings by the names that they stand under.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;

use serde_json::Value;

/// What stands for a secret.
pub const REDACTED: &str = "[redacted]";

/// Last words of names of secrets.
const ENDINGS: [&[&str]; 24] = [
    &["password"],
    &["passwd"],
    &["passphrase"],
    &["pwd"],
    &["secret"],
    &["token"],
    &["credential"],
    &["credentials"],
    &["authorization"],
    &["cookie"],
    &["signature"],
    &["sig"],
    &["dsn"],
    &["apikey"],
    &["accesskey"],
    &["api", "key"],
    &["access", "key"],
    &["account", "key"],
    &["private", "key"],
    &["secret", "key"],
    &["encryption", "key"],
    &["signing", "key"],
    &["pseudonym", "key"],
    &["connection", "string"],
];

/// Puts [`REDACTED`] in the place of secrets, at any depth.
pub(super) fn redact(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(clean) = without_secrets(text) {
                *text = clean;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                // Numbers and flags under such names are settings: the length of tokens, whether there is a password.
                let may_tell = member.is_string() || member.is_array() || member.is_object();
                if may_tell && is_secret(name) {
                    *member = Value::String(REDACTED.to_owned());
                } else {
                    redact(member);
                }
            }
        }
        _ => {}
    }
}

/// `text` without the password of an address and without the values of secret parameters in it; untouched where it holds
/// none.
///
/// # Examples
/// ```
/// use mlops_core::dataset::without_secrets;
/// let place = without_secrets("postgres://lan:hunter2@db:5432/crm?sslmode=require&token=abc");
/// assert_eq!(place, "postgres://lan:[redacted]@db:5432/crm?sslmode=require&token=[redacted]");
/// assert_eq!(without_secrets("/data/a:b@c.csv"), "/data/a:b@c.csv");
/// ```
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Cow::Borrowed(text) };
    let mut clean = format!("{scheme}://");
    let rest = match password(rest) {
        Some(found) => {
            let _ = write!(clean, "{}{REDACTED}", &rest[..found.start]);
            &rest[found.end..]
        }
        None => rest,
    };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    clean.push_str(place);
    for (number, parameter) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        clean.push(if number == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, _)) if is_secret(name) => {
                let _ = write!(clean, "{name}={REDACTED}");
            }
            _ => clean.push_str(parameter),
        }
    }
    if clean == text { Cow::Borrowed(text) } else { Cow::Owned(clean) }
}

/// Where the password is in an address without its scheme: after the first colon, up to the last `@`, for one that was not
/// encoded may hold an `@` or a slash itself. What could be a port is none.
fn password(rest: &str) -> Option<Range<usize>> {
    let colon = rest.find(':')?;
    if rest[..colon].contains(['/', '?', '#']) {
        return None;
    }
    let start = colon + 1;
    let end = rest.rfind('@')?;
    let found = rest.get(start..end)?;
    let port = found.split_once('/').is_some_and(|(port, _)| port.bytes().all(|b| b.is_ascii_digit()));
    (!port).then_some(start..end)
}

fn is_secret(name: &str) -> bool {
    let words = words(name);
    ENDINGS.iter().any(|ending| {
        words.len() >= ending.len() && words[words.len() - ending.len()..].iter().zip(*ending).all(|(a, b)| a == b)
    })
}

/// `apiKey`, `API_KEY` and `api-key` are `api`, `key`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower_before = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && lower_before) {
            words.push(String::new());
        }
        lower_before = c.is_lowercase() || c.is_numeric();
        if let Some(last) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            last.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_password_survives_and_twice_is_the_same_as_once(
            password in "[A-Z][A-Z0-9@/:?#é]{7,20}",
            user in "[a-z]{0,5}",
            rest in "[a-z]{1,8}(:[0-9]{2,4})?(/[a-z=&?]{0,12})?",
        ) {
            let clean = without_secrets(&format!("s3://{user}:{password}@{rest}")).into_owned();
            prop_assert!(!clean.contains(&password), "{}", clean);
            prop_assert_eq!(without_secrets(&clean).into_owned(), clean);
        }

        #[test]
        fn any_text_can_be_looked_at(text in "\\PC{0,40}", address in "[a-z]{0,2}://[:@/?=&#a-z\\PC]{0,30}") {
            for text in [text, address] {
                let clean = without_secrets(&text).into_owned();
                prop_assert_eq!(without_secrets(&clean).into_owned(), clean);
            }
        }
    }

    #[test]
    fn secrets_are_told_by_the_end_of_their_names() {
        for secret in
            ["password", "DB_PASSWORD", "apiKey", "api-key", "sasToken", "X-Amz-Signature", "aws_secret_access_key"]
        {
            assert!(is_secret(secret), "{secret}");
        }
        for open in ["keys", "key", "tokens", "password_columns", "tokenizer", "signature_columns", "", "secretary"] {
            assert!(!is_secret(open), "{open}");
        }
    }

    #[test]
    fn settings_keep_everything_but_secrets() {
        let mut value = serde_json::json!({
            "keys": ["id"], "action": "token", "token_bytes": 12, "token": 16, "retry": {"secret": {"deep": [1, 2]}},
            "sources": ["s3://bucket/a", "https://u:p@host/x?sig=abc&part=1"], "nothing": null, "password": null,
        });
        redact(&mut value);
        let expected = serde_json::json!({
            "keys": ["id"], "action": "token", "token_bytes": 12, "token": 16, "retry": {"secret": "[redacted]"},
            "sources": ["s3://bucket/a", "https://u:[redacted]@host/x?sig=[redacted]&part=1"], "nothing": null,
            "password": null,
        });
        assert_eq!(value, expected);
        redact(&mut value);
        assert_eq!(value, expected, "twice is the same as once");
    }

    #[test]
    fn passwords_that_were_not_encoded_are_found_whole() {
        check("postgres://lan:p@ss/wörd@db/crm", "postgres://lan:[redacted]@db/crm");
        check("https://:p@[::1]:80/x", "https://:[redacted]@[::1]:80/x");
        check("https://host:8080/mail=a@b", "https://host:8080/mail=a@b");
        check("https://host/x?at=10:30&mail=a@b&apikey=", "https://host/x?at=10:30&mail=a@b&apikey=[redacted]");
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(without_secrets(text), expected);
    }

    #[test]
    fn addresses_without_secrets_stay_as_they_are() {
        for open in ["s3://bucket/a?versionId=1", "postgres://lan@db/crm", "C:\\data\\a.csv", "file:///a@b", "://", ""]
        {
            assert!(matches!(without_secrets(open), Cow::Borrowed(same) if same == open), "{open}");
        }
    }
}
