//! Speech that a program can hear: text as tones and back, bit for bit. A byte is two tones of 10 ms,
//! one of sixteen pitches each, in 16-bit little-endian mono PCM at 16 kHz; so a byte fills one frame
//! of 20 ms. What is quieter than a tone is silence, and says nothing.

use std::f64::consts::TAU;

/// Samples of a second.
pub const SAMPLE_RATE_HZ: u32 = 16_000;
/// Bytes of PCM that carry one byte of text: a frame of 20 ms.
pub const FRAME_BYTES: usize = 2 * 2 * TONE_SAMPLES;
/// A tone of 10 ms. All pitches are whole multiples of 100 Hz, so over this they are orthogonal.
const TONE_SAMPLES: usize = 160;
/// The lowest pitch is this many periods in a tone: 500 Hz.
const LOWEST_PERIODS: usize = 5;
/// How loud: the root of the mean square of a tone is this over the root of two.
const AMPLITUDE: f64 = 8_000.0;
/// The root of the mean square under which there is no tone.
const QUIET: f64 = 1_000.0;

/// The text as PCM.
#[must_use]
pub fn speak(text: &str) -> Vec<u8> {
    let tones = text.bytes().flat_map(|byte| [byte >> 4, byte & 15]);
    let samples = tones.flat_map(|tone| (0..TONE_SAMPLES).map(move |at| sample(tone, at)));
    samples.flat_map(i16::to_le_bytes).collect()
}

/// Silence of this length, as PCM.
#[must_use]
pub fn silence(ms: usize) -> Vec<u8> {
    vec![0; ms * SAMPLE_RATE_HZ as usize / 1000 * 2]
}

/// The text that the PCM so far carries: of a byte that is not over nothing is understood, and of
/// a character whose bytes are not all there neither.
#[must_use]
pub fn hear(pcm: &[u8]) -> String {
    let frames = pcm.chunks_exact(FRAME_BYTES);
    let bytes: Vec<u8> = frames.filter_map(byte).collect();
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let whole = error.utf8_error().valid_up_to();
            String::from_utf8_lossy(&error.into_bytes()[..whole]).into_owned()
        }
    }
}

fn sample(tone: u8, at: usize) -> i16 {
    let periods = (LOWEST_PERIODS + usize::from(tone)) as f64;
    let phase = TAU * periods * at as f64 / TONE_SAMPLES as f64;
    (AMPLITUDE * phase.sin()).round() as i16
}

/// The byte of one frame; none when one of its tones is silence.
fn byte(frame: &[u8]) -> Option<u8> {
    let samples: Vec<f64> = frame
        .chunks_exact(2)
        .map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])))
        .collect();
    let (high, low) = samples.split_at(TONE_SAMPLES);
    Some(tone(high)? << 4 | tone(low)?)
}

/// The pitch with most of the energy.
fn tone(samples: &[f64]) -> Option<u8> {
    let power = samples.iter().map(|s| s * s).sum::<f64>() / samples.len() as f64;
    if power.sqrt() < QUIET {
        return None;
    }
    (0..16).max_by(|a, b| energy(samples, *a).total_cmp(&energy(samples, *b)))
}

fn energy(samples: &[f64], tone: u8) -> f64 {
    let step = TAU * (LOWEST_PERIODS + usize::from(tone)) as f64 / TONE_SAMPLES as f64;
    let sum = |part: fn(f64) -> f64| -> f64 {
        let terms = samples.iter().enumerate();
        terms.map(|(at, s)| s * part(step * at as f64)).sum()
    };
    sum(f64::sin).powi(2) + sum(f64::cos).powi(2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_is_spoken_is_heard(text in "\\PC{0,24}") {
            prop_assert_eq!(hear(&speak(&text)), text);
        }
    }

    #[test]
    fn every_byte_has_tones_of_its_own() {
        let text: String = (0..=0x7f).map(char::from).chain("äß€😀".chars()).collect();
        assert_eq!(hear(&speak(&text)), text);
        assert_eq!(speak("ab").len(), 2 * FRAME_BYTES);
    }

    #[test]
    fn silence_says_nothing_wherever_it_is() {
        let pcm = [silence(40), speak("hi"), silence(500), speak("!")].concat();
        assert_eq!(hear(&pcm), "hi!");
        assert_eq!(hear(&silence(1000)), "");
        assert_eq!(silence(20).len(), FRAME_BYTES);
    }

    #[test]
    fn what_is_not_over_is_not_understood() {
        let pcm = speak("a€");
        assert_eq!(hear(&pcm[..FRAME_BYTES - 2]), "");
        assert_eq!(hear(&pcm[..FRAME_BYTES * 3]), "a");
        assert_eq!(hear(&pcm), "a€");
    }

    #[test]
    fn other_tones_are_another_text() {
        let mut pcm = speak("abc");
        let (a, b) = pcm.split_at_mut(FRAME_BYTES);
        a.swap_with_slice(&mut b[..FRAME_BYTES]);
        assert_eq!(hear(&pcm), "bac");
    }
}
