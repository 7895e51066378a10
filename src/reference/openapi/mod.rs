//! `GET /openapi.json` of every service: what it serves, in OpenAPI 3.1, made of the route table and
//! of what its rows say at every request. There is no second list of routes here.

mod document;
mod schema;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::service::Service;
use super::web::{Call, Field, Reply, Row, handler};

/// The route of each service.
pub fn routes(services: &[&'static str]) -> Vec<Row> {
    let row = |service: &&'static str| {
        Row::get(service, "/openapi.json", "v4.3", handler(openapi))
            .open()
            .about("This document.")
            .gives(200, DOCUMENT)
    };
    services.iter().map(row).collect()
}

const DOCUMENT: &[Field] = &[
    Field::text("openapi"),
    Field::free("info"),
    Field::free("paths"),
    Field::free("components"),
    Field::free("x-limits"),
];

async fn openapi(svc: Arc<Service>, _call: Call) -> Reply {
    let rows = svc.parts.routes.iter();
    let own = rows.filter(|row| row.service == svc.name);
    let document = document::of(svc.name, own, &svc.config());
    let text = document.to_json().expect("a document can be written");
    Reply::stored(200, text)
}
