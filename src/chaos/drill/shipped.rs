//! The drills that come with the program.

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Its name, which is the file's.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
    /// A target that is wrong on purpose and on which it has to fail: a drill that nothing fails
    /// shows nothing.
    pub mutant: &'static str,
}

macro_rules! shipped {
    ($name:literal, $mutant:literal) => {
        Shipped {
            name: $name,
            text: include_str!(concat!("../../../scenarios/", $name, ".json")),
            mutant: $mutant,
        }
    };
}

/// All of them, by name.
pub const SHIPPED: [Shipped; 20] = [
    shipped!("approval-storm", "approval-loser-gets-200"),
    shipped!("clock-step", "decision-uses-clock"),
    shipped!("connection-resets", "outbox-new-id-per-attempt"),
    shipped!("crash-loop", "restart-acks-before-durable"),
    shipped!("crash-mid-write", "idempotency-in-progress-dropped"),
    shipped!("crash-restart", "idempotency-memory-map"),
    shipped!("degrade-cycle", "slo-leaves-after-one"),
    shipped!("dependency-flap", "breaker-stuck-open"),
    shipped!("disk-full", "idempotency-executes-when-store-fails"),
    shipped!("idempotent-retry-storm", "idempotency-concurrent-double"),
    shipped!("latency-spike", "slo-breaches-off-by-one"),
    shipped!("partial-outage", "partial-failure-cascades"),
    shipped!("paused-writer", "approval-check-then-set"),
    shipped!("queue-storm", "storm-acknowledged-write-lost"),
    shipped!("replay-restart", "replay-generation-resets"),
    shipped!("slow-loris", "partial-failure-hangs"),
    shipped!("square-wave", "slo-breaches-cumulative"),
    shipped!("stale-fence", "fence-compares-at-most"),
    shipped!("tail-truncation", "audit-tail-cut-unseen"),
    shipped!("task-storm", "task-double-delete-200"),
];

#[cfg(test)]
mod tests {
    use super::SHIPPED;
    use crate::chaos::drill::{Environment, Experiment};

    #[test]
    fn every_shipped_drill_is_read_says_what_it_is_and_looks_before_and_after() {
        for shipped in SHIPPED {
            let name = shipped.name;
            let experiment = Experiment::parse(shipped.text, &Environment::default());
            let experiment = experiment.unwrap_or_else(|why| panic!("{name}: {why}"));
            assert!(!experiment.description.is_empty(), "{name}");
            let hypothesis = experiment.hypothesis.expect("a hypothesis");
            assert!(!hypothesis.probes.is_empty(), "{name}");
            assert!(!experiment.method.is_empty(), "{name}");
        }
    }

    #[test]
    fn what_is_in_the_folder_is_shipped() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(
            files,
            SHIPPED.map(|shipped| format!("{}.json", shipped.name))
        );
    }
}
