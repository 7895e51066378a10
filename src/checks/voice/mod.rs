//! Gates about what is heard and said: speech in, speech out, and the socket between.

pub mod counted;
pub mod e2e_audio_test;
pub mod speeches;
pub mod stage;
pub mod streaming_asr;
pub mod talk;
pub mod tts_streaming;
pub mod vad_turn_detect;
pub mod wav;
