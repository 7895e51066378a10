//! Gates about what is heard and said: speech in, speech out, and the socket between.

pub mod asr_config_fix;
pub mod backends_wired;
pub mod counted;
pub mod default_backend_auto;
pub mod e2e_audio_test;
pub mod factory_providers;
pub mod pipecat;
pub mod speeches;
pub mod stage;
pub mod streaming_asr;
pub mod talk;
pub mod tts_streaming;
pub mod vad_turn_detect;
pub mod voice_roundtrip_test;
pub mod wav;
pub mod ws_audio_framing;
