//! The config table: every key with its default.

use std::sync::LazyLock;

use serde_json::Value;

static TABLE: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../fixtures/contract/config.json");
    serde_json::from_str(text).expect("the fixture is tested to be readable")
});

/// The whole table.
#[must_use]
pub fn defaults() -> &'static Value {
    &TABLE
}

/// The port of a service, when nothing else is configured.
#[must_use]
pub fn port(service: &str) -> Option<u16> {
    let port = TABLE["services"][service]["port"].as_u64()?;
    u16::try_from(port).ok()
}

/// The origins that are let in, when nothing else is configured.
pub fn origins() -> impl Iterator<Item = &'static str> {
    let origins = TABLE["cors"]["origins"].as_array();
    origins.into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::contract::routes::services;

    #[test]
    fn every_service_has_a_port_of_its_own_and_somebody_is_let_in() {
        let ports: BTreeSet<u16> = services().into_iter().filter_map(port).collect();
        assert_eq!(ports.len(), services().len());
        assert!(origins().count() >= 2);
        assert_eq!(port("nobody"), None);
    }
}
