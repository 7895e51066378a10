//! The documents against the route table, against the form that OpenAPI 3.1 asks for, and against
//! every sample of the contract.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::document;
use crate::reference::config::Config;
use crate::reference::web::{MinRole, Row, Twin};
use crate::reference::wiring::{SERVICES, routes};

fn documents() -> BTreeMap<&'static str, Value> {
    let config = Config::default();
    let rows = routes();
    let of = |service: &&'static str| {
        let own = rows.iter().filter(|row| row.service == *service);
        let document = document::of(service, own, &config);
        (*service, serde_json::to_value(document).unwrap())
    };
    SERVICES.iter().map(of).collect()
}

/// Every operation: service, method in lower case, path.
fn operations(
    documents: &BTreeMap<&'static str, Value>,
) -> BTreeMap<(String, String, String), Value> {
    let mut all = BTreeMap::new();
    for (service, document) in documents {
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let key = ((*service).to_owned(), method.clone(), path.clone());
                assert!(all.insert(key, operation.clone()).is_none());
            }
        }
    }
    all
}

/// What a row is at one of its paths: deprecated or not.
fn served(row: &Row) -> Vec<(String, bool)> {
    let twin = row
        .twin_path()
        .map(|path| (path, row.twin == Twin::Deprecated));
    [(row.path.to_owned(), false)]
        .into_iter()
        .chain(twin)
        .collect()
}

#[test]
fn the_documents_are_exactly_the_route_table() {
    let mut documented = operations(&documents());
    for row in routes() {
        for (path, deprecated) in served(&row) {
            let at = format!("{} {path} of {}", row.method, row.service);
            let key = (
                row.service.to_owned(),
                row.method.to_ascii_lowercase(),
                path,
            );
            let operation = documented.remove(&key).unwrap_or_else(|| panic!("no {at}"));
            assert_eq!(operation["deprecated"] == json!(true), deprecated, "{at}");
            assert_eq!(operation["x-since"], row.since, "{at}");
            assert_eq!(operation["x-min-role"], row.min_role.word(), "{at}");
            assert_eq!(operation["x-mutating"], row.mutating, "{at}");
            let open = operation["security"] == json!([]);
            assert_eq!(open, row.min_role == MinRole::None, "{at}");
            let names: Vec<&str> = names(&operation, "header");
            for (name, there) in [
                ("X-Correlation-ID", true),
                ("X-Idempotency-Key", row.mutating),
                ("Idempotency-Key", row.mutating),
                ("X-Fence-Token", row.method != "GET"),
            ] {
                assert_eq!(names.contains(&name), there, "{at}: {name}");
            }
            let braces: Vec<&str> = row.braces().collect();
            assert_eq!(self::names(&operation, "path"), braces, "{at}");
        }
    }
    assert!(documented.is_empty(), "no route: {:?}", documented.keys());
}

fn names<'a>(operation: &'a Value, place: &str) -> Vec<&'a str> {
    let all = operation["parameters"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let there = all.iter().filter(|parameter| parameter["in"] == place);
    there
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect()
}

#[test]
fn every_row_says_what_it_is_for_and_what_it_answers() {
    for row in routes() {
        let at = format!("{} {} of {}", row.method, row.path, row.service);
        let how = "say it where the row is made: .about(\"...\").takes(&[...]).gives(200, &[...])";
        let sentence = row.says.about.ends_with('.');
        assert!(sentence, "{at}: no sentence about it; {how}");
        let answers = row.socket.is_some() || !row.says.gives.is_empty();
        assert!(answers, "{at}: no answer; {how}");
    }
}

#[test]
fn every_document_has_the_form_of_openapi_3_1() {
    for (service, document) in documents() {
        assert_eq!(document["openapi"], "3.1.0");
        let known = ["openapi", "info", "paths", "components", "x-limits"];
        only(&document, &known, service);
        assert_eq!(document["info"]["title"], service);
        assert!(document["info"]["version"].is_string());
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            assert!(path.starts_with('/'), "{path}");
            for (method, operation) in item.as_object().unwrap() {
                let at = format!("{method} {path} of {service}");
                assert!(["get", "post", "put", "patch", "delete"].contains(&method.as_str()));
                operation_form(operation, &document, &at);
                let id = operation["operationId"].as_str().unwrap().to_owned();
                assert!(ids.insert(id), "{at}: an id that another one has");
            }
        }
    }
}

