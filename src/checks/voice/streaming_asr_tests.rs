use super::*;
use crate::checks::by_hand;
use crate::checks::voice::counted::counted;

fn said(kind: &str, id: &str, text: &str) -> Line {
    let frame = json!({"type": kind, "turn_id": id, "payload": {"text": text}});
    Line::text(1, By::Target, &frame)
}

fn sent(n: usize) -> Vec<Line> {
    vec![Line::audio(1, By::Us, &[1, 2]); n]
}

fn utterance(id: &str, text: &str) -> Utterance {
    let partial = |n: usize| vec![said("transcript.partial", id, &text[..n])];
    let lines = [
        sent(4),
        partial(1),
        sent(4),
        partial(2),
        sent(2),
        partial(4),
        vec![said("transcript.final", id, text)],
    ];
    Utterance {
        text: text.to_owned(),
        lines: lines.concat(),
        complete: true,
    }
}

fn good() -> Evidence {
    Evidence {
        utterances: vec![utterance("utt_1", "abcde"), utterance("utt_2", "fghij")],
        turns: counted(2),
    }
}

fn violated(change: impl FnOnce(&mut Evidence), words: &str) {
    by_hand::violated(judge, good(), change, words);
}

#[test]
fn transcripts_that_grow_until_a_final_one_pass() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, Vec::<String>::new());
    for (name, count) in [("chunks", 20), ("partials", 4), ("finals", 2)] {
        assert_eq!(judgement.exercised[name], count, "{name}");
    }
}

#[test]
fn nothing_at_all_is_undecided() {
    let judgement = judge(&Evidence::default());
    assert!(judgement.violations.is_empty() && !judgement.undecided.is_empty());
}

#[test]
fn the_same_partial_transcript_again_is_no_less() {
    let mut seen = good();
    let again = seen.utterances[0].lines[4].clone();
    seen.utterances[0].lines.insert(5, again);
    assert_eq!(judge(&seen).violations, Vec::<String>::new());
}

#[test]
fn every_violation_is_seen() {
    let batch = |seen: &mut Evidence| {
        let lines = &mut seen.utterances[0].lines;
        lines.retain(|line| !line.is("transcript.partial"));
    };
    violated(batch, "got 0 partial transcripts before the last");
    let late = |seen: &mut Evidence| seen.utterances[0].lines.swap(9, 11);
    violated(late, "got 1 partial transcripts before the last");
    let shrinks = |seen: &mut Evidence| seen.utterances[0].lines.swap(4, 9);
    violated(shrinks, "got \"a\" after \"ab\"");
    let other = |seen: &mut Evidence| {
        seen.utterances[0].lines[4] = said("transcript.partial", "utt_1", "x");
    };
    violated(other, "expected a part of it");
    let twice = |seen: &mut Evidence| {
        let again = seen.utterances[0].lines.last().cloned();
        seen.utterances[0].lines.extend(again);
    };
    violated(twice, "utt_1: got 2 final transcripts, expected 1");
    let later = |seen: &mut Evidence| {
        let again = seen.utterances[0].lines.last().cloned().unwrap();
        seen.utterances[1].lines.insert(3, again);
    };
    violated(later, "utt_1: got 2 final transcripts, expected 1");
    let after = |seen: &mut Evidence| seen.utterances[0].lines.swap(12, 13);
    violated(after, "got 1 partial transcripts after the final one");
    let none = |seen: &mut Evidence| drop(seen.utterances[0].lines.pop());
    violated(none, "got the final transcripts [], expected");
    let wrong = |seen: &mut Evidence| seen.utterances[1].text = "abcde".to_owned();
    violated(wrong, "expected [\"abcde\"]");
    let third = |seen: &mut Evidence| {
        let lines = &mut seen.utterances[1].lines;
        lines.push(said("transcript.partial", "utt_3", "f"));
    };
    violated(third, "got transcripts of 3 utterances, expected 2");
    let closed = |seen: &mut Evidence| {
        let end = json!({"type": "closed", "payload": {"code": 1011}});
        seen.utterances[1]
            .lines
            .push(Line::text(9, By::Target, &end));
    };
    violated(closed, "was closed");
    let frozen = |seen: &mut Evidence| {
        let response = json!({"type": "response.final", "payload": {}});
        let response = Line::text(9, By::Target, &response);
        seen.utterances[1].lines.push(response);
        seen.turns = counted(0);
    };
    violated(frozen, "turn_count: got 0 and then 0");
}
