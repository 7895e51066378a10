//! A conversation written by hand, and what can be wrong with it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::checks::by_hand;

fn target(kind: &str, payload: &Value) -> Line {
    Line::text(
        9,
        By::Target,
        &json!({"type": kind, "turn_id": "utt_1", "payload": payload}),
    )
}

fn piece(sequence: u64, pcm: &[u8], last: bool) -> Value {
    json!({"stream": "utt_1", "sequence": sequence, "final": last, "pcm": STANDARD.encode(pcm)})
}

/// 0, 1: audio of ours, 2: its end, 3: the transcript, 4: the answer, 5: audio of the target.
fn good() -> Evidence {
    let pcm = tones::speak("tea");
    let (first, second) = pcm.split_at(700);
    let end = json!({"type": "input.audio.end", "payload": {}});
    let lines = vec![
        Line::audio(1, By::Us, first),
        Line::audio(2, By::Us, second),
        Line::text(3, By::Us, &end),
        target("transcript.final", &json!({"text": "tea"})),
        target("response.final", &json!({"assistant_text": answer("tea")})),
        Line::audio(9, By::Target, &tones::speak(&answer("tea"))),
    ];
    let there = json!({"provider": "http", "available": true});
    let vad = json!({"provider": "energy", "available": true});
    let told = json!({"asr": there, "tts": there, "vad": vad});
    Evidence {
        backends: Some(by_hand::sent(
            "pipecat",
            "GET",
            "/voice/backends",
            200,
            told,
        )),
        lines,
        pieces: vec![piece(0, first, false), piece(1, second, true)],
        asked: vec![json!({"text": answer("tea")})],
    }
}

fn violated(change: impl FnOnce(&mut Evidence), words: &str) {
    by_hand::violated(judge, good(), change, words);
}

#[test]
fn exact_audio_and_text_pass_and_count() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, Vec::<String>::new());
    let counts = [
        judgement.exercised["asr_calls"],
        judgement.exercised["tts_calls"],
    ];
    assert_eq!(counts, [2, 1]);
}

#[test]
fn nothing_at_all_counts_nothing_and_is_undecided() {
    let judgement = judge(&Evidence::default());
    assert_eq!(judgement.exercised["asr_calls"], 0);
    assert!(!judgement.undecided.is_empty());
}

#[test]
fn every_violation_is_seen() {
    let pcm = tones::speak("tea");
    let cut = piece(1, &pcm[700..pcm.len() - 2], true);
    violated(|seen| seen.pieces[1] = cut, "expected all 1920");
    violated(|seen| seen.pieces.clear(), "heard 0 utterances, expected 1");
    violated(
        |seen| seen.pieces[1]["sequence"] = json!(2),
        "got the pieces",
    );
    violated(
        |seen| seen.pieces[1]["final"] = json!(false),
        "got 0 last pieces",
    );
    violated(
        |seen| seen.lines[3].payload = json!({"text": "hello there"}),
        "got Some(\"hello there\") as the transcript",
    );
    violated(
        |seen| seen.lines[4].payload = json!({"assistant_text": "tea"}),
        "got the answers",
    );
    violated(
        |seen| seen.asked[0] = json!({"text": "tea"}),
        "the voice provider was asked for",
    );
    violated(|seen| drop(seen.lines.pop()), "got 0 bytes of audio");
    for (kind, words) in [
        ("asr", "asr: got"),
        ("tts", "tts: got"),
        ("vad", "vad: got"),
    ] {
        let gone = json!({"provider": null, "available": false});
        violated(
            |seen| seen.backends.as_mut().unwrap().answer[kind] = gone,
            words,
        );
    }
}
