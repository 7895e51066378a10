use super::*;
use crate::checks::by_hand;
use crate::checks::voice::counted::counted;
use serde_json::Value;

fn text(at_us: u64, kind: &str, id: &str, payload: &Value) -> Line {
    let frame = json!({"type": kind, "turn_id": id, "payload": payload});
    Line::text(at_us, By::Target, &frame)
}

fn frames(at_us: u64, said: &str) -> Vec<Line> {
    let pcm = tones::speak(said);
    let frames = pcm.chunks(tones::FRAME_BYTES);
    frames
        .map(|frame| Line::audio(at_us, By::Target, frame))
        .collect()
}

fn ours(at_us: u64) -> Line {
    Line::audio(at_us, By::Us, &[1, 2])
}

/// The lines of the good one: 0 silence, 1 ack, 2 halves, 3 ack, 4 the last silence, 5 the final
/// transcript, 6 `speech.started`, 7 and 8 audio, 9 the interruption, 10 `speech.stopped`, 11 the
/// final transcript, 12 `speech.started`, 13 to 23 audio, 24 `speech.ended`.
fn good() -> Evidence {
    let told = json!({"frames": 11, "bytes": 11 * tones::FRAME_BYTES});
    let lines = [
        vec![ours(1), text(2, "ack", "", &json!({"of": "control.ping"}))],
        vec![ours(3), text(4, "ack", "", &json!({"of": "control.ping"}))],
        vec![ours(5)],
        vec![text(6, "transcript.final", "utt_1", &json!({"text": "ab"}))],
        vec![text(7, "speech.started", "utt_1", &json!({}))],
        frames(8, "Yo"),
        vec![ours(10)],
        vec![text(
            20,
            "speech.stopped",
            "utt_1",
            &json!({"reason": "barge_in"}),
        )],
        vec![text(21, "transcript.final", "utt_2", &json!({"text": "c"}))],
        vec![text(22, "speech.started", "utt_2", &json!({}))],
        frames(23, &answer("c")),
        vec![text(24, "speech.ended", "utt_2", &told)],
    ];
    Evidence {
        said: ["a", "b", "c"].map(str::to_owned).into(),
        lines: lines.concat(),
        quiet: Some(2),
        paused: Some(4),
        answered: Some(9),
        interrupted: Some(9),
        asked: vec!["ab".to_owned(), "c".to_owned()],
        complete: true,
        turns: counted(2),
    }
}

fn violated(change: impl FnOnce(&mut Evidence), words: &str) {
    by_hand::violated(judge, good(), change, words);
}

#[test]
fn one_turn_none_of_silence_and_playback_that_stops_pass() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, Vec::<String>::new());
    for name in ["utterances", "silences", "barge_ins"] {
        assert_eq!(judgement.exercised[name], 1, "{name}");
    }
}

#[test]
fn nothing_at_all_is_undecided() {
    let judgement = judge(&Evidence::default());
    assert!(judgement.violations.is_empty() && !judgement.undecided.is_empty());
    let mut seen = good();
    (seen.interrupted, seen.complete) = (None, false);
    seen.lines.truncate(9);
    seen.asked.truncate(1);
    let judgement = judge(&seen);
    assert!(judgement.violations.is_empty() && !judgement.undecided.is_empty());
}

#[test]
fn an_utterance_that_is_told_twice_is_one() {
    let mut seen = good();
    seen.lines[4] = seen.lines[5].clone();
    assert_eq!(judge(&seen).violations, Vec::<String>::new());
}

#[test]
fn every_violation_of_turns_is_seen() {
    let early = |at: usize, to: usize| {
        move |seen: &mut Evidence| {
            let line = seen.lines[at].clone();
            seen.lines[to] = line;
        }
    };
    violated(early(5, 1), "after 2000 ms of silence: got the turns");
    violated(early(5, 3), "after pauses of 480 ms: got the turns");
    let never = |seen: &mut Evidence| {
        seen.lines[5] = ours(6);
        seen.asked.clear();
    };
    violated(never, "after 500 ms of silence: got the turns []");
    let halves = |seen: &mut Evidence| {
        seen.lines[5].payload = json!({"text": "b"});
    };
    violated(halves, "got the turns [\"b\"], expected [\"ab\"]");
    let twice = |seen: &mut Evidence| seen.asked.insert(0, "ab".to_owned());
    violated(twice, "the model was asked: got [\"ab\", \"ab\", \"c\"]");
    let silence = |seen: &mut Evidence| seen.asked.push(String::new());
    violated(silence, "the model was asked");
    let frozen = |seen: &mut Evidence| {
        seen.lines
            .push(text(25, "response.final", "utt_1", &json!({})));
        seen.turns = counted(0);
    };
    violated(frozen, "turn_count: got 0 and then 0");
}

#[test]
fn every_violation_of_playback_is_seen() {
    let never = |seen: &mut Evidence| drop(seen.lines.remove(10));
    violated(never, "got it to its end");
    let hangs = |seen: &mut Evidence| seen.lines.truncate(10);
    violated(hangs, "got no word");
    let other = |seen: &mut Evidence| seen.lines[10].payload = json!({"reason": "cancelled"});
    violated(other, "expected speech.stopped");
    let whose = |seen: &mut Evidence| seen.lines[10].turn_id = Some("utt_9".to_owned());
    violated(whose, "expected speech.stopped");
    let late = |seen: &mut Evidence| {
        for line in &mut seen.lines[10..] {
            line.at_us += 11_000_000;
        }
    };
    violated(late, "expected at most 10000");
    let more = |seen: &mut Evidence| seen.lines.insert(11, frames(21, "u").remove(0));
    violated(more, "got 1 more frames of it");
    let mixed = |seen: &mut Evidence| seen.lines.insert(13, frames(23, "u").remove(0));
    violated(mixed, "the answer to what interrupted: got");
    let silent = |seen: &mut Evidence| seen.lines.truncate(12);
    violated(silent, "got 0 speeches, expected 1");
    let closed = |seen: &mut Evidence| {
        let end = json!({"type": "closed", "payload": {"code": 1011}});
        seen.lines.push(Line::text(99, By::Target, &end));
    };
    violated(closed, "was closed");
}
