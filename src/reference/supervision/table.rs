//! Who is supervised, in which order they start, and who can be missed.

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The service.
    pub service: &'static str,
    /// Those of a tier are started when all of the tier before are ready: 1 is the control plane.
    pub tier: u8,
    /// Whether the stack is whole without it.
    pub optional: bool,
    /// Whether it is started only when the command line asks for it.
    pub on_request: bool,
    /// Whether it is started again when it is gone.
    pub restarted: bool,
    /// What it calls.
    pub depends_on: &'static [&'static str],
    /// Where it is asked how it is.
    pub health_path: &'static str,
}

/// The supervisor itself: it starts first, and nobody is there to restart it.
pub const SUPERVISOR: &str = "eva-os";

const fn row(service: &'static str, tier: u8, depends_on: &'static [&'static str]) -> Row {
    Row {
        service,
        tier,
        optional: false,
        on_request: false,
        restarted: true,
        depends_on,
        health_path: "/healthz",
    }
}

const fn optional(row: Row) -> Row {
    Row {
        optional: true,
        ..row
    }
}

/// Every service of the contract; one that this program does not have is no row of what it shows.
pub const ALL: &[Row] = &[
    Row {
        restarted: false,
        ..row(SUPERVISOR, 1, &["openclaw"])
    },
    row("memory-engine", 1, &[]),
    row("openclaw", 1, &[]),
    row("tool-service", 1, &[]),
    row("model-router", 2, &[]),
    row("api-gateway", 2, &["openclaw", "memory-engine"]),
    row("pipecat", 2, &["api-gateway"]),
    optional(row("vision-capture", 2, &[])),
    optional(row("perception", 2, &[])),
    Row {
        on_request: true,
        ..optional(row("orchestrator", 3, &["openclaw", "memory-engine"]))
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::wiring::SERVICES;

    #[test]
    fn every_service_has_a_row_and_starts_after_what_it_calls() {
        for service in SERVICES {
            let rows = ALL.iter().filter(|row| row.service == *service);
            assert_eq!(rows.count(), 1, "{service}");
        }
        let tier = |name: &str| {
            ALL.iter()
                .find(|row| row.service == name)
                .map(|row| row.tier)
        };
        for row in ALL {
            for needed in row.depends_on {
                assert!(tier(needed) <= Some(row.tier), "{} {needed}", row.service);
            }
        }
    }
}
