//! Stand-ins for the backends a target calls. They log, delay, fail, cut, hold and script; they never judge.
