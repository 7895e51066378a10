use super::*;
use crate::checks::by_hand;
use crate::checks::voice::counted::counted;
use crate::checks::voice::talk::By;
use crate::doubles::tones;
use serde_json::Value;

const RELEASED_US: u64 = 50;

fn line(at_us: u64, by: By, kind: &str, id: &str, payload: &Value) -> Line {
    let frame = json!({"type": kind, "turn_id": id, "payload": payload});
    Line::text(at_us, by, &frame)
}

/// A speech whose first two frames come before the others.
fn spoken(id: &str, text: &str, early_us: u64, late_us: u64) -> Vec<Line> {
    let pcm = tones::speak(text);
    let frames = pcm.chunks(tones::FRAME_BYTES).enumerate();
    let frames = frames.map(|(number, frame)| {
        let at_us = if number < 2 { early_us } else { late_us };
        Line::audio(at_us, By::Target, frame)
    });
    let told = json!({"frames": text.len(), "bytes": pcm.len()});
    let start = line(early_us, By::Target, "speech.started", id, &json!({}));
    let end = line(late_us, By::Target, "speech.ended", id, &told);
    std::iter::once(start).chain(frames).chain([end]).collect()
}

fn good() -> Evidence {
    let texts = vec!["abcdefgh".to_owned(), "hgfedcba".to_owned()];
    let lines = [
        spoken("t-0", &texts[0], 40, 60),
        spoken("t-1", &texts[1], 80, 90),
    ];
    Evidence {
        lines: lines.concat(),
        texts,
        held_us: Some(30),
        released_us: Some(RELEASED_US),
        complete: true,
        turns: counted(2),
    }
}

fn violated(change: impl FnOnce(&mut Evidence), words: &str) {
    by_hand::violated(judge, good(), change, words);
}

#[test]
fn speech_that_leaves_as_it_is_made_passes() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, Vec::<String>::new());
    assert_eq!(judgement.exercised["frames"], 8);
    assert_eq!(judgement.exercised["early_frames"], 2);
}

#[test]
fn nothing_at_all_is_undecided() {
    let judgement = judge(&Evidence::default());
    assert!(judgement.violations.is_empty() && !judgement.undecided.is_empty());
}

#[test]
fn a_drive_that_ended_early_is_held_to_what_it_saw() {
    let mut seen = good();
    (seen.released_us, seen.complete) = (None, false);
    seen.lines.truncate(2);
    let judgement = judge(&seen);
    assert!(judgement.violations.is_empty() && !judgement.undecided.is_empty());
}

#[test]
fn every_violation_is_seen() {
    let late = |seen: &mut Evidence| {
        for line in &mut seen.lines {
            line.at_us += RELEASED_US;
        }
    };
    violated(late, "expected the first");
    let one = |seen: &mut Evidence| {
        let whole = Line::audio(60, By::Target, &tones::speak("abcdefgh"));
        seen.lines.splice(1..9, [whole]);
    };
    violated(one, "expected more than one");
    violated(|seen| seen.lines.swap(3, 4), "that say \"abdcefgh\"");
    violated(
        |seen| drop(seen.lines.remove(5)),
        "got 4480 bytes that say \"abcdfgh\"",
    );
    let twice = |seen: &mut Evidence| {
        let again = seen.lines[4].clone();
        seen.lines.insert(4, again);
    };
    violated(twice, "that say \"abcddefgh\"");
    violated(
        |seen| seen.lines.truncate(10),
        "t-1: got no speech, expected",
    );
    violated(|seen| seen.texts[1] = "abcdefgh".to_owned(), "t-1: got");
    let after = |seen: &mut Evidence| {
        let last = seen.lines.len() - 1;
        seen.lines.swap(last, last - 1);
    };
    violated(after, "outside of a speech");
    let told = |seen: &mut Evidence| seen.lines[9].payload["frames"] = json!(1);
    violated(told, "as counted");
    let closed = |seen: &mut Evidence| {
        let end = json!({"type": "closed", "payload": {"code": 1011}});
        seen.lines.push(Line::text(99, By::Target, &end));
    };
    violated(closed, "was closed");
    let frozen = |seen: &mut Evidence| {
        let response = line(70, By::Target, "response.final", "t-0", &json!({}));
        seen.lines.insert(0, response);
        seen.turns = counted(0);
    };
    violated(frozen, "turn_count: got 0 and then 0");
}
