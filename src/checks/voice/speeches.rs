//! What was spoken, as it was heard over a socket: from `speech.started` to `speech.ended` or
//! `speech.stopped`, and the audio between. Audio outside of that belongs to nothing.

use super::talk::Line;
use crate::doubles::tones;

/// One speech.
#[derive(Clone, Debug, Default)]
pub struct Speech<'a> {
    /// The turn that is answered.
    pub turn_id: Option<&'a str>,
    /// Its audio, frame by frame.
    pub frames: Vec<&'a Line>,
    /// How it ended; none when it did not.
    pub end: Option<&'a Line>,
}

impl Speech<'_> {
    /// Its audio.
    #[must_use]
    pub fn pcm(&self) -> Vec<u8> {
        self.frames.iter().flat_map(|frame| frame.bytes()).collect()
    }

    /// What is wrong with it, if it is to be all of this text: bytes, frames, and what is told of
    /// them at the end.
    #[must_use]
    pub fn wrong(&self, text: &str) -> Option<String> {
        let (got, expected) = (self.pcm(), tones::speak(text));
        let heard = tones::hear(&got);
        if got != expected {
            return Some(format!(
                "got {} bytes that say {heard:?}, expected {} that say {text:?}",
                got.len(),
                expected.len()
            ));
        }
        let Some(end) = self.end.filter(|end| end.kind == "speech.ended") else {
            let end = self.end.map_or("nothing", |end| end.kind.as_str());
            return Some(format!("got {end} at its end, expected speech.ended"));
        };
        let told = [&end.payload["frames"], &end.payload["bytes"]].map(|told| told.as_u64());
        let counted = [self.frames.len(), got.len()].map(|counted| Some(counted as u64));
        let wrong = format!("got frames and bytes {told:?} told, expected {counted:?} as counted");
        (told != counted).then_some(wrong)
    }
}

/// The speeches in a conversation, in order, and the audio that belongs to none.
#[must_use]
pub fn heard(lines: &[Line]) -> (Vec<Speech<'_>>, Vec<&Line>) {
    let (mut speeches, mut stray): (Vec<Speech<'_>>, _) = (Vec::new(), Vec::new());
    for line in lines {
        let open = speeches.last_mut().filter(|speech| speech.end.is_none());
        if line.is("speech.started") {
            speeches.push(Speech {
                turn_id: line.turn_id.as_deref(),
                ..Speech::default()
            });
        } else if line.is("audio") {
            match open {
                Some(speech) => speech.frames.push(line),
                None => stray.push(line),
            }
        } else if (line.is("speech.ended") || line.is("speech.stopped"))
            && let Some(speech) = open
        {
            speech.end = Some(line);
        }
    }
    (speeches, stray)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::checks::voice::talk::By;

    fn text(kind: &str, payload: &serde_json::Value) -> Line {
        let frame = json!({"type": kind, "turn_id": "t-1", "payload": payload});
        Line::text(5, By::Target, &frame)
    }

    fn spoken(said: &str) -> Vec<Line> {
        let pcm = tones::speak(said);
        let frames = pcm.chunks(tones::FRAME_BYTES);
        let frames = frames.map(|frame| Line::audio(5, By::Target, frame));
        let end = json!({"frames": said.len(), "bytes": pcm.len()});
        let start = std::iter::once(text("speech.started", &json!({})));
        start
            .chain(frames)
            .chain([text("speech.ended", &end)])
            .collect()
    }

    #[test]
    fn a_speech_is_what_is_heard_between_its_start_and_its_end() {
        let ours = Line::audio(5, By::Us, &[1, 2]);
        let lines = [spoken("tea"), vec![ours], spoken("no")].concat();
        let (speeches, stray) = heard(&lines);
        assert_eq!((speeches.len(), stray.len()), (2, 0));
        assert_eq!(speeches[0].turn_id, Some("t-1"));
        assert_eq!(speeches[0].wrong("tea"), None);
        assert_eq!(speeches[1].wrong("no"), None);
        assert!(speeches[1].wrong("tea").is_some());
    }

    #[test]
    fn audio_after_the_end_is_stray_and_a_speech_without_one_is_wrong() {
        let mut lines = spoken("tea");
        lines.swap(3, 4);
        let (speeches, stray) = heard(&lines);
        assert_eq!(stray.len(), 1);
        assert!(speeches[0].wrong("te").unwrap().contains("told"));
        lines.truncate(3);
        let (speeches, _) = heard(&lines);
        assert!(speeches[0].wrong("te").unwrap().contains("at its end"));
    }
}
