//! Runs a plan against a target and emits events. It prints nothing and writes no report.
