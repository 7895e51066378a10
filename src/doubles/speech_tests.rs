//! The doubles of the speech backends over real connections.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::speech::pcm_of;
use super::{Behaviour, Double, Kind, tones};
use crate::base::Clock;

const SOON: Duration = Duration::from_secs(20);

async fn double(kind: Kind) -> Double {
    Double::start(kind, Clock::start()).await.unwrap()
}

async fn piece(asr: &Double, stream: &str, sequence: u64, last: bool, pcm: &[u8]) -> Value {
    let request = reqwest::Client::new()
        .post(asr.url() + "/transcribe")
        .header("x-audio-stream", stream)
        .header("x-audio-sequence", sequence)
        .header("x-audio-final", last.to_string())
        .body(pcm.to_vec());
    request.send().await.unwrap().json().await.unwrap()
}

async fn synthesize(tts: &Double, text: &str) -> reqwest::Response {
    let request = reqwest::Client::new().post(tts.url() + "/synthesize");
    request.json(&json!({"text": text})).send().await.unwrap()
}

#[tokio::test]
async fn what_was_heard_of_a_stream_grows_with_its_pieces() {
    let asr = double(Kind::Asr).await;
    let pcm = tones::speak("tea");
    let (first, rest) = pcm.split_at(tones::FRAME_BYTES + 100);
    let partial = piece(&asr, "a", 0, false, first).await;
    let other = piece(&asr, "b", 0, true, &tones::speak("no")).await;
    let whole = piece(&asr, "a", 1, true, rest).await;
    assert_eq!(partial, json!({"text": "t", "final": false}));
    assert_eq!(other, json!({"text": "no", "final": true}));
    assert_eq!(whole, json!({"text": "tea", "final": true}));
    let calls = asr.calls();
    assert_eq!(
        (&calls[0].body["stream"], &calls[2].body["sequence"]),
        (&json!("a"), &json!(1))
    );
    assert_eq!(
        [pcm_of(&calls[0].body), pcm_of(&calls[2].body)].concat(),
        pcm
    );
}

#[tokio::test]
async fn speech_comes_in_chunks_and_is_the_text() {
    let tts = double(Kind::Tts).await;
    tts.behave(Behaviour {
        chunk_delay_ms: 5,
        ..Behaviour::default()
    });
    let answer = synthesize(&tts, "one cup").await;
    let pcm = answer.bytes().await.unwrap();
    assert_eq!(tones::hear(&pcm), "one cup");
    let call = &tts.calls()[0];
    assert!(call.answered_us.unwrap() - call.at_us >= 6 * 5_000);
}

#[tokio::test]
async fn speech_stalls_between_two_chunks_until_it_is_released() {
    let tts = double(Kind::Tts).await;
    tts.behave(Behaviour::stall_after(2));
    let mut answer = synthesize(&tts, "abc").await;
    let mut heard = Vec::new();
    while tones::hear(&heard) != "ab" {
        heard.extend(answer.chunk().await.unwrap().unwrap());
    }
    tts.held(1, SOON).await.unwrap();
    assert!(!tts.calls()[0].answered);
    tts.release();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        heard.extend::<Bytes>(chunk);
    }
    assert_eq!(tones::hear(&heard), "abc");
}

#[tokio::test]
async fn speech_that_is_cut_is_an_error_and_no_end() {
    let tts = double(Kind::Tts).await;
    tts.behave(Behaviour {
        cut_after: Some(1),
        ..Behaviour::default()
    });
    let answer = synthesize(&tts, "abc").await;
    assert!(answer.bytes().await.is_err());
    assert!(!tts.calls()[0].answered);
}

#[tokio::test]
async fn they_say_that_they_are_there_and_that_is_no_call_with_an_effect() {
    for kind in [Kind::Asr, Kind::Tts] {
        let double = double(kind).await;
        let url = double.url() + "/healthz";
        let probe = async || reqwest::get(&url).await.unwrap().status().as_u16();
        assert_eq!(probe().await, 200);
        double.behave(Behaviour::fail(503));
        assert_eq!(probe().await, 503);
        assert!(double.calls().iter().all(|call| call.probe));
        assert!(double.effects().is_empty());
    }
}
