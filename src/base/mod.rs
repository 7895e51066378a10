//! Small things without policy: seeds, ids, a monotonic clock, canonical JSON, digests, atomic files.
//! Nothing here knows of gates, targets or HTTP.
