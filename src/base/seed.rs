//! The one number that a run's workload, order, faults and ids come from.

use std::fmt;
use std::str::FromStr;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A 64-bit seed. Printed first and in every hint, so that a failure can be driven again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seed(pub u64);

impl Seed {
    /// A seed of its own for `label`: the same pair always gives the same child.
    #[must_use]
    pub fn child(self, label: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0.to_be_bytes());
        hash.update(label.as_bytes());
        let digest = hash.finalize();
        let head = digest
            .first_chunk::<8>()
            .expect("a SHA-256 digest has 32 bytes");
        Self(u64::from_be_bytes(*head))
    }

    /// A generator whose stream is the same in every version and on every machine.
    #[must_use]
    pub fn rng(self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.0)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A text that is no seed.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not a seed: expected a number up to 18446744073709551615, decimal or 0x-hexadecimal"
)]
pub struct NotASeed(String);

impl FromStr for Seed {
    type Err = NotASeed;

    fn from_str(text: &str) -> Result<Self, NotASeed> {
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.map(Self).map_err(|_| NotASeed(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::Seed;
    use rand::Rng;

    #[test]
    fn children_differ_by_label_and_by_parent_and_repeat() {
        assert_eq!(Seed(1).child("a"), Seed(1).child("a"));
        assert_ne!(Seed(1).child("a"), Seed(1).child("b"));
        assert_ne!(Seed(1).child("a"), Seed(2).child("a"));
        assert_eq!(Seed(9).rng().next_u64(), Seed(9).rng().next_u64());
    }

    #[test]
    fn text_is_decimal_or_hexadecimal_and_nothing_else() {
        assert_eq!("255".parse::<Seed>().unwrap(), Seed(255));
        assert_eq!("0xff".parse::<Seed>().unwrap(), Seed(255));
        assert_eq!(
            Seed(u64::MAX).to_string().parse::<Seed>().unwrap(),
            Seed(u64::MAX)
        );
        for bad in ["", "ff", "-1", "0x", "18446744073709551616"] {
            assert!(bad.parse::<Seed>().is_err(), "{bad}");
        }
    }
}
