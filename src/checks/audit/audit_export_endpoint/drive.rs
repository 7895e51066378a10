//! How chains are written and exported, and how every route of v4.7 is asked.

use std::collections::BTreeMap;

use rand::Rng;
use serde_json::json;

use super::{BadRange, Evidence, Guarded, Range, Segment, Standing};
use crate::base::json::hex;
use crate::chaos::approvals::{self, Minted, Shown};
use crate::checks::audit::audit_chain_present::{quiet, tool_runs};
use crate::checks::audit::stored;
use crate::checks::audit::traffic::Desk;
use crate::checks::{Cx, Sent, Undecided};
use crate::contract::{self, Export, Route, routes};
use crate::target::{Ask, Client, Credential, Instance};

/// Who reads and writes here. Roles are other gates' matter.
const WHO: Credential = Credential::Operator(1);
/// The release whose routes are asked without credentials.
const RELEASE: &str = "v4.7";
/// The tables that a gate may read directly.
const READABLE: [&str; 2] = ["audit_log", "idempotency_keys"];
/// Past every chain.
const BEYOND: i64 = 1_000_000;

/// Lets every chain grow, and waits until no operation is under way.
pub(super) async fn write(
    cx: &Cx,
    instance: &Instance,
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    let _span = cx.span("storm of writes");
    seen.chains = instance.listening().chains.keys().cloned().collect();
    seen.pinned = hex(instance.setup().keys.audit_public().as_bytes());
    let desk = Desk::new(instance);
    let session = desk.session(cx.seed).await;
    let id = session.answer["session_id"].as_str().unwrap_or("ses_none");
    let round = desk.round(cx.seed.child("round"), id).await;
    seen.sent.push(session);
    seen.sent.extend(round);
    if let Err(Undecided(why)) = quiet(cx, &desk).await {
        seen.trouble.push(why);
    }
    seen.effects = tool_runs(cx);
    Ok(())
}

/// Exports every chain, whole and in segments, and asks for ranges that are none.
pub(super) async fn export(cx: &Cx, instance: &Instance, seen: &mut Evidence) {
    let _span = cx.span("export");
    let client = instance.client(WHO);
    let mut rng = cx.seed.child("cuts").rng();
    for chain in seen.chains.clone() {
        let whole = one(&client, &chain, "v1", Range::Whole).await;
        let entries = whole
            .export
            .as_ref()
            .map_or(0, |export| export.entries.len());
        seen.segments.push(whole);
        let n = i64::try_from(entries).unwrap_or(0);
        let cut = |rng: &mut rand::rngs::ChaCha8Rng, from: i64, to: i64| {
            let room = u64::try_from((to - from).max(1)).unwrap_or(1);
            from + i64::try_from(rng.next_u64() % room).unwrap_or(0)
        };
        // Three consecutive segments, cut by the seed.
        let first = cut(&mut rng, 0, n - 2);
        let second = cut(&mut rng, first + 1, n - 1);
        let single = cut(&mut rng, 0, n);
        let ranges = [
            ("v3", Range::Whole),
            ("v1", Range::Between(0, first)),
            ("v3", Range::Between(first + 1, second)),
            ("v1", Range::Between(second + 1, n - 1)),
            ("v3", Range::Between(single, single)),
            ("v1", Range::Between(n - 1, BEYOND)),
            ("v1", Range::AtMost(1, 2)),
        ];
        for (version, range) in ranges {
            seen.segments
                .push(one(&client, &chain, version, range).await);
        }
        refuse(&client, &chain, n, seen).await;
    }
}

async fn one(client: &Client, chain: &str, version: &str, range: Range) -> Segment {
    let query = match range {
        Range::Whole => String::new(),
        Range::Between(from, to) => format!("&from_seq={from}&to_seq={to}"),
        Range::AtMost(from, limit) => format!("&from_seq={from}&limit={limit}"),
    };
    let path = format!("/{version}/audit/export?chain={chain}{query}");
    let exchange = client.send(Ask::get("api-gateway", &path)).await;
    let headers = exchange.answer.as_ref().map(|answer| &answer.headers);
    Segment {
        chain: chain.to_owned(),
        range,
        at_us: exchange.invoked_us,
        answer: format!("{} {}", exchange.status(), exchange.code())
            .trim_end()
            .to_owned(),
        deprecated: headers.is_some_and(|headers| headers.contains_key("x-deprecated")),
        export: contract::read::<Export>(exchange.answered())
            .ok()
            .filter(|_| exchange.ok()),
        path,
    }
}

