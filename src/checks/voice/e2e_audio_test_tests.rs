use super::*;
use crate::checks::by_hand;
use crate::checks::voice::counted::counted;

fn said(at_us: u64, by: By, kind: &str, payload: &Value) -> Line {
    let frame = json!({"type": kind, "turn_id": "utt_1", "payload": payload});
    Line::text(at_us, by, &frame)
}

fn target(kind: &str, payload: &Value) -> Line {
    said(20, By::Target, kind, payload)
}

fn asked() -> Line {
    said(10, By::Us, "input.audio.end", &json!({}))
}

/// 0 the end of the audio, 1 the transcript, 2 the answer, 3 `speech.started`, then audio, and last
/// `speech.ended`.
fn looped(text: &str) -> Loop {
    let answer = answer(text);
    let pcm = tones::speak(&answer);
    let frames = pcm.chunks(tones::FRAME_BYTES);
    let mut lines = vec![
        asked(),
        target("transcript.final", &json!({"text": text})),
        target("response.final", &json!({"assistant_text": answer})),
        target("speech.started", &json!({})),
    ];
    lines.extend(frames.map(|frame| Line::audio(20, By::Target, frame)));
    let told = json!({"frames": answer.len(), "bytes": pcm.len()});
    lines.push(target("speech.ended", &told));
    Loop {
        text: text.to_owned(),
        lines,
    }
}

/// 0 what was said, 1 and 2 what came of it, then the error, a ping and its answer.
fn down(provider: Provider, how: How) -> Down {
    let error = json!({"code": provider.code(), "message": "status 503", "retryable": true});
    Down {
        provider,
        how,
        typed: false,
        lines: vec![
            asked(),
            target("transcript.final", &json!({"text": "tea"})),
            target("response.final", &json!({"assistant_text": "tea"})),
            target("error", &error),
            said(30, By::Us, "control.ping", &json!({})),
            target("ack", &json!({"of": "control.ping"})),
        ],
    }
}

fn good() -> Evidence {
    let ways = [How::Refuses, How::Closed, How::Hangs];
    let all = Provider::ALL.into_iter();
    Evidence {
        loops: vec![looped("tea"), looped("milk")],
        downs: all
            .flat_map(|provider| ways.map(|how| down(provider, how)))
            .collect(),
        turns: counted(2),
    }
}

fn violated(change: impl FnOnce(&mut Evidence), words: &str) {
    by_hand::violated(judge, good(), change, words);
}

#[test]
fn audio_for_audio_and_a_word_for_each_that_is_down_pass() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, Vec::<String>::new());
    assert_eq!(judgement.exercised["full_loops"], 2);
    assert_eq!(judgement.exercised["providers_down"], 9);
}

#[test]
fn nothing_at_all_is_undecided() {
    let judgement = judge(&Evidence::default());
    assert!(judgement.violations.is_empty() && !judgement.undecided.is_empty());
}

#[test]
fn what_never_came_to_the_provider_that_is_down_is_undecided() {
    let mut seen = good();
    let speech = seen.downs.last_mut().unwrap();
    speech.lines.remove(2);
    let judgement = judge(&seen);
    assert!(judgement.violations.is_empty() && !judgement.undecided.is_empty());
    assert_eq!(judgement.exercised["providers_down"], 8);
}

#[test]
fn what_is_typed_needs_no_transcript() {
    let mut seen = good();
    let model = &mut seen.downs[5];
    (model.provider, model.typed) = (Provider::Model, true);
    model.lines.drain(1..3);
    let judgement = judge(&seen);
    assert_eq!(judgement.violations, Vec::<String>::new());
    assert_eq!(judgement.exercised["providers_down"], 9);
}

#[test]
fn every_violation_of_a_loop_is_seen() {
    let line = |at: usize, payload: Value| {
        move |seen: &mut Evidence| seen.loops[1].lines[at].payload = payload
    };
    violated(line(1, json!({"text": "silk"})), "the final transcript");
    violated(line(2, json!({"assistant_text": "tea"})), "the answer");
    let deaf = |seen: &mut Evidence| drop(seen.loops[0].lines.remove(1));
    violated(deaf, "got the final transcript None");
    let mute = |seen: &mut Evidence| seen.loops[0].lines.truncate(3);
    violated(mute, "got 0 speeches");
    let mumbles = |seen: &mut Evidence| drop(seen.loops[0].lines.remove(5));
    violated(mumbles, "got \"Yu said: tea\" spoken");
    let same = |seen: &mut Evidence| {
        seen.loops[1].lines = seen.loops[0].lines.clone();
    };
    violated(same, "\"milk\" was said: got the final transcript");
    let error = |seen: &mut Evidence| {
        let error = json!({"code": "TTS_UNAVAILABLE"});
        seen.loops[0].lines.push(target("error", &error));
    };
    violated(error, "got the error");
    let frozen = |seen: &mut Evidence| seen.turns = counted(0);
    violated(frozen, "turn_count: got 0 and then 0");
}

#[test]
fn every_violation_of_what_is_down_is_seen() {
    for at in 0..9 {
        let silent = |seen: &mut Evidence| drop(seen.downs[at].lines.remove(3));
        violated(silent, "got the errors [] within 10000 ms");
        let late = |seen: &mut Evidence| seen.downs[at].lines[3].at_us += 10_000_000;
        violated(late, "expected at most 10000");
        let other = |seen: &mut Evidence| {
            seen.downs[at].lines[3].payload["code"] = json!("INTERNAL");
        };
        violated(other, "got the error {\"code\":\"INTERNAL\"");
        let gone = |seen: &mut Evidence| drop(seen.downs[at].lines.pop());
        violated(gone, "got 0 answers to 1 pings");
    }
    let bare = |seen: &mut Evidence| {
        seen.downs[0].lines[3].payload = json!({"code": "ASR_UNAVAILABLE"});
    };
    violated(bare, "asr refuses: got the error");
    let twice = |seen: &mut Evidence| {
        let again = seen.downs[0].lines[3].clone();
        seen.downs[0].lines.push(again);
    };
    violated(twice, "expected [\"ASR_UNAVAILABLE\"]");
    let closed = |seen: &mut Evidence| {
        let end = json!({"type": "closed", "payload": {"code": 1011}});
        seen.downs[0].lines.push(Line::text(40, By::Target, &end));
    };
    violated(closed, "was closed");
}
