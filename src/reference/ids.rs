//! Fresh ids: a prefix and twelve hex digits, from the system's randomness.

use crate::base::ids::random_id;

/// A fresh id with that prefix (`op_`, `cnf_`, …).
pub fn make(prefix: &str) -> String {
    random_id(prefix, &mut rand::rng())
}
