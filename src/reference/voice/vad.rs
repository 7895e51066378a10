//! Who speaks, and when: the energy of frames of 20 ms. Time is counted in samples, never read from
//! a clock: half a second of silence is so many samples, however fast they come.

/// A frame: 20 ms of 16-bit mono PCM at 16 kHz.
pub const FRAME_BYTES: usize = 640;
/// Its length.
const FRAME_MS: u64 = 20;

/// What makes speech of sound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VadRule {
    /// A frame whose root of the mean square is at least this is speech.
    pub threshold: f64,
    /// This much silence ends an utterance; a part of a frame counts as a whole one.
    pub silence_ms: u64,
}

/// What was heard in a piece of audio, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An utterance begins.
    Began,
    /// Audio of the utterance.
    Audio(Vec<u8>),
    /// It is over.
    Ended,
}

/// Finds the utterances in a stream of audio.
pub trait TurnDetector: Send {
    /// Takes the next bytes of PCM, however they are cut.
    fn hear(&mut self, pcm: &[u8]) -> Vec<Heard>;

    /// Ends the utterance, if there is one, with all that was heard.
    fn end(&mut self) -> Vec<Heard>;
}

/// By energy.
#[derive(Debug)]
pub struct Vad {
    rule: VadRule,
    /// Less than a frame.
    rest: Vec<u8>,
    /// Frames of silence since the last one of speech; none while nobody speaks.
    silent: Option<u64>,
}

impl Vad {
    /// One that has heard nothing.
    pub fn new(rule: VadRule) -> Self {
        Self {
            rule,
            rest: Vec::new(),
            silent: None,
        }
    }

    fn frame(&mut self, frame: &[u8], heard: &mut Vec<Heard>) {
        let loud = energy(frame) >= self.rule.threshold;
        let silent = match (self.silent, loud) {
            // What precedes an utterance is not part of it.
            (None, false) => return,
            (None, true) => {
                heard.push(Heard::Began);
                0
            }
            (Some(_), true) => 0,
            (Some(silent), false) => silent + 1,
        };
        audio(frame, heard);
        self.silent = Some(silent);
        if silent >= self.rule.silence_ms.div_ceil(FRAME_MS).max(1) {
            self.silent = None;
            heard.push(Heard::Ended);
        }
    }
}

impl TurnDetector for Vad {
    fn hear(&mut self, pcm: &[u8]) -> Vec<Heard> {
        let mut heard = Vec::new();
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(pcm);
        let mut frames = bytes.chunks_exact(FRAME_BYTES);
        for frame in &mut frames {
            self.frame(frame, &mut heard);
        }
        self.rest = frames.remainder().to_vec();
        heard
    }

    fn end(&mut self) -> Vec<Heard> {
        let rest = std::mem::take(&mut self.rest);
        let mut heard = Vec::new();
        if self.silent.take().is_some() {
            audio(&rest, &mut heard);
            heard.push(Heard::Ended);
        }
        heard
    }
}

/// Appends to the audio that was heard last, or begins another piece of it.
fn audio(pcm: &[u8], heard: &mut Vec<Heard>) {
    match heard.last_mut() {
        _ if pcm.is_empty() => {}
        Some(Heard::Audio(bytes)) => bytes.extend_from_slice(pcm),
        _ => heard.push(Heard::Audio(pcm.to_vec())),
    }
}

/// The root of the mean square of the samples.
fn energy(pcm: &[u8]) -> f64 {
    let samples = pcm.chunks_exact(2);
    let count = samples.len().max(1) as f64;
    let squares = samples.map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])).powi(2));
    (squares.sum::<f64>() / count).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULE: VadRule = VadRule {
        threshold: 500.0,
        silence_ms: 500,
    };

    /// So many frames of this loudness.
    fn frames(count: usize, loudness: i16) -> Vec<u8> {
        let pair = [loudness.to_le_bytes(), (-loudness).to_le_bytes()].concat();
        pair.repeat(count * FRAME_BYTES / 4)
    }

    fn hear(pieces: &[Vec<u8>]) -> Vec<Heard> {
        let mut vad = Vad::new(RULE);
        pieces.iter().flat_map(|piece| vad.hear(piece)).collect()
    }

    fn count(heard: &[Heard], what: &Heard) -> usize {
        heard.iter().filter(|one| *one == what).count()
    }

    #[test]
    fn speech_and_half_a_second_of_silence_is_one_utterance() {
        let heard = hear(&[frames(3, 4000), frames(24, 0)]);
        assert_eq!(count(&heard, &Heard::Began), 1);
        assert_eq!(count(&heard, &Heard::Ended), 0, "480 ms is a pause");
        let heard = hear(&[[frames(2, 0), frames(3, 4000), frames(50, 0)].concat()]);
        let utterance = [frames(3, 4000), frames(25, 0)].concat();
        assert_eq!(heard, [Heard::Began, Heard::Audio(utterance), Heard::Ended]);
    }

    #[test]
    fn a_pause_is_part_of_the_utterance() {
        let pause = [
            frames(3, 4000),
            frames(24, 0),
            frames(1, 4000),
            frames(25, 0),
        ];
        let heard = hear(&[pause.concat()]);
        assert_eq!(
            heard,
            [Heard::Began, Heard::Audio(pause.concat()), Heard::Ended]
        );
    }

    #[test]
    fn silence_and_what_is_under_the_threshold_are_nothing() {
        assert_eq!(hear(&[frames(200, 0)]), []);
        assert_eq!(hear(&[frames(200, 499)]), []);
        assert_eq!(hear(&[frames(1, 500)])[0], Heard::Began);
    }

    #[test]
    fn each_utterance_has_its_own_begin_and_end() {
        let one = [frames(2, 4000), frames(25, 0)].concat();
        let heard = hear(&[one.clone(), one]);
        assert_eq!(count(&heard, &Heard::Began), 2);
        assert_eq!(count(&heard, &Heard::Ended), 2);
    }

    #[test]
    fn an_end_that_is_asked_for_leaves_nothing_out() {
        let mut vad = Vad::new(RULE);
        let part = &frames(1, 4000)[..100];
        vad.hear(&frames(1, 4000));
        vad.hear(part);
        assert_eq!(vad.end(), [Heard::Audio(part.to_vec()), Heard::Ended]);
        assert_eq!(vad.end(), []);
        vad.hear(part);
        assert_eq!(vad.end(), [], "nobody spoke");
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_audio_is_cut(
            loud in proptest::collection::vec(any::<bool>(), 1..60), cut in 1_usize..2000,
        ) {
            let pcm = loud.iter().flat_map(|loud| frames(1, if *loud { 4000 } else { 0 }));
            let pcm: Vec<u8> = pcm.collect();
            let mut joined = Vec::new();
            let pieces: Vec<Vec<u8>> = pcm.chunks(cut).map(<[u8]>::to_vec).collect();
            for one in hear(&pieces) {
                match one {
                    Heard::Audio(bytes) => audio(&bytes, &mut joined),
                    other => joined.push(other),
                }
            }
            prop_assert_eq!(joined, hear(&[pcm]));
        }
    }
}
