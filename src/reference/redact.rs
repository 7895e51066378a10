//! Takes secrets out of what is written for people: credentials in URLs, and secrets that are known.

use std::borrow::Cow;

use serde_json::Value;

/// What stands where a secret was.
const REDACTED: &str = "<redacted>";

/// The text without the credentials of its URLs: `http://user:password@host` becomes
/// `http://<redacted>@host`.
pub fn urls(text: &str) -> Cow<'_, str> {
    const SCHEME_END: &str = "://";
    // A password may hold anything but what ends the authority of a URL.
    let ends = |letter: char| letter.is_whitespace() || "/?#\"'<>\\`".contains(letter);
    let mut clean = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(SCHEME_END) {
        let (before, after) = rest.split_at(at + SCHEME_END.len());
        let (authority, further) = after.split_at(after.find(ends).unwrap_or(after.len()));
        clean.push_str(before);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                clean.push_str(REDACTED);
                clean.push('@');
                clean.push_str(host);
            }
            None => clean.push_str(authority),
        }
        rest = further;
    }
    if clean.is_empty() {
        return Cow::Borrowed(text);
    }
    clean.push_str(rest);
    Cow::Owned(clean)
}

/// The text without the credentials of its URLs and without these secrets.
pub fn all(text: &str, secrets: &[String]) -> String {
    let known = secrets.iter().filter(|secret| !secret.is_empty());
    known.fold(urls(text).into_owned(), |text, secret| {
        text.replace(secret.as_str(), REDACTED)
    })
}

/// The value with every string in it redacted.
pub fn value(mut value: Value) -> Value {
    in_place(&mut value);
    value
}

fn in_place(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(clean) = urls(text) {
                *text = clean;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(in_place),
        Value::Object(fields) => fields.values_mut().for_each(in_place),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_go_and_everything_else_stays() {
        for (text, clean) in [
            ("nothing", "nothing"),
            ("http://127.0.0.1:80/a@b", "http://127.0.0.1:80/a@b"),
            ("http://u:p@h:80/x?y", "http://<redacted>@h:80/x?y"),
            ("(http://u:p@q@h)", "(http://<redacted>@h)"),
            (
                "a http://t@h b https://u:p@i\" c",
                "a http://<redacted>@h b https://<redacted>@i\" c",
            ),
            ("://", "://"),
        ] {
            assert_eq!(urls(text), clean);
        }
        let nested = json!({"a": [{"url": "http://u:p@h"}], "n": 1, "s": "x"});
        let clean = json!({"a": [{"url": "http://<redacted>@h"}], "n": 1, "s": "x"});
        assert_eq!(value(nested), clean);
    }

    #[test]
    fn known_secrets_go_wherever_they_stand_and_an_empty_one_is_none() {
        let secrets = ["svc_1".to_owned(), String::new()];
        let clean = "a<redacted>b <redacted>";
        assert_eq!(all("asvc_1b svc_1", &secrets), clean);
    }
}
