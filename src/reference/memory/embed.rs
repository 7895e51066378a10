//! From a text to a vector: the configured backend, or, when none is, a small embedder of our own.
//! A text that has no vector just now gets one later; until then it is found by its words.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::reference::service::Service;

/// The dimension of our own vectors.
const OWN_DIMENSION: usize = 64;

/// What a vector is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be kept with a memory.
    Keep,
    /// To look for others.
    Search,
    /// To be kept with a memory that went without.
    Mend,
}

/// What is to become a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What for.
    pub purpose: Purpose,
    /// Of which text.
    pub text: String,
    /// In which conversation.
    pub correlation_id: String,
}

/// A vector of length 1; none, when there is none to be had.
pub type Embedder =
    Arc<dyn Fn(Arc<Service>, Wanted) -> BoxFuture<'static, Option<Vec<f32>>> + Send + Sync>;

/// Who embeds: vectors of one are nothing to those of another.
pub(super) fn embedder(svc: &Service) -> &'static str {
    match svc.config().backends.embeddings.url {
        Some(_) => "backend",
        None => "builtin",
    }
}

/// As it is configured.
pub fn configured(svc: Arc<Service>, wanted: Wanted) -> BoxFuture<'static, Option<Vec<f32>>> {
    Box::pin(async move {
        let config = svc.config();
        let Some(url) = &config.backends.embeddings.url else {
            return of_length_1(own(&wanted.text));
        };
        let timeout = Duration::from_millis(config.backends.embeddings.timeout_ms);
        match ask(&svc, url, &wanted, timeout).await {
            Ok(vector) => of_length_1(vector),
            Err(error) => {
                tracing::warn!(%error, "no embedding");
                None
            }
        }
    })
}

async fn ask(
    svc: &Service,
    url: &str,
    wanted: &Wanted,
    timeout: Duration,
) -> reqwest::Result<Vec<f32>> {
    let answer = svc
        .http
        .post(format!("{}/embed", url.trim_end_matches('/')))
        .timeout(timeout)
        .header("x-correlation-id", &wanted.correlation_id)
        .json(&json!({"texts": [wanted.text]}))
        .send()
        .await?
        .error_for_status()?;
    let answer: Value = answer.json().await?;
    let numbers = answer["vectors"][0].as_array();
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN) as f32;
    Ok(numbers.into_iter().flatten().map(number).collect())
}

fn of_length_1(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let squares = vector.iter().map(|x| f64::from(*x) * f64::from(*x));
    let length = squares.sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        return None;
    }
    for x in &mut vector {
        *x = (f64::from(*x) / length) as f32;
    }
    Some(vector)
}

/// Words and groups of three letters, each thrown into one of the dimensions with a sign: texts that
/// share many are near each other. The same text always gives the same vector.
fn own(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0; OWN_DIMENSION];
    let mut throw = |feature: &str, weight: f32| {
        let hash = fnv1a(feature.as_bytes());
        let sign = if hash >> 63 == 0 { weight } else { -weight };
        vector[(hash % OWN_DIMENSION as u64) as usize] += sign;
    };
    for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()) {
        if word.is_empty() {
            continue;
        }
        throw(word, 1.0);
        let letters: Vec<char> = format!("^{word}$").chars().collect();
        for three in letters.windows(3) {
            throw(&three.iter().collect::<String>(), 0.5);
        }
    }
    vector
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: &str, two: &str) -> f32 {
        let vector = |text| of_length_1(own(text)).unwrap();
        let (one, two) = (vector(one), vector(two));
        one.iter().zip(&two).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn texts_that_share_words_are_near_and_the_same_ones_the_same() {
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        assert!((near("tea at four", "Tea, at FOUR!") - 1.0).abs() < 1e-6);
        assert!(near("tea at four", "tea at five") > near("tea at four", "the red bicycle"));
        assert_eq!(of_length_1(own("?!")), None);
        assert_eq!(of_length_1(vec![f32::NAN, 1.0]), None);
    }
}
