//! Texts of disjoint words with vectors that the harness chose: an embedding backend that knows them,
//! and requests that store them and look for them.

use std::collections::BTreeMap;
use std::io;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::random_id;
use crate::checks::{Cx, Sent};
use crate::doubles::{Double, Kind};
use crate::target::{Ask, Client};

const SERVICE: &str = "memory-engine";
/// The dimension of the vectors.
const DIMENSION: usize = 16;
/// How far a question lies from the text that it is about: far less than from any other.
const NOISE: f64 = 0.05;

/// A text with a vector of its own, and a question near it that shares no word with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The text.
    pub text: String,
    /// Its vector.
    pub vector: Vec<f64>,
    /// The question.
    pub question: String,
    /// The question's vector.
    pub asked: Vec<f64>,
}

/// Places drawn by a seed, and the double that knows their vectors.
pub(super) struct Space {
    pub(super) places: Vec<Place>,
    pub(super) double: Double,
}

impl Space {
    pub(super) async fn open(cx: &Cx, places: usize) -> io::Result<Self> {
        let mut rng = cx.seed.child("space").rng();
        let places: Vec<Place> = (0..places).map(|_| place(&mut rng)).collect();
        let double = Double::start(Kind::Embeddings, cx.clock).await?;
        let known: BTreeMap<String, Vec<f64>> = places
            .iter()
            .flat_map(|place| {
                [
                    (place.text.clone(), place.vector.clone()),
                    (place.question.clone(), place.asked.clone()),
                ]
            })
            .collect();
        double.script(move |request| {
            let texts = request["texts"].as_array().map_or(&[][..], Vec::as_slice);
            let vector = |text: &Value| {
                let known = known.get(text.as_str().unwrap_or_default());
                known.cloned().unwrap_or_else(|| vec![1.0; DIMENSION])
            };
            let vectors: Vec<Vec<f64>> = texts.iter().map(vector).collect();
            json!({"vectors": vectors})
        });
        Ok(Self { places, double })
    }

    /// The config that makes a target ask this double.
    pub(super) fn patch(&self) -> Value {
        json!({"backends": {"embeddings": {"url": self.double.url()}}})
    }

    /// How often the double was asked for the vector of this text.
    pub(super) fn asked(&self, text: &str) -> u64 {
        let calls = self.double.calls();
        let about = |call: &&crate::doubles::Call| {
            let texts = call.body["texts"].as_array();
            texts.is_some_and(|texts| texts.iter().any(|one| one == text))
        };
        calls.iter().filter(about).count() as u64
    }
}

fn place(rng: &mut ChaCha8Rng) -> Place {
    let mut draw = || -> Vec<f64> {
        (0..DIMENSION)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect()
    };
    let (vector, noise) = (draw(), draw());
    let asked = vector
        .iter()
        .zip(&noise)
        .map(|(x, noise)| x + NOISE * noise);
    Place {
        asked: asked.collect(),
        vector,
        text: format!("{} {}", random_id("t", rng), random_id("t", rng)),
        question: random_id("q", rng),
    }
}

/// The cosine of the angle of two vectors.
pub(super) fn cosine(one: &[f64], two: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    dot(one, two) / (dot(one, one) * dot(two, two)).sqrt()
}

/// Stores a text.
pub(super) async fn store(client: &Client, text: &str) -> Sent {
    let body = json!({"type": "note", "content": text});
    send(client, Ask::post(SERVICE, "/store", body)).await
}

/// Looks for something.
pub(super) async fn search(client: &Client, query: &str, limit: u64) -> Sent {
    let body = json!({"query": query, "limit": limit});
    send(client, Ask::post(SERVICE, "/search", body)).await
}

/// What the target says of its index.
pub(super) async fn index(client: &Client) -> Sent {
    send(client, Ask::get(SERVICE, "/v1/index")).await
}

/// Sends, and keeps what came of it.
pub(super) async fn send(client: &Client, ask: Ask) -> Sent {
    Sent::new(&client.send(ask).await, client.credential())
}

/// The results of a search; none, when it has none to tell.
pub(super) fn results(sent: &Sent) -> Option<&Vec<Value>> {
    sent.answer["results"].as_array().filter(|_| sent.ok())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::checks::by_hand;

    /// A request of op-1 with this answer.
    pub(crate) fn sent(path: &str, status: u16, answer: Value) -> Sent {
        by_hand::sent(SERVICE, "POST", path, status, answer)
    }

    #[test]
    fn a_question_is_nearest_to_the_text_that_it_is_about() {
        let mut rng = crate::base::Seed(7).rng();
        let places: Vec<Place> = (0..50).map(|_| place(&mut rng)).collect();
        for (number, one) in places.iter().enumerate() {
            let near = |other: &Place| cosine(&one.asked, &other.vector);
            let best = (0..50).max_by(|a, b| near(&places[*a]).total_cmp(&near(&places[*b])));
            assert_eq!(best, Some(number));
            assert!(near(one) > 0.95 && !one.text.contains(&one.question));
        }
    }
}
