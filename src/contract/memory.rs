//! What memory-engine decides by rule: how many tokens a text is, and the tier of a proposal. The
//! rules are the contract's fixture.

use std::sync::LazyLock;

use serde::Deserialize;

/// The type whose rows hold for types that are not listed.
const OTHERS: &str = "instruction";
/// Characters that make a token.
const CHARACTERS: u64 = 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[expect(dead_code, reason = "the text for readers of the fixture")]
    about: String,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "samples of the rule, for a test")
    )]
    tokens: Vec<Counted>,
    tiers: Vec<Bound>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "samples of the rule, for a test")
)]
struct Counted {
    text: String,
    tokens: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bound {
    #[serde(rename = "type")]
    kind: String,
    confidence: f64,
    tier: String,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let text = include_str!("../../fixtures/contract/memory.json");
    serde_json::from_str(text).expect("the fixture is tested to be readable")
});

/// The estimated tokens of a text.
#[must_use]
pub fn tokens(text: &str) -> u64 {
    (text.chars().count() as u64).div_ceil(CHARACTERS)
}

/// The types that the table lists, in its order.
#[must_use]
pub fn types() -> Vec<&'static str> {
    let mut types: Vec<&str> = RULES.tiers.iter().map(|bound| &*bound.kind).collect();
    types.dedup();
    types
}

/// The tier of a proposal.
#[must_use]
pub fn tier(kind: &str, confidence: f64) -> &'static str {
    let kind = if types().contains(&kind) {
        kind
    } else {
        OTHERS
    };
    let mut bounds = RULES.tiers.iter().filter(|bound| bound.kind == kind);
    let found = bounds.find(|bound| bound.confidence <= confidence);
    found.map_or("guarded_high", |bound| &bound.tier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_give_what_the_fixture_shows() {
        for Counted { text, tokens: told } in &RULES.tokens {
            assert_eq!(tokens(text), *told, "{text}");
        }
        assert_eq!(types(), ["event", "fact", "preference", "instruction"]);
        let tiers = [
            ("fact", 0.84),
            ("fact", 0.85),
            ("fact", 0.49),
            ("rumour", 1.0),
            ("event", 0.5),
        ];
        let told = tiers.map(|(kind, confidence)| tier(kind, confidence));
        assert_eq!(
            told,
            [
                "guarded_medium",
                "auto_low",
                "guarded_high",
                "guarded_high",
                "auto_low"
            ]
        );
    }
}
