//! Every way in which a bundle is wronged here, made from a clean one.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::content::Content;
use super::edits::{Edit, Files};
use crate::contract::audit::hash_of;
use crate::contract::bundle::{
    Envelope, FileRow, MANIFEST_FILE, Manifest, PAYLOAD_TYPE, Signature, pae,
};

/// In which form a bundle is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// As a folder.
    Folder,
    /// As a `.tar.gz`.
    Archive,
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Folder => "folder",
            Self::Archive => "archive",
        })
    }
}

/// One way to wrong a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// What is done, in words.
    pub name: String,
    /// In which form it is verified.
    pub form: Form,
    /// What is done.
    pub edits: Vec<Edit>,
    /// The files that a refusal has to name. None: it is as good as the clean one, the control.
    pub offends: Vec<String>,
}

/// What the cases are made of.
pub struct Stuff<'a> {
    /// The clean bundle.
    pub files: &'a Files,
    /// The manifest file of another clean bundle of the same target.
    pub other: &'a Content,
    /// The clean bundle's folder, outside of what is made here.
    pub folder: &'a Path,
    /// Signs as the target does.
    pub sign: &'a dyn Fn(&[u8]) -> [u8; 64],
    /// Signs as somebody else does.
    pub stranger: &'a dyn Fn(&[u8]) -> [u8; 64],
}

/// A bundle of which something can be made.
struct Clean<'a> {
    stuff: &'a Stuff<'a>,
    envelope: Envelope,
    manifest: Manifest,
    /// The longest segment: its file, and what is in it.
    segment: (String, Value),
}

/// All cases.
///
/// # Errors
/// Why nothing can be made of this bundle.
pub fn plan(stuff: &Stuff<'_>) -> Result<Vec<Case>, String> {
    let clean = Clean::of(stuff)?;
    Ok([
        clean.files(),
        clean.manifests(),
        clean.signatures(),
        clean.segments(),
        clean.places(),
    ]
    .concat())
}

fn case(name: &str, form: Form, edits: Vec<Edit>, offends: &[&str]) -> Case {
    let offends = offends.iter().map(|file| (*file).to_owned()).collect();
    Case {
        name: name.to_owned(),
        form,
        edits,
        offends,
    }
}

fn write(path: &str, content: impl Into<Content>) -> Edit {
    Edit::Write {
        path: path.to_owned(),
        content: content.into(),
    }
}

fn remove(path: &str) -> Edit {
    Edit::Remove {
        path: path.to_owned(),
    }
}

impl<'a> Clean<'a> {
    fn of(stuff: &'a Stuff<'a>) -> Result<Self, String> {
        let bytes = stuff.files.get(MANIFEST_FILE).ok_or("it has no manifest")?;
        let envelope: Envelope =
            serde_json::from_slice(&bytes.0).map_err(|error| error.to_string())?;
        let payload = STANDARD.decode(&envelope.payload);
        let payload = payload.map_err(|error| error.to_string())?;
        let manifest = serde_json::from_slice(&payload).map_err(|error| error.to_string())?;
        let length = |segment: &Value| segment["entries"].as_array().map_or(0, Vec::len);
        let segment = stuff
            .files
            .iter()
            .filter(|(path, _)| path.starts_with("audit/"))
            .map(|(path, content)| (path.clone(), content.json()))
            .max_by_key(|(_, segment)| length(segment))
            .filter(|(_, segment)| length(segment) >= 3)
            .ok_or("no chain in it has 3 entries")?;
        Ok(Self {
            stuff,
            envelope,
            manifest,
            segment,
        })
    }

    fn content(&self, path: &str) -> Vec<u8> {
        let content = self.stuff.files.get(path);
        content.map(|content| content.0.clone()).unwrap_or_default()
    }

    /// The content with one bit of its last letter or digit turned.
    fn turned(&self, path: &str) -> Content {
        let mut content = self.content(path);
        if let Some(byte) = content
            .iter_mut()
            .rfind(|byte| byte.is_ascii_alphanumeric())
        {
            *byte ^= 1;
        }
        Content(content)
    }

