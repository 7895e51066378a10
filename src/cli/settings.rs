//! `sonia-config.json`, the part that is ours, and which target a run is about.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use super::exit::Stop;
use crate::model::{NULL_TARGETS, TargetKind, TargetSpec, nearest};
use crate::mutants;

/// The file, in the working directory.
const CONFIG_FILE: &str = "sonia-config.json";

/// The `harness` key.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Harness {
    /// Targets by name.
    #[serde(default)]
    targets: BTreeMap<String, NamedTarget>,
    /// Public keys whose signature on a report counts: PEM files or verifier keys.
    #[serde(default)]
    pub(super) trusted_keys: Vec<String>,
}

/// A target that runs elsewhere.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedTarget {
    /// The address of its api-gateway.
    url: String,
    /// Whether gates, which write and break things, may be run against it off loopback.
    #[serde(default)]
    destructive: bool,
}

/// The target of a run.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) spec: TargetSpec,
    /// Whether it is made wrong on purpose.
    pub(super) mutated: bool,
}

impl Harness {
    /// Reads the key; a file that is not there says nothing.
    pub(super) fn read() -> Result<Self, Stop> {
        let text = match fs::read_to_string(CONFIG_FILE) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                return Err(Stop::usage(
                    format!("cannot read {CONFIG_FILE}: {error}"),
                    "make it readable, or work in another folder",
                ));
            }
        };
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, Stop> {
        let garbled = |what: String| {
            Stop::usage(
                format!("{CONFIG_FILE}: {what}"),
                "correct it; `harness.targets` is {\"NAME\": {\"url\": \"...\", \"destructive\": false}}",
            )
        };
        let config: Value =
            serde_json::from_str(text).map_err(|error| garbled(error.to_string()))?;
        match config.get("harness") {
            None => Ok(Self::default()),
            Some(harness) => serde_path_to_error::deserialize(harness)
                .map_err(|error| garbled(format!("harness.{}: {}", error.path(), error.inner()))),
        }
    }

    /// The target that was asked for by name or address, or the mutant, or the reference.
    pub(super) fn choose(
        &self,
        target: Option<&str>,
        mutant: Option<&str>,
    ) -> Result<Chosen, Stop> {
        if let Some(name) = mutant {
            return chosen_mutant(name);
        }
        let Some(wanted) = target else {
            return Ok(Chosen {
                spec: TargetSpec::reference(),
                mutated: false,
            });
        };
        if let Some(spec) = TargetSpec::null(wanted) {
            return Ok(Chosen {
                spec,
                mutated: true,
            });
        }
        if wanted == TargetSpec::reference().name {
            return Ok(Chosen {
                spec: TargetSpec::reference(),
                mutated: false,
            });
        }
        let (url, allowed) = match self.targets.get(wanted) {
            Some(named) => (named.url.as_str(), named.destructive),
            None if wanted.contains("://") => (wanted, false),
            None => return Err(self.unknown(wanted)),
        };
        if !is_http(url) {
            return Err(Stop::usage(
                format!("`{url}` is no address of a target"),
                "write http://HOST:PORT",
            ));
        }
        if !allowed && !on_loopback(url) {
            return Err(Stop::usage(
                format!("{url} is not on loopback, and gates write and break things"),
                format!(
                    "to allow it, add to harness.targets in {CONFIG_FILE}: \
                     \"NAME\": {{\"url\": \"{url}\", \"destructive\": true}}, and say --target NAME"
                ),
            ));
        }
        let kind = TargetKind::Remote {
            url: url.trim_end_matches('/').to_owned(),
        };
        Ok(Chosen {
            spec: TargetSpec {
                name: wanted.to_owned(),
                kind,
            },
            mutated: false,
        })
    }

    fn unknown(&self, wanted: &str) -> Stop {
        let names: Vec<&str> = self
            .targets
            .keys()
            .map(String::as_str)
            .chain(NULL_TARGETS)
            .collect();
        let near = nearest(wanted, names.iter().copied());
        let suggestion = near
            .map(|near| format!("did you mean `{near}`? "))
            .unwrap_or_default();
        Stop::usage(
            format!("unknown target `{wanted}`"),
            format!(
                "{suggestion}give a URL, a name of harness.targets in {CONFIG_FILE}, or one of {}",
                NULL_TARGETS.join(", ")
            ),
        )
    }
}

fn chosen_mutant(name: &str) -> Result<Chosen, Stop> {
    let all = mutants::all();
    if let Some(mutant) = all.iter().find(|mutant| mutant.name == name) {
        return Ok(Chosen {
            spec: mutant.target.clone(),
            mutated: true,
        });
    }
    let names = all.iter().map(|mutant| mutant.name.as_str());
    let hint = match nearest(name, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`sonia-gate explain GATE` shows the mutants of a gate".to_owned(),
    };
    Err(Stop::usage(
        format!("unknown mutant `{name}`, or one that is not built yet"),
        hint,
    ))
}

fn is_http(url: &str) -> bool {
    (url.starts_with("http://") || url.starts_with("https://")) && host(url).is_some()
}

/// The host of an address, without its port.
fn host(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    // Whatever stands before an @ is no host, however much it looks like one.
    let authority = authority.rsplit('@').next()?;
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => authority.split(':').next()?,
    };
    (!host.is_empty()).then_some(host)
}

fn on_loopback(url: &str) -> bool {
    host(url).is_some_and(|host| {
        host == "localhost"
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn harness() -> Harness {
        Harness::parse(
            r#"{"harness": {"targets": {
                "here": {"url": "http://127.0.0.1:7000"},
                "staging": {"url": "http://staging.example:7000", "destructive": true},
                "live": {"url": "http://live.example:7000"}}}}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_target_off_loopback_is_refused_unless_its_entry_allows_it() {
        for allowed in [
            "here",
            "staging",
            "http://localhost:7000",
            "http://[::1]:7000/",
        ] {
            let chosen = harness().choose(Some(allowed), None).unwrap();
            assert!(
                matches!(chosen.spec.kind, TargetKind::Remote { .. }),
                "{allowed}"
            );
            assert!(!chosen.mutated);
        }
        for refused in [
            "live",
            "http://staging.example:7000",
            "http://127.0.0.1@live.example",
            "http://127.0.0.1.live.example",
            "ftp://127.0.0.1",
            "http://",
            "stagin",
        ] {
            assert!(harness().choose(Some(refused), None).is_err(), "{refused}");
        }
    }

    #[test]
    fn null_targets_are_made_wrong_on_purpose_and_the_reference_is_not() {
        let liar = harness().choose(Some("liar"), None).unwrap();
        assert!(liar.mutated);
        assert!(!harness().choose(None, None).unwrap().mutated);
        assert!(harness().choose(None, Some("no-such-mutant")).is_err());
    }

    #[test]
    fn a_typo_in_the_config_is_named_with_its_path() {
        let error =
            Harness::parse(r#"{"harness": {"targets": {"a": {"url": "x", "destrutive": 1}}}}"#);
        let text = format!("{:?}", error.unwrap_err());
        assert!(
            text.contains("harness.targets.a") && text.contains("destrutive"),
            "{text}"
        );
        assert!(Harness::parse("{").is_err());
        assert!(Harness::parse("{}").is_ok());
    }
}
