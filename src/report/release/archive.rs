//! A `.tar.gz` of named contents that is the same bytes whoever makes it, wherever and whenever:
//! sorted, with no time, no owner, one mode, and no name or time in the gzip header.

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::ReleaseError;

/// Every file may be read by everybody; none is to be run.
const MODE: u32 = 0o644;

/// Packs files, in the order given, which has to be a sorted one.
///
/// # Errors
/// [`ReleaseError::Pack`] for a file that the format has no room for.
pub fn packed<'a>(
    files: impl IntoIterator<Item = (&'a String, &'a Vec<u8>)>,
) -> Result<Vec<u8>, ReleaseError> {
    let failed = |path: &str, source| ReleaseError::Pack {
        path: path.to_owned(),
        source,
    };
    // The builder leaves the time out, and says of the system that it is unknown.
    let gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    let mut archive = Builder::new(gzip);
    for (path, content) in files {
        // Extensions of the format for longer paths are read differently by different readers.
        let mut header = Header::new_ustar();
        header
            .set_path(path)
            .map_err(|source| failed(path, source))?;
        header.set_size(content.len() as u64);
        header.set_mode(MODE);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(EntryType::Regular);
        header.set_cksum();
        archive
            .append(&header, content.as_slice())
            .map_err(|source| failed(path, source))?;
    }
    let whole = archive.into_inner().and_then(|gzip| gzip.finish());
    whole.map_err(|source| failed("the archive", source))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::contract::bundle::{Found, read_archive};

    fn files(names: &[&str]) -> BTreeMap<String, Vec<u8>> {
        let content = |name: &&str| ((*name).to_owned(), name.repeat(1000).into_bytes());
        names.iter().map(content).collect()
    }

    #[test]
    fn what_is_packed_is_what_a_strict_reader_finds() {
        let files = files(&["gates/v4.7.toml", "evidence/one/evidence.json", "a"]);
        let archive = packed(&files).unwrap();
        assert_eq!(read_archive(&archive, "x").files, files);
        assert_eq!(
            read_archive(&archive, "x").problems,
            Found::default().problems
        );
        assert!(archive.len() < 1000, "{}", archive.len());
    }

    #[test]
    fn neither_a_time_nor_an_owner_is_in_it() {
        let archive = packed(&files(&["a"])).unwrap();
        // RFC 1952: no flags, so no name; time 0; system 255, unknown.
        assert_eq!(archive[3..8], [0, 0, 0, 0, 0]);
        assert_eq!(archive[9], 255);
        let mut plain = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
        let entry = plain.entries().unwrap().next().unwrap().unwrap();
        let header = entry.header();
        assert_eq!(header.mtime().unwrap(), 0);
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!(header.mode().unwrap(), MODE);
        assert_eq!(header.username().unwrap(), Some(""));
    }

    #[test]
    fn a_path_that_is_too_long_is_an_error_and_no_extension() {
        let long = format!("evidence/{}", "x".repeat(120));
        assert!(matches!(
            packed(&files(&[&long])),
            Err(ReleaseError::Pack { path, .. }) if path == long
        ));
    }
}
