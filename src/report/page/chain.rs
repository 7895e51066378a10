//! The audit chain: what was done to it, and where it was caught.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::Value;

use super::svg::frame;

/// The gate whose evidence this is.
pub(super) const GATE: &str = "chain-tamper-detection";

const BOX: f64 = 92.0;

/// Attacks of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Kind {
    tries: usize,
    /// A read, an export or a proof said CHAIN_BROKEN.
    read: usize,
    /// The target did not start, or was not ready.
    start: usize,
    /// Every answer was still the acknowledged entries.
    harmless: usize,
}

pub(super) fn picture(seen: &Value) -> Option<Markup> {
    let attacks = seen["attacks"].as_array().filter(|all| !all.is_empty())?;
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    let mut bytes: BTreeMap<(String, u64), (usize, usize)> = BTreeMap::new();
    let forks = seen["forks"].as_array().into_iter().flatten();
    for attack in attacks.iter().chain(forks) {
        let kind = kinds.entry(name(&attack["how"])).or_default();
        let caught = broken(attack);
        kind.tries += 1;
        match (caught, attack["refused_start"].is_null()) {
            (true, _) => kind.read += 1,
            (false, false) => kind.start += 1,
            (false, true) => kind.harmless += 1,
        }
        if let (Some(chain), Some(seq)) = (attack["chain"].as_str(), attack["how"]["seq"].as_u64())
        {
            let place = bytes.entry((chain.to_owned(), seq)).or_default();
            place.0 += 1;
            place.1 += usize::from(caught);
        }
    }
    let chains = seen["chains"].as_array().map_or(0, Vec::len);
    Some(html! {
        p { (attacks.len()) " attacks on " (chains) " chains." }
        @for ((chain, seq), (tries, caught)) in &bytes {
            @let entries = seen["acknowledged"][chain].as_array().map_or(0, Vec::len);
            (drawn(chain, *seq, entries, (*tries, *caught)))
        }
        div.scroll { table {
            thead { tr { @for word in ["Attack", "Tries", "Caught on a read", "At start-up", "Answered with the acknowledged entries"] {
                th scope="col" { (word) }
            } } }
            tbody { @for (name, kind) in &kinds { tr {
                th scope="row" { (name) } td { (kind.tries) } td { (kind.read) } td { (kind.start) } td { (kind.harmless) }
            } } }
        } }
        p { "A bit flipped in a part of the file that holds nothing leaves the acknowledged entries as they \
            were: that is no clean proof of a changed chain." }
    })
}

fn name(how: &Value) -> String {
    if let Some(word) = how.as_str() {
        return word.replace('_', " ");
    }
    let what = how["what"].as_str().map(|what| what.replace('_', " "));
    match (how["attack"].as_str().unwrap_or("other"), what) {
        (when, Some(what)) => format!("{what}, {when}"),
        ("byte", None) => "a byte of an entry, running".to_owned(),
        ("bit", None) => "a bit of the file, stopped".to_owned(),
        ("older", None) => "an older database".to_owned(),
        (attack, None) => attack.to_owned(),
    }
}

fn broken(attack: &Value) -> bool {
    let mut looks = attack["looks"].as_array().into_iter().flatten();
    looks.any(|look| !look["answer"]["broken"].is_null())
}

/// The entries of a chain, and the one of which every byte was changed.
fn drawn(chain: &str, seq: u64, entries: usize, (tries, caught): (usize, usize)) -> Markup {
    let width = BOX * entries as f64 + 16.0;
    let inside = html! {
        @for place in 0..entries {
            @let x = BOX * place as f64 + 8.0;
            @if place > 0 { line.link x1=(x - 20.0) x2=(x) y1="28" y2="28" {} }
            rect class=(if place as u64 == seq { "entry attacked" } else { "entry" })
                x=(x) y="8" width=(BOX - 20.0) height="40" rx="4" {}
            text.tick x=(x + (BOX - 20.0) / 2.0) y="26" text-anchor="middle" { "seq " (place) }
            @if place as u64 == seq {
                text.tick x=(x + (BOX - 20.0) / 2.0) y="41" text-anchor="middle" { (caught) "/" (tries) }
            }
        }
    };
    let told =
        format!("{tries} bytes of entry {seq} were changed, {caught} of the changes were caught");
    html! {
        h3 { (chain) ": " (told) }
        (frame(&format!("chain-{chain}-{seq}"), &format!("The chain of {chain}"), &told, (width, 56.0), &inside))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn attacks_are_counted_by_where_they_were_caught() {
        let seen = json!({
            "chains": ["a"], "acknowledged": {"a": [{}, {}, {}]},
            "attacks": [
                {"chain": "a", "how": {"attack": "byte", "seq": 1}, "refused_start": null,
                    "looks": [{"answer": {"broken": {"seq": 1}}}]},
                {"chain": "a", "how": {"attack": "stopped", "what": "cut_tail"},
                    "refused_start": "exit 1", "looks": []},
                {"chain": "a", "how": {"attack": "bit"}, "refused_start": null,
                    "looks": [{"answer": {"entries": {}}}]},
            ],
        });
        let drawn = picture(&seen).unwrap().into_string();
        assert!(drawn.contains("1 bytes of entry 1 were changed, 1 of the changes were caught"));
        let rows = drawn
            .replace("</td>", "")
            .replace("</th>", "")
            .replace("</tr>", "\n");
        for row in [
            "a byte of an entry, running<td>1<td>1<td>0<td>0",
            "cut tail, stopped<td>1<td>0<td>1<td>0",
            "a bit of the file, stopped<td>1<td>0<td>0<td>1",
        ] {
            let plain = rows.replace("> <", "><");
            assert!(plain.contains(row), "{row}: {plain}");
        }
    }
}
