//! The drills that come with the program.

/// Name and text of each; the name is the file's.
pub const SHIPPED: [(&str, &str); 3] = [
    (
        "approval-storm",
        include_str!("../../../scenarios/approval-storm.json"),
    ),
    (
        "crash-restart",
        include_str!("../../../scenarios/crash-restart.json"),
    ),
    (
        "degrade-cycle",
        include_str!("../../../scenarios/degrade-cycle.json"),
    ),
];

#[cfg(test)]
mod tests {
    use super::SHIPPED;
    use crate::chaos::drill::Experiment;

    #[test]
    fn every_shipped_drill_is_read_says_what_it_is_and_looks_before_and_after() {
        for (name, text) in SHIPPED {
            let experiment = Experiment::parse(text).unwrap_or_else(|why| panic!("{name}: {why}"));
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
        assert_eq!(files, SHIPPED.map(|(name, _)| format!("{name}.json")));
    }
}
