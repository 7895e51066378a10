//! Headers of the contract: correlation id, idempotency key, fence, causal parent.

use axum::http::HeaderMap;

use super::{Fence, IdempotencyKey, Refusal};

/// The longest correlation id that is taken.
pub const CORRELATION_ID_CHARS: usize = 128;
/// The longest idempotency key.
pub const IDEMPOTENCY_KEY_CHARS: usize = 255;

const ID_CHARS: std::ops::RangeInclusive<usize> = 1..=CORRELATION_ID_CHARS;
const KEY_CHARS: std::ops::RangeInclusive<usize> = 1..=IDEMPOTENCY_KEY_CHARS;

/// The correlation id that was sent, if it has the right form.
pub(super) fn correlation_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("x-correlation-id")?.to_str().ok()?;
    let right = ID_CHARS.contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    right.then(|| id.to_owned())
}

/// The key of `X-Idempotency-Key`, or of `Idempotency-Key` as the IETF draft writes it.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Refusal> {
    let plain = one(headers, "x-idempotency-key")?.map(|text| key(text.to_owned()));
    let quoted = one(headers, "idempotency-key")?.map(|text| unquote(text).and_then(key));
    match (plain.transpose()?, quoted.transpose()?) {
        (Some(plain), Some(quoted)) if plain != quoted => Err(Refusal::malformed(
            "X-Idempotency-Key and Idempotency-Key differ",
        )),
        (plain, quoted) => Ok(plain.or(quoted)),
    }
}

/// The number of `X-Fence-Token`.
pub(super) fn fence(headers: &HeaderMap) -> Result<Fence, Refusal> {
    let Some(text) = one(headers, "x-fence-token")? else {
        return Ok(None);
    };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(fence) if digits => Ok(Some(fence)),
        _ => Err(Refusal::malformed("X-Fence-Token: expected a whole number")),
    }
}

/// `chain/seq/hash` of `X-Causal-Parent`; anything else is not worth a refusal.
pub(super) fn causal_parent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("x-causal-parent")?.to_str().ok()?;
    let mut parts = text.split('/');
    let (chain, seq, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let right = parts.next().is_none()
        && ID_CHARS.contains(&chain.len())
        && seq.parse::<u64>().is_ok()
        && hash.len() == 64
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    right.then(|| text.to_owned())
}

/// The number of `X-Replay-Generation`; 0 for anything else.
pub(super) fn replay_generation(headers: &HeaderMap) -> i64 {
    let text = headers
        .get("x-replay-generation")
        .and_then(|value| value.to_str().ok());
    let number = text.and_then(|text| text.parse().ok());
    number.filter(|number| *number > 0).unwrap_or(0)
}

fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut all = headers.get_all(name).iter();
    let Some(first) = all.next() else {
        return Ok(None);
    };
    match (first.to_str(), all.next()) {
        (Ok(text), None) => Ok(Some(text)),
        _ => Err(Refusal::malformed(format!(
            "{name}: expected once, in visible ASCII"
        ))),
    }
}

fn key(text: String) -> Result<IdempotencyKey, Refusal> {
    let right = KEY_CHARS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if right {
        Ok(IdempotencyKey(text))
    } else {
        Err(Refusal::malformed(
            "an idempotency key has 1 to 255 visible ASCII characters",
        ))
    }
}

/// An RFC 8941 string: `"…"`, with `\"` and `\\` inside.
fn unquote(text: &str) -> Result<String, Refusal> {
    let wrong = || Refusal::malformed("Idempotency-Key: expected a quoted string");
    let inner = text
        .trim()
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let mut plain = String::new();
    let mut chars = inner.ok_or_else(wrong)?.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some(escaped @ ('"' | '\\')) => plain.push(escaped),
                _ => return Err(wrong()),
            },
            '"' => return Err(wrong()),
            other => plain.push(other),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn key_of(pairs: &[(&'static str, &'static str)]) -> Result<Option<String>, u16> {
        idempotency_key(&headers(pairs))
            .map(|key| key.map(|key| key.0))
            .map_err(|refusal| refusal.status)
    }

    #[test]
    fn both_headers_name_the_same_key() {
        assert_eq!(
            key_of(&[("x-idempotency-key", "k-1")]),
            Ok(Some("k-1".to_owned()))
        );
        assert_eq!(
            key_of(&[("idempotency-key", "\"k-1\"")]),
            Ok(Some("k-1".to_owned()))
        );
        assert_eq!(
            key_of(&[("idempotency-key", r#""a\"b\\c""#)]),
            Ok(Some(r#"a"b\c"#.to_owned()))
        );
        assert_eq!(key_of(&[]), Ok(None));
    }

    #[test]
    fn a_malformed_key_is_refused() {
        let bad: &[&[(&str, &str)]] = &[
            &[("idempotency-key", "k-1")],
            &[("idempotency-key", "\"k\"1\"")],
            &[("idempotency-key", "\"a b\"")],
            &[("x-idempotency-key", "")],
            &[("x-idempotency-key", "a b")],
            &[("x-idempotency-key", "a"), ("idempotency-key", "\"b\"")],
            &[("x-idempotency-key", "a"), ("x-idempotency-key", "b")],
        ];
        for pairs in bad {
            assert_eq!(key_of(pairs), Err(400), "{pairs:?}");
        }
    }

    #[test]
    fn a_fence_is_a_whole_number() {
        assert_eq!(fence(&headers(&[("x-fence-token", "41")])), Ok(Some(41)));
        for bad in ["", "-1", "+1", "4x", "99999999999999999999"] {
            assert!(
                fence(&headers(&[("x-fence-token", bad)])).is_err(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_correlation_id_of_the_wrong_form_is_not_taken() {
        let sent = |text| correlation_id(&headers(&[("x-correlation-id", text)]));
        assert_eq!(sent("a.B_c-9").as_deref(), Some("a.B_c-9"));
        assert_eq!(sent("a b"), None);
        assert_eq!(sent(""), None);
    }
}