    /// A file is changed, added, removed, renamed.
    fn files(&self) -> Vec<Case> {
        use Form::{Archive, Folder};
        let turned = |path: &str| vec![write(path, self.turned(path))];
        let (segment, _) = &self.segment;
        let mut grown = self.content("summary.json");
        grown.push(b' ');
        let renamed = Edit::Rename {
            from: "health.json".to_owned(),
            to: "health-2.json".to_owned(),
        };
        let both = ["health.json", "health-2.json"];
        let added = |path: &str| vec![write(path, &json!({}))];
        vec![
            case(
                "a bit turned",
                Folder,
                turned("config.json"),
                &["config.json"],
            ),
            case("a bit turned", Archive, turned("git.json"), &["git.json"]),
            case(
                "a bit turned in a segment",
                Folder,
                turned(segment),
                &[segment],
            ),
            case(
                "a space added",
                Folder,
                vec![write("summary.json", Content(grown))],
                &["summary.json"],
            ),
            case("a file added", Folder, added("notes.json"), &["notes.json"]),
            case(
                "a file added",
                Archive,
                added("logs/more.log"),
                &["logs/more.log"],
            ),
            case(
                "a file removed",
                Folder,
                vec![remove("git.json")],
                &["git.json"],
            ),
            case(
                "a segment removed",
                Archive,
                vec![remove(segment)],
                &[segment],
            ),
            case("a file renamed", Folder, vec![renamed.clone()], &both),
            case("a file renamed", Archive, vec![renamed], &both),
        ]
    }

    /// The manifest says something else, under the signature that it had.
    fn manifests(&self) -> Vec<Case> {
        use Form::{Archive, Folder};
        let edited = |change: &dyn Fn(&mut Manifest)| {
            let mut manifest = self.manifest.clone();
            change(&mut manifest);
            let payload = serde_json::to_vec(&manifest).expect("a manifest is plain data");
            let envelope = Envelope {
                payload: STANDARD.encode(payload),
                ..self.envelope.clone()
            };
            write(MANIFEST_FILE, envelope_content(&envelope))
        };
        let later = edited(&|manifest| manifest.created_at = "2030-01-01T00:00:00.000000Z".into());
        let config = self.turned("config.json");
        let fits = edited(&|manifest| set_row(manifest, FileRow::of("config.json", &config.0)));
        let dropped = edited(&|manifest| manifest.files.retain(|row| row.path != "git.json"));
        let retyped = Envelope {
            payload_type: "application/json".to_owned(),
            ..self.envelope.clone()
        };
        let retyped = write(MANIFEST_FILE, envelope_content(&retyped));
        let named = &[MANIFEST_FILE];
        vec![
            case("the manifest's date edited", Folder, vec![later], named),
            case(
                "a file changed and its row with it",
                Archive,
                vec![write("config.json", config), fits],
                named,
            ),
            case(
                "a file removed and its row with it",
                Folder,
                vec![remove("git.json"), dropped],
                named,
            ),
            case("the envelope's type edited", Archive, vec![retyped], named),
        ]
    }

    /// The signature is another's, another key's, or none.
    fn signatures(&self) -> Vec<Case> {
        use Form::{Archive, Folder};
        let with = |signatures: Vec<Signature>| {
            let envelope = Envelope {
                signatures,
                ..self.envelope.clone()
            };
            vec![write(MANIFEST_FILE, envelope_content(&envelope))]
        };
        let other: Option<Envelope> = serde_json::from_slice(&self.stuff.other.0).ok();
        let swapped = with(other.map(|other| other.signatures).unwrap_or_default());
        let stranger = vec![self.signed(&self.manifest, self.stuff.stranger)];
        let ours = vec![self.signed(&self.manifest, self.stuff.sign)];
        let named = &[MANIFEST_FILE];
        vec![
            case("signed anew by the same key", Folder, ours, &[]),
            case("another bundle's signature", Folder, swapped, named),
            case("no signature", Folder, with(Vec::new()), named),
            case("no manifest", Archive, vec![remove(MANIFEST_FILE)], named),
            case("another key's signature", Folder, stranger.clone(), named),
            case("another key's signature", Archive, stranger, named),
        ]
    }