fn only(object: &Value, known: &[&str], at: &str) {
    for name in object.as_object().unwrap().keys() {
        assert!(known.contains(&name.as_str()), "{at}: {name}");
    }
}

fn operation_form(operation: &Value, document: &Value, at: &str) {
    let known = [
        "operationId",
        "summary",
        "deprecated",
        "parameters",
        "requestBody",
        "responses",
        "security",
        "x-since",
        "x-min-role",
        "x-mutating",
    ];
    only(operation, &known, at);
    let mut seen = BTreeSet::new();
    for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
        only(
            parameter,
            &["name", "in", "required", "description", "schema"],
            at,
        );
        let (name, place) = (&parameter["name"], &parameter["in"]);
        assert!(
            seen.insert((name.to_string(), place.to_string())),
            "{at}: {name} twice"
        );
        assert!(
            ["path", "query", "header"].contains(&place.as_str().unwrap()),
            "{at}"
        );
        assert!(
            place != "path" || parameter["required"] == true,
            "{at}: {name}"
        );
        schema_form(&parameter["schema"], document, at);
    }
    if let Some(body) = operation.get("requestBody") {
        only(body, &["required", "content"], at);
        schema_form(&body["content"]["application/json"]["schema"], document, at);
    }
    let responses = operation["responses"].as_object().unwrap();
    assert!(
        responses
            .keys()
            .any(|status| status.starts_with('2') || status == "101"),
        "{at}"
    );
    for (status, response) in responses {
        assert!(
            (100..600).contains(&status.parse::<u16>().unwrap()),
            "{at}: {status}"
        );
        only(response, &["description", "headers", "content"], at);
        assert!(
            !response["description"].as_str().unwrap().is_empty(),
            "{at}: {status}"
        );
        if let Some(content) = response.get("content") {
            schema_form(&content["application/json"]["schema"], document, at);
        }
    }
    for requirement in operation["security"].as_array().unwrap() {
        for name in requirement.as_object().unwrap().keys() {
            assert!(
                document["components"]["securitySchemes"][name].is_object(),
                "{at}: {name}"
            );
        }
    }
}

fn resolve<'a>(schema: &'a Value, document: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        None => schema,
        Some(to) => document.pointer(to.strip_prefix('#').unwrap()).unwrap(),
    }
}

fn schema_form(schema: &Value, document: &Value, at: &str) {
    let schema = resolve(schema, document);
    let known = [
        "type",
        "required",
        "properties",
        "items",
        "enum",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "pattern",
    ];
    only(schema, &known, at);
    let properties = schema["properties"].as_object();
    for name in schema["required"].as_array().unwrap_or(&Vec::new()) {
        let there = properties.is_some_and(|all| all.contains_key(name.as_str().unwrap()));
        assert!(there, "{at}: {name} is required and not described");
    }
    for property in properties.unwrap_or(&Map::new()).values() {
        schema_form(property, document, at);
    }
    if let Some(items) = schema.get("items") {
        schema_form(items, document, at);
    }
}

/// Why a value is not what a schema says; as much of JSON Schema as the documents use, and fields
/// that nobody described.
fn wrong(value: &Value, schema: &Value, document: &Value, at: &str) -> Vec<String> {
    let schema = resolve(schema, document);
    let mut found = Vec::new();
    if let Some(types) = schema.get("type") {
        let types = types
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![types.clone()]);
        if !types.iter().any(|kind| is_a(value, kind.as_str().unwrap())) {
            found.push(format!("{at}: got {value}, expected {types:?}"));
        }
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{at}: got {value}, expected one of {words:?}"));
    }
    if let (Some(fields), Some(described)) = (value.as_object(), schema["properties"].as_object()) {
        for name in schema["required"].as_array().unwrap_or(&Vec::new()) {
            if !fields.contains_key(name.as_str().unwrap()) {
                found.push(format!("{at}: no {name}"));
            }
        }
        for (name, value) in fields {
            match described.get(name) {
                Some(schema) => {
                    found.extend(wrong(value, schema, document, &format!("{at}.{name}")))
                }
                None => found.push(format!("{at}.{name}: nobody described it")),
            }
        }
    }
    if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        for item in items {
            found.extend(wrong(item, schema, document, &format!("{at}[]")));
        }
    }
    found
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    }
}

