//! Signed notes (C2SP signed-note), verified under one pinned Ed25519 key. Signatures of keys that
//! are not pinned say nothing, one of the pinned key that fails rejects the note.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

/// The type of an Ed25519 key.
const ED25519: u8 = 0x01;
/// What a signature line begins with: an em dash and a space.
const DASH: &str = "\u{2014} ";

/// Why a note says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is no note at all.
    #[error("it is no signed note")]
    Malformed,
    /// Nobody signed it whose key is pinned.
    #[error("it is not signed by the pinned key")]
    Unsigned,
    /// The pinned key's signature is not of this text.
    #[error("the signature of the pinned key is wrong")]
    Invalid,
}

/// A pinned key under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    name: String,
    key: VerifyingKey,
}

impl Pinned {
    /// This key under this name, which has no spaces and no plus.
    #[must_use]
    pub fn new(name: &str, key: VerifyingKey) -> Self {
        let name = name.to_owned();
        Self { name, key }
    }

    /// Reads the form in which keys are handed around: `<name>+<id>+<base64(type, key)>`.
    #[must_use]
    pub fn parse(vkey: &str) -> Option<Self> {
        let mut parts = vkey.splitn(3, '+');
        let (name, id) = (parts.next()?, parts.next()?);
        let typed = STANDARD.decode(parts.next()?).ok()?;
        let (kind, key) = typed.split_first()?;
        let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
        let pinned = Self::new(name, key);
        let expected = crate::base::json::hex(&pinned.id());
        (is_name(name) && *kind == ED25519 && id == expected).then_some(pinned)
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The first four bytes of SHA-256 over name, newline, type and key.
    fn id(&self) -> [u8; 4] {
        let hash = Sha256::new().chain_update(self.name.as_bytes());
        let hash = hash.chain_update([b'\n', ED25519]);
        let digest = hash.chain_update(self.key.as_bytes()).finalize();
        [digest[0], digest[1], digest[2], digest[3]]
    }

    /// The text of a note that this key signed.
    ///
    /// # Errors
    /// See [`NoteError`].
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        let control = |letter: char| letter < ' ' && letter != '\n';
        let at = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
        let (text, signatures) = (&note[..=at], &note[at + 2..]);
        if note.contains(control) || text.is_empty() || !signatures.ends_with('\n') {
            return Err(NoteError::Malformed);
        }
        let mut signed = false;
        for line in signatures.lines() {
            let (name, id, signature) = signature(line).ok_or(NoteError::Malformed)?;
            if name != self.name || id != self.id() {
                continue;
            }
            let signature = Signature::from_slice(&signature).map_err(|_| NoteError::Invalid)?;
            let verified = self.key.verify_strict(text.as_bytes(), &signature);
            verified.map_err(|_| NoteError::Invalid)?;
            signed = true;
        }
        if signed {
            Ok(text)
        } else {
            Err(NoteError::Unsigned)
        }
    }
}

