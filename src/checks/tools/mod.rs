//! Gates of tools: which calls pass the safety gate, and whether what a tool says is so.

pub mod deeds;
pub mod tool_call_extraction;
pub mod tool_proxy_canonical;
pub mod verification_tests;
pub mod verify_real;