/// The operation that a concrete path reaches: the template with the fewest braces.
fn operation<'a>(document: &'a Value, method: &str, path: &str) -> Option<&'a Value> {
    let wanted: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let parts: Vec<&str> = template.split('/').collect();
        let same = |(part, given): (&&str, &&str)| part.starts_with('{') || part == given;
        parts.len() == wanted.len() && parts.iter().zip(&wanted).all(same)
    };
    let paths = document["paths"].as_object()?;
    let mut fitting: Vec<_> = paths
        .iter()
        .filter(|(template, _)| fits(template))
        .collect();
    fitting.sort_by_key(|(template, _)| template.matches('{').count());
    fitting.first()?.1.get(method.to_ascii_lowercase())
}

/// A sample against its document: what is wrong with its request, its status and its answer.
fn held_against(sample: &Value, document: &Value) -> Vec<String> {
    let (method, line) = (
        sample["method"].as_str().unwrap(),
        sample["path"].as_str().unwrap(),
    );
    let (path, query) = line.split_once('?').unwrap_or((line, ""));
    let Some(operation) = operation(document, method, path) else {
        return vec![format!("no {method} {path}")];
    };
    let mut found = Vec::new();
    let known = names(operation, "query");
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap_or_default();
        if !known.contains(&name) {
            found.push(format!("?{name}: nobody described it"));
        }
    }
    let answer = &sample["answer"];
    let status = answer["status"].to_string();
    let body = &sample["request"]["body"];
    // A request that is refused for its form has another form.
    if body.is_object() && !["400", "422"].contains(&status.as_str()) && body != &json!({}) {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        found.extend(match schema {
            Value::Null => vec!["request: nobody described a body".to_owned()],
            schema => wrong(body, schema, document, "request"),
        });
    }
    match operation["responses"].get(&status) {
        None => found.push(format!("{status}: nobody described it")),
        Some(response) => {
            let schema = &response["content"]["application/json"]["schema"];
            found.extend(wrong(&answer["body"], schema, document, "answer"));
        }
    }
    found
}

#[test]
fn every_sample_of_the_contract_is_what_its_document_says() {
    let documents = documents();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/contract/samples");
    let (mut held, mut all) = (0, Vec::new());
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let sample: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let document = &documents[sample["service"].as_str().unwrap()];
        let name = path.file_stem().unwrap().to_str().unwrap();
        let found = held_against(&sample, document).into_iter();
        all.extend(found.map(|found| format!("{name}: {found}")));
        held += 1;
    }
    let how = "say it where the row is made, with .takes, .asks, .gives and .refuses";
    assert!(all.is_empty(), "{how}: {all:#?}");
    assert!(held >= 60, "{held} samples");
}

#[test]
fn a_sample_that_says_something_else_is_seen() {
    let documents = documents();
    let text = include_str!("../../../fixtures/contract/samples/session-create.json");
    let sample: Value = serde_json::from_str(text).unwrap();
    let seen = |at: &str, to: Option<Value>| {
        let mut sample = sample.clone();
        let (parent, name) = at.rsplit_once('/').unwrap();
        let object = sample.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match to {
            Some(to) => object.insert(name.to_owned(), to),
            None => object.remove(name),
        };
        held_against(&sample, &documents["api-gateway"])
    };
    for (at, to) in [
        ("/request/body/user_id", None),
        ("/request/body/user_id", Some(json!(7))),
        ("/request/body/more", Some(json!(1))),
        ("/answer/body/expires_at", None),
        ("/answer/body/turn_count", Some(json!("0"))),
        ("/answer/body/state", Some(json!("asleep"))),
        ("/answer/body/more", Some(json!(1))),
        ("/answer/status", Some(json!(202))),
        ("/path", Some(json!("/v3/session"))),
        ("/path", Some(json!("/v3/sessions?dry=1"))),
    ] {
        assert_eq!(seen(at, to.clone()).len(), 1, "{at} {to:?}");
    }
}
