//! Targets: how a system under test is started, killed, restarted and talked to.
//! The only folder that spawns processes. It decides nothing about right and wrong.
