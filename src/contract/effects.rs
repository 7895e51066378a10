//! Which audit entry the effect of a mutating route leaves. The table is the contract's fixture.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

/// The row of one mutating route.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// The service.
    pub service: String,
    /// The method.
    pub method: String,
    /// The canonical path with `{id}`.
    pub path: String,
    /// The action of its entry.
    pub action: String,
    /// The resource of its entry, with fields of the answer in braces.
    pub resource: String,
    /// The action of the entry that precedes a call to another service.
    pub started: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[expect(dead_code, reason = "the text for readers of the fixture")]
    about: String,
    effects: Vec<Effect>,
}

static TABLE: LazyLock<Vec<Effect>> = LazyLock::new(|| {
    let text = include_str!("../../fixtures/contract/audit.json");
    let table: Table = serde_json::from_str(text).expect("the fixture is tested to be readable");
    table.effects
});

/// Every row.
#[must_use]
pub fn effects() -> &'static [Effect] {
    &TABLE
}

impl Effect {
    /// The row of a concrete request.
    #[must_use]
    pub fn of(service: &str, method: &str, path: &str) -> Option<&'static Self> {
        effects()
            .iter()
            .find(|row| row.service == service && row.method == method && matches(&row.path, path))
    }

    /// The resource that this answer's body names: `session/ses_6b1f0c7e21aa`.
    #[must_use]
    pub fn resource(&self, body: &Value) -> Option<String> {
        let (kind, field) = self.resource.split_once("/{")?;
        let field = field.strip_suffix('}')?;
        let id = find(body, field)?;
        Some(format!("{kind}/{id}"))
    }
}

/// The field at the top, or in the one object below (`action.action_id`).
fn find<'a>(body: &'a Value, field: &str) -> Option<&'a str> {
    let direct = body.get(field).and_then(Value::as_str);
    direct.or_else(|| {
        body.as_object()?
            .values()
            .find_map(|inner| inner.get(field).and_then(Value::as_str))
    })
}

fn matches(template: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or(path);
    let (wanted, given): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    wanted.len() == given.len()
        && wanted
            .iter()
            .zip(&given)
            .all(|(want, got)| want == got || want.starts_with('{'))
}

#[cfg(test)]
mod tests {
    use super::{Effect, effects};
    use serde_json::{Value, json};

    #[test]
    fn every_mutating_route_has_exactly_one_row_and_nothing_else_has() {
        let text = include_str!("../../fixtures/contract/routes.json");
        let table: Value = serde_json::from_str(text).unwrap();
        let mut routes: Vec<String> = table["routes"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|route| route["mutating"] == true)
            .map(|route| format!("{} {} {}", route["service"], route["method"], route["path"]))
            .collect();
        let mut rows: Vec<String> = effects()
            .iter()
            .map(|row| format!("\"{}\" \"{}\" \"{}\"", row.service, row.method, row.path))
            .collect();
        routes.sort();
        rows.sort();
        assert_eq!(rows, routes);
    }

    #[test]
    fn a_concrete_path_finds_its_row_and_the_answer_its_resource() {
        let row = Effect::of("api-gateway", "DELETE", "/v3/sessions/ses_1?x=y").unwrap();
        assert_eq!(row.action, "session.delete");
        let plan = Effect::of("api-gateway", "POST", "/v3/actions/plan").unwrap();
        let body = json!({"ok": true, "action": {"action_id": "act_1"}});
        assert_eq!(plan.resource(&body).unwrap(), "action/act_1");
        assert_eq!(plan.resource(&json!({"ok": true})), None);
        assert!(Effect::of("api-gateway", "GET", "/v3/sessions/ses_1").is_none());
        assert!(Effect::of("eva-os", "POST", "/v3/sessions").is_none());
    }
}
