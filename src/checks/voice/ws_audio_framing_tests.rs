//! Conversations written by hand, good and bad.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::checks::by_hand;

fn ours(kind: &str, id: &str) -> Line {
    let frame = json!({"type": kind, "turn_id": id, "payload": {}});
    Line::text(5, By::Us, &frame)
}

fn ack(of: &str, id: Option<&str>) -> Line {
    let frame = json!({"type": "ack", "turn_id": id, "payload": {"of": of}});
    Line::text(5, By::Target, &frame)
}

fn error(code: &str, id: Option<&str>) -> Line {
    let payload = json!({"code": code, "message": "no", "retryable": false});
    let frame = json!({"type": "error", "turn_id": id, "payload": payload});
    Line::text(5, By::Target, &frame)
}

fn audio(by: By, byte: u8, bytes: usize) -> Line {
    Line::audio(5, by, &vec![byte; bytes])
}

fn piece(byte: u8, bytes: usize) -> Value {
    json!({"stream": "utt_1", "sequence": 0, "pcm": STANDARD.encode(vec![byte; bytes])})
}

/// 0: audio, 1: a ping, 3: odd audio, 5: too much of it, 7: audio, 8: an unknown type, 10: no JSON,
/// 12: a text, 14: audio of the target.
fn good() -> Evidence {
    let lines = vec![
        audio(By::Us, 1, 8),
        ours("control.ping", "p-1"),
        ack("control.ping", Some("p-1")),
        audio(By::Us, 2, 3),
        error("AUDIO_MALFORMED", None),
        audio(By::Us, 3, 10),
        error("AUDIO_TOO_LARGE", None),
        audio(By::Us, 4, 2),
        ours("control.unheard-of", "u-1"),
        error("FRAME_UNKNOWN", Some("u-1")),
        Line::text(5, By::Us, &Value::Null),
        error("FRAME_MALFORMED", None),
        ours("input.text", "t-1"),
        ack("input.text", Some("t-1")),
        audio(By::Target, 9, 4),
    ];
    Evidence {
        longest: 8,
        lines,
        pieces: vec![piece(1, 8), piece(4, 2)],
    }
}

#[test]
fn a_reply_each_and_all_of_the_audio_is_no_violation_and_counts() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    let count = |what| judgement.exercised[what];
    assert_eq!((count("frames"), count("error_frames")), (8, 4));
}

#[test]
fn every_way_of_not_keeping_them_apart_is_seen() {
    type Case = (&'static str, fn(&mut Evidence));
    let cases: [Case; 11] = [
        ("expected no reply", |seen| {
            seen.lines.insert(1, error("FRAME_MALFORMED", None));
        }),
        ("expected no reply", |seen| {
            seen.lines.insert(8, ack("control.ping", Some("audio-0")));
        }),
        ("closed with 1003", |seen| {
            let frame = json!({"type": "closed", "payload": {"code": 1003}});
            seen.lines[4] = Line::text(5, By::Target, &frame);
            seen.lines.truncate(5);
        }),
        ("got no reply, expected Error(None, \"AUDIO_MAL", |seen| {
            seen.lines.truncate(4);
        }),
        ("expected Error(None, \"AUDIO_TOO_LARGE\")", |seen| {
            seen.lines[6] = error("AUDIO_MALFORMED", None);
        }),
        ("expected Ack(Some(\"p-1\")", |seen| {
            seen.lines[2].turn_id = None;
        }),
        ("expected Error(Some(\"u-1\"), \"FRAME_UNKNOWN", |seen| {
            seen.lines[9] = ack("control.unheard-of", Some("u-1"));
        }),
        ("got 2 bytes, the first 0", |seen| {
            seen.pieces.remove(0);
        }),
        ("got 13 bytes, the first 8", |seen| {
            seen.pieces.insert(1, piece(2, 3));
        }),
        ("got no audio for a text", |seen| {
            seen.lines.pop();
        }),
        ("expected whole samples", |seen| {
            seen.lines[14] = audio(By::Target, 9, 3);
        }),
    ];
    for (words, spoil) in cases {
        by_hand::violated(judge, good(), spoil, words);
    }
}

#[test]
fn nothing_seen_is_nothing_exercised() {
    let judgement = judge(&Evidence::default());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.exercised["frames"], 0);
    let ping = reads_as_a_ping("audio-1");
    assert_eq!(ping.len(), tones::FRAME_BYTES);
    assert_eq!(
        serde_json::from_slice::<Value>(&ping).unwrap()["type"],
        "control.ping"
    );
}