async fn refuse(client: &Client, chain: &str, n: i64, seen: &mut Evidence) {
    for (what, query) in [
        ("empty", format!("from_seq={n}&to_seq={}", n + 5)),
        ("inverted", "from_seq=3&to_seq=1".to_owned()),
        ("negative", "from_seq=-1".to_owned()),
        ("no number", "to_seq=two".to_owned()),
        ("of no entry", "limit=0".to_owned()),
    ] {
        let path = format!("/v1/audit/export?chain={chain}&{query}");
        let exchange = client.send(Ask::get("api-gateway", &path)).await;
        seen.bad_ranges.push(BadRange {
            what: what.to_owned(),
            sent: Sent::new(&exchange, &WHO),
        });
    }
}

/// Asks every route of v4.7 without credentials, looks whether anything has changed, and asks again
/// with them.
pub(super) async fn guard(
    cx: &Cx,
    instance: &Instance,
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    let _span = cx.span("guard");
    let client = instance.client(WHO);
    let session = approvals::session(&client).await?;
    let mut open = Vec::new();
    for route in approvals::Route::ALL {
        let marker = approvals::markers(cx.seed, &format!("guard-{route}"), 1);
        open.extend(approvals::mint(&client, &session, route, &marker).await?);
    }
    let listening = instance.listening();
    let of_release = routes().iter().filter(|route| {
        route.since == RELEASE
            && route.min_role != "none"
            && listening.services.contains_key(&route.service)
    });
    let asks: Vec<(&Route, String, Ask)> = of_release
        .flat_map(|route| route.paths().map(move |template| (route, template)))
        .map(|(route, template)| {
            let ask = ask(route, &template, &open, seen);
            (route, template, ask)
        })
        .collect();
    seen.before = standing(instance, &client, seen).await;
    let nobody = instance.client(Credential::None);
    for (number, (route, template, ask)) in asks.iter().enumerate() {
        let mut ask = ask.clone();
        if route.mutating {
            ask = ask.key(&format!("guard-{number}"));
        }
        let exchange = nobody.send(ask).await;
        seen.guarded.push(Guarded {
            service: route.service.clone(),
            method: route.method.clone(),
            template: template.clone(),
            without: Sent::new(&exchange, &Credential::None),
            with: None,
        });
    }
    seen.after = standing(instance, &client, seen).await;
    for (place, (_, _, ask)) in asks.into_iter().enumerate() {
        let exchange = client.send(ask).await;
        seen.guarded[place].with = Some(Sent::new(&exchange, &WHO));
    }
    Ok(())
}

/// A request of this route about something that is there.
fn ask(route: &Route, template: &str, open: &[Minted], seen: &Evidence) -> Ask {
    let on = |route| {
        let minted = open.iter().find(|minted| minted.route == route);
        minted.map_or("none", |minted| minted.id.as_str())
    };
    // A reissue is asked as a client asks for it; anything else that changes something has an
    // empty body, which is refused after authentication at the latest.
    if template.ends_with("/reissue") {
        let kind = match route.path.as_str() {
            path if path.contains("/confirmations/") => approvals::Route::Confirmations,
            path if path.contains("/actions/") => approvals::Route::Actions,
            _ => approvals::Route::EvaOs,
        };
        let asked = kind.ask(on(kind), "reissue", Shown::Nothing);
        let path = template.replace("{id}", on(kind));
        return Ask { path, ..asked };
    }
    let id = seen.sent.first().map_or("none", |sent| sent.id.as_str());
    let mut path = template.to_owned();
    while let (Some(from), Some(to)) = (path.find('{'), path.find('}')) {
        path.replace_range(from..=to, id);
    }
    let ask = Ask::new(&route.service, &route.method, &path);
    if route.mutating {
        return Ask {
            body: Some(json!({})),
            ..ask
        };
    }
    ask
}

/// What stands: the tables that a gate may read, and what is open.
async fn standing(instance: &Instance, client: &Client, seen: &mut Evidence) -> Option<Standing> {
    let mut tables = BTreeMap::new();
    let listening = instance.listening();
    for chain in &seen.chains {
        let Some(path) = listening.databases.get(chain) else {
            continue;
        };
        match stored::tables(path) {
            Ok(found) => {
                let named = |(table, digest)| (format!("{chain} {table}"), digest);
                let readable = found
                    .into_iter()
                    .filter(|(table, _)| READABLE.contains(&table.as_str()));
                tables.extend(readable.map(named));
            }
            Err(why) => {
                seen.trouble.push(why);
                return None;
            }
        }
    }
    let mut open = BTreeMap::new();
    for (service, path, field) in [
        ("api-gateway", "/v3/confirmations/pending", "confirmations"),
        ("api-gateway", "/v3/actions", "actions"),
        ("eva-os", "/approvals", "approvals"),
    ] {
        let mut list = client.send(Ask::get(service, path)).await.answered()[field].clone();
        // Time passes without anybody asking.
        for row in list.as_array_mut().into_iter().flatten() {
            if let Some(fields) = row.as_object_mut() {
                fields.remove("remaining_seconds");
            }
        }
        open.insert(format!("{service} {path}"), list);
    }
    Some(Standing { tables, open })
}
