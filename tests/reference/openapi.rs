//! What a document says a route reads, the route reads: each field that is missing, too long or of
//! another type is refused by name. The document is the one that the service serves.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sonia_gate::reference::wiring::SERVICES;

use crate::world::{Answer, Who, World};

/// Longer texts are not tried: they are the body's limit, which is another refusal.
const LONGEST_TRIED: u64 = 65_536;

/// Each operation of a service: method, path, what the document says of it.
async fn operations(world: &World, service: &str) -> Vec<(String, String, Value)> {
    let line = ("GET", "/openapi.json");
    let answer = world.send(Who::Nobody, service, line, &[], None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let paths: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_value(answer.body["paths"].clone()).unwrap();
    let each = paths.into_iter().flat_map(|(path, item)| {
        let of = move |(method, operation): (String, Value)| {
            (method.to_ascii_uppercase(), path.clone(), operation)
        };
        item.into_iter().map(of)
    });
    each.collect()
}

/// The least that a schema takes.
fn least(schema: &Value) -> Value {
    if let Some(word) = schema["enum"].get(0) {
        return word.clone();
    }
    let kinds = &schema["type"];
    match kinds.get(0).unwrap_or(kinds).as_str().unwrap() {
        "string" => json!("AAAA"),
        "integer" => schema.get("minimum").cloned().unwrap_or(json!(1)),
        "number" => json!(1),
        "boolean" => json!(true),
        "array" => json!([]),
        "object" => {
            let required = schema["required"].as_array();
            let names = required.into_iter().flatten();
            let field = |name: &Value| {
                let name = name.as_str().unwrap();
                (name.to_owned(), least(&schema["properties"][name]))
            };
            Value::Object(names.map(field).collect())
        }
        other => panic!("no type {other}"),
    }
}

/// Values that a schema does not take.
fn wrong(schema: &Value) -> Vec<Value> {
    let kinds = schema["type"].to_string();
    let mut values = vec![if kinds.contains("array") {
        json!(7)
    } else {
        json!([7])
    }];
    if kinds.contains("string") {
        values.extend([json!(7), json!("")]);
    }
    if kinds.contains("integer") {
        values.extend([json!("7"), json!(7.5)]);
    }
    if let Some(longest) = schema["maxLength"]
        .as_u64()
        .filter(|chars| *chars < LONGEST_TRIED)
    {
        values.push(json!("x".repeat(longest as usize + 1)));
    }
    if schema.get("enum").is_some() {
        values.push(json!("none of these"));
    }
    for bound in ["minimum", "maximum"] {
        if let Some(bound) = schema[bound].as_i64() {
            values.push(json!(if bound > 1 { bound + 1 } else { bound - 1 }));
        }
    }
    values
}

/// The bodies that break the schema in one place each, with the name of the place.
fn broken(schema: &Value) -> Vec<(String, Value)> {
    let mut bodies = Vec::new();
    for (name, field) in schema["properties"].as_object().unwrap() {
        let with = |value: Value| {
            let mut body = least(schema);
            body[name] = value;
            body
        };
        bodies.extend(
            wrong(field)
                .into_iter()
                .map(|value| (name.clone(), with(value))),
        );
        if field.get("properties").is_some() {
            let inside = broken(field).into_iter();
            bodies.extend(inside.map(|(inner, value)| (inner, with(value))));
        }
        if schema["required"]
            .to_string()
            .contains(&format!("\"{name}\""))
        {
            let mut body = least(schema);
            body.as_object_mut().unwrap().remove(name);
            bodies.push((name.clone(), body));
            bodies.push((name.clone(), with(Value::Null)));
        }
    }
    bodies
}

fn refused_by_name(at: &str, name: &str, sent: &Value, answer: &Answer) {
    let message = answer.body["error"]["message"].as_str().unwrap_or_default();
    // Where consent is asked for, a session that nobody can name has none.
    let refused = [400, 403, 422].contains(&answer.status) && message.contains(name);
    let text = sent.to_string();
    let sent = text.get(..200).unwrap_or(&text);
    assert!(
        refused,
        "{at} {name} {sent}: {} {}",
        answer.status, answer.body
    );
}

#[tokio::test]
async fn a_body_that_breaks_what_the_document_says_is_refused_by_the_name_of_the_field() {
    let world = World::start(json!({})).await;
    let mut sent = 0;
    for service in SERVICES {
        for (method, path, operation) in operations(&world, service).await {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if schema.is_null() {
                continue;
            }
            for (name, body) in broken(schema) {
                let concrete = path.replace("{id}", "none").replace("{service}", "none");
                let line = (method.as_str(), concrete.as_str());
                let answer = match operation["x-min-role"].as_str() {
                    Some("service") => {
                        let token = [("x-service-token", "svc_test")];
                        world
                            .send(Who::Nobody, service, line, &token, Some(&body))
                            .await
                    }
                    _ => world.send(Who::Op1, service, line, &[], Some(&body)).await,
                };
                refused_by_name(&format!("{method} {path}"), &name, &body, &answer);
                sent += 1;
            }
        }
    }
    assert!(sent > 100, "{sent} bodies");
}

#[tokio::test]
async fn a_parameter_outside_its_bounds_is_refused_by_name() {
    let world = World::start(json!({})).await;
    let mut sent = 0;
    for service in SERVICES {
        for (method, path, operation) in operations(&world, service).await {
            let parameters = operation["parameters"].as_array().unwrap().clone();
            for parameter in parameters.iter().filter(|one| one["in"] == "query") {
                let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
                if schema["type"] != "integer" {
                    continue;
                }
                let over = schema["maximum"]
                    .as_i64()
                    .map(|most| (most + 1).to_string());
                let under = schema["minimum"]
                    .as_i64()
                    .map(|least| (least - 1).to_string());
                for value in [Some("x".to_owned()), over, under].into_iter().flatten() {
                    let path = format!("{path}?{name}={value}");
                    let line = (method.as_str(), path.as_str());
                    let answer = world.send(Who::Op1, service, line, &[], None).await;
                    refused_by_name(&path, name, &json!(value), &answer);
                    sent += 1;
                }
            }
        }
    }
    assert!(sent >= 10, "{sent} requests");
}

#[tokio::test]
async fn limits_that_are_configured_are_in_the_document() {
    let limits = json!({"id_chars": 40, "page_size": 7, "body_bytes": 5000});
    let world = World::start(json!({"limits": limits})).await;
    let line = ("GET", "/openapi.json");
    let answer = world
        .send(Who::Nobody, "api-gateway", line, &[], None)
        .await;
    for (name, value) in limits.as_object().unwrap() {
        assert_eq!(&answer.body["x-limits"][name], value, "{name}");
    }
    let paths = &answer.body["paths"];
    let create = &paths["/v3/sessions"]["post"]["requestBody"]["content"]["application/json"];
    assert_eq!(create["schema"]["properties"]["user_id"]["maxLength"], 40);
    let events = paths["/v3/events"]["get"]["parameters"].as_array().unwrap();
    let limit = events
        .iter()
        .find(|parameter| parameter["name"] == "limit")
        .unwrap();
    assert_eq!(limit["schema"]["maximum"], 7);
}
