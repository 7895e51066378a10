//! A key-value store with get, put and append, as Porcupine's and MIT's 6.824 have it: a key that was
//! never put holds the empty text.

use crate::chaos::linear::Spec;

/// What can be asked of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Read its text.
    Get,
    /// Replace its text.
    Put(String),
    /// Put this behind its text.
    Append(String),
}

/// A call on one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Input {
    /// Which key.
    pub key: String,
    /// What is asked of it.
    pub call: Call,
}

/// What a store answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// The text that was read.
    Text(String),
    /// It is done.
    Done,
}

/// Keys that all hold the empty text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Store;

impl Spec for Store {
    type Key = String;
    type State = String;
    type Input = Input;
    type Output = Output;

    fn key(&self, input: &Input) -> String {
        input.key.clone()
    }

    fn init(&self, _key: &String) -> String {
        String::new()
    }

    fn step(&self, state: &String, input: &Input, output: Option<&Output>, next: &mut Vec<String>) {
        match (&input.call, output) {
            (Call::Get, None) => next.push(state.clone()),
            (Call::Get, Some(Output::Text(text))) if text == state => next.push(state.clone()),
            (Call::Put(text), None | Some(Output::Done)) => next.push(text.clone()),
            (Call::Append(text), None | Some(Output::Done)) => {
                let mut whole = String::with_capacity(state.len() + text.len());
                whole.push_str(state);
                whole.push_str(text);
                next.push(whole);
            }
            _ => {}
        }
    }

    fn observes(&self, input: &Input, _output: &Output) -> bool {
        input.call == Call::Get
    }

    const LOOKS_AHEAD: bool = true;

    fn reaches<'a>(
        &self,
        state: &String,
        (input, output): (&Input, &Output),
        mut others: impl Iterator<Item = &'a Input>,
    ) -> bool {
        let (Call::Get, Output::Text(text)) = (&input.call, output) else {
            return true;
        };
        // Appends alone only make a text longer; what begins otherwise began with a put.
        text.starts_with(state.as_str())
            || others.any(|other| match &other.call {
                Call::Put(begin) => text.starts_with(begin.as_str()),
                _ => false,
            })
    }

    fn heap(&self, state: &String) -> usize {
        state.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::linear::{Bounds, Operation, Outcome, check};

    /// A call on a key with its answer, from when to when.
    type Row<'a> = (&'a str, Call, Output, u64, u64);

    fn legal(rows: &[Row<'_>]) -> bool {
        let operations: Vec<_> = rows
            .iter()
            .map(|(key, call, output, from, to)| {
                let input = Input {
                    key: (*key).to_owned(),
                    call: call.clone(),
                };
                Operation::closed(input, output.clone(), *from, *to)
            })
            .collect();
        matches!(
            check(&Store, &operations, Bounds::default()),
            Outcome::Ok { .. }
        )
    }

    fn get(text: &str, from: u64) -> Row<'_> {
        (
            "k",
            Call::Get,
            Output::Text(text.to_owned()),
            from,
            from + 1,
        )
    }

    fn append(text: &str, from: u64, to: u64) -> Row<'_> {
        ("k", Call::Append(text.to_owned()), Output::Done, from, to)
    }

    #[test]
    fn a_text_grows_in_one_order_for_all() {
        assert!(legal(&[get("", 0), append("a", 2, 3), get("a", 4)]));
        assert!(!legal(&[append("a", 2, 3), get("", 4)]), "it was lost");
        let (a, b) = (append("a", 0, 5), append("b", 0, 5));
        assert!(legal(&[a.clone(), b.clone(), get("ab", 6)]));
        assert!(legal(&[a.clone(), b.clone(), get("ba", 6)]));
        assert!(!legal(&[a.clone(), b.clone(), get("ab", 6), get("ba", 8)]));
        assert!(!legal(&[a, b, get("aba", 6)]), "one of them twice");
    }

    #[test]
    fn a_put_replaces_the_text_of_its_own_key_alone() {
        let put = |key| (key, Call::Put("x".to_owned()), Output::Done, 2, 3);
        assert!(legal(&[append("a", 0, 1), put("k"), get("x", 4)]));
        assert!(!legal(&[append("a", 0, 1), put("k"), get("ax", 4)]));
        assert!(legal(&[append("a", 0, 1), put("other"), get("a", 4)]));
        assert!(!legal(&[append("a", 0, 1), put("other"), get("x", 4)]));
    }
}