    /// The audit segment is broken, and the manifest rightly signed over it.
    fn segments(&self) -> Vec<Case> {
        let (path, segment) = &self.segment;
        let broken = |name: &str, change: &dyn Fn(&mut Value)| {
            let mut segment = segment.clone();
            change(&mut segment);
            let content = Content::from(&segment);
            let mut manifest = self.manifest.clone();
            set_row(&mut manifest, FileRow::of(path, &content.0));
            let edits = vec![
                write(path, content),
                self.signed(&manifest, self.stuff.sign),
            ];
            let name = format!("rightly signed, with {name}");
            case(&name, Form::Folder, edits, &[path])
        };
        let entries = |segment: &mut Value, change: &dyn Fn(&mut Vec<Value>)| {
            if let Some(entries) = segment["entries"].as_array_mut() {
                change(entries);
            }
        };
        vec![
            broken("an actor changed", &|segment| {
                segment["entries"][1]["actor_id"] = json!("op-9");
            }),
            broken("an entry written anew", &|segment| {
                let entry = &mut segment["entries"][1];
                entry["actor_id"] = json!("op-9");
                entry["hash"] = json!(hash_of(entry));
            }),
            broken("an entry cut out", &|segment| {
                entries(segment, &|entries| drop(entries.remove(1)));
            }),
            broken("its tail cut off", &|segment| {
                entries(segment, &|entries| drop(entries.pop()));
            }),
            broken("its tail cut off and a proof that fits", &|segment| {
                entries(segment, &|entries| drop(entries.pop()));
                let entries = segment["entries"].as_array().cloned().unwrap_or_default();
                let last = entries.last().cloned().unwrap_or_default();
                let proof = &mut segment["proof"];
                proof["entry_count"] = json!(entries.len());
                proof["last_seq"] = last["seq"].clone();
                proof["last_hash"] = last["hash"].clone();
            }),
            broken("its proof one entry longer", &|segment| {
                let count = &mut segment["proof"]["entry_count"];
                *count = json!(count.as_i64().unwrap_or_default() + 1);
            }),
        ]
    }

    /// Links, paths that lead out, and files that are there twice.
    fn places(&self) -> Vec<Case> {
        use Form::{Archive, Folder};
        let link = |hard| {
            let to = self.stuff.folder.join("config.json");
            vec![Edit::Link {
                path: "config.json".to_owned(),
                to: to.display().to_string(),
                hard,
            }]
        };
        let added = |path: &str| {
            let content = Content(self.content("git.json"));
            let mut manifest = self.manifest.clone();
            manifest.files.push(FileRow::of(path, &content.0));
            let edits = vec![
                write(path, content),
                self.signed(&manifest, self.stuff.sign),
            ];
            case(
                "rightly signed, with a path that leads out",
                Archive,
                edits,
                &[path],
            )
        };
        let again = |content: Content| {
            vec![Edit::Again {
                path: "config.json".to_owned(),
                content,
            }]
        };
        let mut twice = self.manifest.clone();
        let row = twice.files.first().cloned();
        let path = row.as_ref().map_or("", |row| &row.path).to_owned();
        twice.files.extend(row);
        let twice = vec![self.signed(&twice, self.stuff.sign)];
        let named = &["config.json"];
        vec![
            case("a link to the same content", Folder, link(false), named),
            case("a symbolic link", Archive, link(false), named),
            case("a hard link", Archive, link(true), named),
            added("../git-2.json"),
            added("/git-2.json"),
            added("logs/../../git-2.json"),
            case(
                "a file twice",
                Archive,
                again(Content(self.content("config.json"))),
                named,
            ),
            case(
                "a file twice, first as it should be",
                Archive,
                again(self.turned("config.json")),
                named,
            ),
            case("rightly signed, with a row twice", Folder, twice, &[&path]),
        ]
    }

    fn signed(&self, manifest: &Manifest, sign: &dyn Fn(&[u8]) -> [u8; 64]) -> Edit {
        let payload = serde_json::to_vec(manifest).expect("a manifest is plain data");
        let sig = STANDARD.encode(sign(&pae(PAYLOAD_TYPE, &payload)));
        // The hint is that of the pinned key, whoever signs.
        let first = self.envelope.signatures.first();
        let keyid = first.and_then(|signature| signature.keyid.clone());
        let envelope = Envelope {
            payload: STANDARD.encode(payload),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: vec![Signature { keyid, sig }],
        };
        write(MANIFEST_FILE, envelope_content(&envelope))
    }
}

fn set_row(manifest: &mut Manifest, row: FileRow) {
    let old = manifest.files.iter_mut().find(|old| old.path == row.path);
    if let Some(old) = old {
        *old = row;
    }
}

fn envelope_content(envelope: &Envelope) -> Content {
    Content(serde_json::to_vec(envelope).expect("an envelope is plain data"))
}