/// Name, key id and signature of a line.
fn signature(line: &str) -> Option<(&str, [u8; 4], Vec<u8>)> {
    let (name, rest) = line.strip_prefix(DASH)?.split_once(' ')?;
    let bytes = STANDARD.decode(rest).ok()?;
    let (id, signature) = bytes.split_first_chunk::<4>()?;
    (is_name(name) && !signature.is_empty()).then(|| (name, *id, signature.to_vec()))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|letter: char| letter == '+' || letter.is_whitespace())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;
    use signed_note::{Note, StandardVerifier, VerifierList};

    use super::*;

    /// The vector of C2SP signed-note.
    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1\
        Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    fn signed(text: &str, name: &str, secret: u8) -> (Pinned, String) {
        let key = SigningKey::from_bytes(&[secret; 32]);
        let pinned = Pinned::new(name, key.verifying_key());
        let mut signature = pinned.id().to_vec();
        signature.extend(key.sign(text.as_bytes()).to_bytes());
        let line = format!("{DASH}{name} {}\n", STANDARD.encode(signature));
        (pinned, format!("{text}\n{line}"))
    }

    #[test]
    fn the_published_vector_opens_and_changed_it_does_not() {
        let pinned = Pinned::parse(VKEY).unwrap();
        assert_eq!(pinned.open(NOTE), Ok("This is an example message.\n"));
        let changed = NOTE.replace("example message", "example massage");
        assert_eq!(pinned.open(&changed), Err(NoteError::Invalid));
        let other = Pinned::new("example.com/bar", pinned.key);
        assert_eq!(other.open(NOTE), Err(NoteError::Unsigned));
        for vkey in [
            VKEY.replace("530d903a", "530d903b"),
            VKEY.replace("+Aeky", "+Beky"),
            VKEY.replace("/foo", "/ foo"),
            "example.com/foo+530d903a".to_owned(),
        ] {
            assert_eq!(Pinned::parse(&vkey), None, "{vkey}");
        }
    }

    #[test]
    fn others_may_sign_too_and_one_wrong_signature_of_the_pinned_key_rejects() {
        let (pinned, note) = signed("a\n\nb\n", "log", 1);
        let line_of = |note: &str| note.lines().last().unwrap().to_owned() + "\n";
        let (_, foreign) = signed("a\n\nb\n", "witness", 2);
        let (_, again) = signed("something else\n", "log", 1);
        let with = |more: &str| format!("{note}{}", line_of(more));
        assert_eq!(pinned.open(&with(&foreign)), Ok("a\n\nb\n"));
        assert_eq!(pinned.open(&with(&again)), Err(NoteError::Invalid));
        assert_eq!(pinned.open(&foreign), Err(NoteError::Unsigned));
        let many: String = (0..20).map(|_| line_of(&foreign)).collect();
        assert_eq!(pinned.open(&format!("{note}{many}")), Ok("a\n\nb\n"));
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let (pinned, note) = signed("text\n", "log", 1);
        let (text, line) = note.split_at("text\n\n".len());
        for wrong in [
            String::new(),
            "\n\n".to_owned(),
            text.to_owned(),
            line.to_owned(),
            note.trim_end().to_owned(),
            format!("{note}\n"),
            format!("{text}{}", line.replace('\u{2014}', "-")),
            note.replace("text", "te\u{7}xt"),
            format!("{text}{DASH}log AAAA\n"),
        ] {
            assert_eq!(pinned.open(&wrong), Err(NoteError::Malformed), "{wrong:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn notes_are_judged_as_other_people_judge_them(
            at in any::<prop::sample::Index>(), with in prop_oneof![any::<char>(), "[ +\n=A\u{2014}]".prop_map(|s: String| s.chars().next().unwrap())],
            harm in 0..4,
        ) {
            let (pinned, note) = signed("sonia.local/eva-os\n3\nAAAA\n", "sonia.local/eva-os", 3);
            let mut letters: Vec<char> = note.chars().collect();
            let place = at.index(letters.len());
            match harm {
                0 => {}
                1 => letters[place] = with,
                2 => letters.insert(place, with),
                _ => drop(letters.remove(place)),
            }
            let note: String = letters.into_iter().collect();
            let typed = [&[ED25519], pinned.key.as_bytes().as_slice()].concat();
            let id = crate::base::json::hex(&pinned.id());
            let vkey = format!("sonia.local/eva-os+{id}+{}", STANDARD.encode(typed));
            prop_assert_eq!(Pinned::parse(&vkey), Some(pinned.clone()));
            let verifier = StandardVerifier::new(&vkey).unwrap();
            let known = VerifierList::new(vec![Box::new(verifier)]);
            let theirs = Note::from_bytes(note.as_bytes()).ok().filter(|note| note.verify(&known).is_ok());
            let theirs = theirs.map(|note| note.text().to_vec());
            prop_assert_eq!(pinned.open(&note).ok().map(str::as_bytes), theirs.as_deref());
        }
    }
}
