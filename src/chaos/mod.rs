//! Faults and the proof that a target survived them: links that delay and cut, storms through one
//! barrier, histories, and the linearizability checker with its specifications.
