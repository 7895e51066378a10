//! What a conversation takes: doubles that hear and speak, a target that is told to use them, and
//! audio cut into the pieces that are sent.

use std::time::Duration;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use serde_json::{Value, json};

use crate::checks::{Cx, Undecided};
use crate::doubles::{Double, Kind, tones};

/// How long the target waits for a provider. Where nothing is down, load alone must never be taken
/// for a provider that is.
const PATIENCE: Duration = Duration::from_secs(30);

/// The doubles of a conversation, beside the model.
pub struct Stage {
    /// Hears.
    pub asr: Double,
    /// Speaks.
    pub tts: Double,
}

impl Stage {
    /// Opens them.
    ///
    /// # Errors
    /// Without a port.
    pub async fn open(cx: &Cx) -> Result<Self, Undecided> {
        Ok(Self {
            asr: Double::start(Kind::Asr, cx.clock).await?,
            tts: Double::start(Kind::Tts, cx.clock).await?,
        })
    }

    /// The config of a target that uses them, and speaks in the frames of the double.
    #[must_use]
    pub fn config(&self) -> Value {
        config(&self.asr.url(), &self.tts.url())
    }
}

/// The same for providers at these URLs.
#[must_use]
pub fn config(asr: &str, tts: &str) -> Value {
    let patience = PATIENCE.as_millis() as u64;
    json!({
        "backends": {"asr": {"url": asr}, "tts": {"url": tts}},
        "voice": {
            "asr": {"provider": "http", "timeout_ms": patience},
            "tts": {"provider": "http", "timeout_ms": patience},
            "tts_frame_bytes": tones::FRAME_BYTES,
        },
    })
}

/// Cuts PCM into so many pieces, at samples and at no other boundary. Each piece is at least half
/// as long as it would be if all were equal.
pub fn pieces(rng: &mut impl Rng, pcm: &[u8], n: usize) -> Vec<Vec<u8>> {
    let (samples, n) = (pcm.len() / 2, n.max(1));
    let slack = samples / n / 4;
    let mut cut = |number: usize| match number {
        0 => 0,
        _ if number == n => samples,
        _ => samples * number / n - slack + rng.random_range(0..=2 * slack),
    };
    let cuts: Vec<usize> = (0..=n).map(|number| 2 * cut(number)).collect();
    cuts.windows(2)
        .map(|ends| pcm[ends[0]..ends[1]].to_vec())
        .collect()
}

/// A text of so many distinct letters and digits, at most 36, in an order of the seed.
pub fn letters(rng: &mut impl Rng, n: usize) -> String {
    let mut all: Vec<char> = ('a'..='z').chain('0'..='9').collect();
    all.shuffle(rng);
    all.into_iter().take(n).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::Seed;

    #[test]
    fn pieces_are_the_whole_and_none_is_short() {
        let pcm = tones::speak("twenty letters, I say");
        for seed in 0..50 {
            let mut rng = Seed(seed).rng();
            for n in [1, 2, 10] {
                let pieces = pieces(&mut rng, &pcm, n);
                assert_eq!((pieces.len(), pieces.concat()), (n, pcm.clone()));
                let shortest = pieces.iter().map(Vec::len).min().unwrap();
                assert!(shortest + 4 >= pcm.len() / n / 2, "{shortest} of {n}");
                assert!(pieces.iter().all(|piece| piece.len() % 2 == 0));
            }
        }
    }

    #[test]
    fn letters_are_distinct_and_of_the_seed() {
        let text = |seed| letters(&mut Seed(seed).rng(), 16);
        let distinct: BTreeSet<char> = text(1).chars().collect();
        assert_eq!((distinct.len(), text(1).len()), (16, 16));
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
    }
}
