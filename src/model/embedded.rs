//! The repository's own `gates/`, kept inside the binary so that it needs no working directory.

/// Path and text of each gates file.
pub(super) const FILES: [(&str, &str); 5] = [
    ("gates/v4.3.toml", include_str!("../../gates/v4.3.toml")),
    ("gates/v4.4.toml", include_str!("../../gates/v4.4.toml")),
    ("gates/v4.5.toml", include_str!("../../gates/v4.5.toml")),
    ("gates/v4.6.toml", include_str!("../../gates/v4.6.toml")),
    ("gates/v4.7.toml", include_str!("../../gates/v4.7.toml")),
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn every_file_of_the_gates_folder_is_in_the_binary() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("gates");
        let mut on_disk: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| format!("gates/{}", entry.unwrap().file_name().to_str().unwrap()))
            .collect();
        on_disk.sort();
        let inside: Vec<_> = super::FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(
            inside, on_disk,
            "add the file to FILES, oldest release first"
        );
    }
}
