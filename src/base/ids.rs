//! Ids in the contract's form: a prefix and twelve hexadecimal digits.

use rand::{Rng, RngExt};

/// `prefix` and 48 random bits as twelve lower-case hexadecimal digits: `ses_6b1f0c7e21aa`.
pub fn random_id(prefix: &str, rng: &mut impl Rng) -> String {
    let bits: u64 = rng.random_range(0..1 << 48);
    format!("{prefix}{bits:012x}")
}

#[cfg(test)]
mod tests {
    use super::random_id;
    use crate::base::Seed;

    #[test]
    fn ids_have_twelve_digits_and_follow_the_seed() {
        let mut rng = Seed(7).rng();
        let first = random_id("ses_", &mut rng);
        let second = random_id("ses_", &mut rng);
        assert_eq!(first.len(), 16);
        assert!(first.starts_with("ses_"));
        assert_ne!(first, second);
        assert_eq!(first, random_id("ses_", &mut Seed(7).rng()));
    }
}
