//! The document of one service.

use serde_json::json;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Ref, Schema, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    Components, ComponentsBuilder, Content, Deprecated, Header, InfoBuilder, OpenApi,
    OpenApiBuilder, Paths, Required, Response, ResponseBuilder,
};

use super::schema::{self, Way};
use crate::reference::config::Config;
use crate::reference::status::{CONTRACT_VERSION, VERSION};
use crate::reference::web::{
    CORRELATION_ID_CHARS, Field, Gives, IDEMPOTENCY_KEY_CHARS, MinRole, Row, TARGET_BYTES, Twin,
};

const JSON: &str = "application/json";

/// Everything these rows serve.
pub(super) fn of<'a>(
    service: &str,
    rows: impl Iterator<Item = &'a Row>,
    config: &Config,
) -> OpenApi {
    let mut paths = Paths::new();
    for row in rows {
        paths.add_path_operation(row.path, vec![method(row)], operation(row, false, config));
        if let Some(twin) = row.twin_path() {
            paths.add_path_operation(twin, vec![method(row)], operation(row, true, config));
        }
    }
    let pin = Extensions::from_iter([("x-contract-version", CONTRACT_VERSION)]);
    let info = InfoBuilder::new().title(service).version(VERSION);
    let mut document = OpenApiBuilder::new()
        .info(info.extensions(Some(pin)).build())
        .paths(paths)
        .components(Some(components()))
        .build();
    document.extensions = Some(limits(config));
    document
}

fn limits(config: &Config) -> Extensions {
    let limits = json!({
        "body_bytes": config.limits.body_bytes,
        "id_chars": config.limits.id_chars,
        "input_chars": config.limits.input_chars,
        "frame_bytes": config.limits.frame_bytes,
        "page_size": config.limits.page_size,
        "request_target_bytes": TARGET_BYTES,
        "idempotency_key_chars": IDEMPOTENCY_KEY_CHARS,
        "correlation_id_chars": CORRELATION_ID_CHARS,
        "idempotency_ttl_ms": config.idempotency.ttl_ms,
        "rate_per_second": config.rate_limit.per_second,
        "rate_burst": config.rate_limit.burst,
    });
    Extensions::from_iter([("x-limits", limits)])
}

fn method(row: &Row) -> HttpMethod {
    match row.method {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "PATCH" => HttpMethod::Patch,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn operation(row: &Row, by_twin: bool, config: &Config) -> Operation {
    let deprecated = by_twin && row.twin == Twin::Deprecated;
    let path = row.twin_path().filter(|_| by_twin);
    let path = path.as_deref().unwrap_or(row.path);
    let mut operation = OperationBuilder::new()
        .operation_id(Some(operation_id(row.method, path)))
        .summary(Some(row.says.about))
        .deprecated(deprecated.then_some(Deprecated::True))
        .request_body(body(row, config))
        .securities(Some(security(row)))
        .extensions(Some(Extensions::from_iter([
            ("x-since", json!(row.since)),
            ("x-min-role", json!(row.min_role.word())),
            ("x-mutating", json!(row.mutating)),
        ])));
    for parameter in parameters(row, config) {
        operation = operation.parameter(parameter);
    }
    for gives in &row.says.gives {
        let answer = answer(row, gives, deprecated, config);
        operation = operation.response(gives.status.to_string(), answer);
    }
    if row.socket.is_some() {
        let switched = ResponseBuilder::new().description("A WebSocket.");
        operation = operation.response("101", switched.build());
    }
    for (status, why) in refusals(row) {
        operation = operation.response(status.to_string(), refusal(row, status, why));
    }
    operation.build()
}

/// `post_v3_sessions_id`: unlike that of every other operation of the service.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(|char: char| !char.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    let all = std::iter::once(method).chain(words).collect::<Vec<_>>();
    all.join("_").to_ascii_lowercase()
}

fn security(row: &Row) -> Vec<SecurityRequirement> {
    let nothing = Vec::<String>::new;
    match row.min_role {
        MinRole::None => Vec::new(),
        MinRole::Observer | MinRole::Operator => vec![
            SecurityRequirement::new("bearer", nothing()),
            SecurityRequirement::new("service_token", nothing()),
        ],
        MinRole::Service => vec![SecurityRequirement::new("service_token", nothing())],
    }
}

fn parameters(row: &Row, config: &Config) -> Vec<Parameter> {
    let mut all: Vec<Parameter> = Vec::new();
    for name in row.braces() {
        let id = schema::value(&Field::id(name), Way::In, &config.limits);
        all.push(parameter(name, ParameterIn::Path, "", id));
    }
    for field in &row.says.asks {
        let plain = Field {
            optional: false,
            ..*field
        };
        let value = schema::value(&plain, Way::In, &config.limits);
        let mut query = parameter(field.name, ParameterIn::Query, "", value);
        if !field.optional {
            query.required = Required::True;
        }
        all.push(query);
    }
    all.push(header(
        "X-Correlation-ID",
        "Echoed; one of the service's own when absent or of another form.",
        text()
            .max_length(Some(CORRELATION_ID_CHARS))
            .pattern(Some(format!(
                "^[A-Za-z0-9._-]{{1,{CORRELATION_ID_CHARS}}}$"
            ))),
    ));
    if row.mutating {
        all.push(header(
            "X-Idempotency-Key",
            "The same key and request again: the first answer, nothing executed.",
            text()
                .min_length(Some(1))
                .max_length(Some(IDEMPOTENCY_KEY_CHARS)),
        ));
        all.push(header(
            "Idempotency-Key",
            "The same as a quoted string (RFC 8941).",
            text(),
        ));
    }
    if row.method != "GET" && row.min_role != MinRole::None {
        let fence = ObjectBuilder::new().schema_type(Type::Integer);
        let about = "The fence of what is decided.";
        all.push(header("X-Fence-Token", about, fence.minimum(Some(0.0))));
    }
    all
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn header(name: &str, about: &str, schema: ObjectBuilder) -> Parameter {
    parameter(name, ParameterIn::Header, about, schema.into())
}

/// Required in a path, and else not.
fn parameter(name: &str, place: ParameterIn, about: &str, schema: Schema) -> Parameter {
    let required = match place {
        ParameterIn::Path => Required::True,
        _ => Required::False,
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .description(Some(about).filter(|about| !about.is_empty()))
        .required(required)
        .schema(Some(schema))
        .build()
}

fn body(row: &Row, config: &Config) -> Option<RequestBody> {
    let takes = &row.says.takes;
    let required = match takes.iter().all(|field| field.optional) {
        true => Required::False,
        false => Required::True,
    };
    let schema = || Schema::from(schema::object(takes, Way::In, &config.limits));
    (!takes.is_empty()).then(|| {
        let content = Content::new(Some(schema()));
        let body = RequestBodyBuilder::new().required(Some(required));
        body.content(JSON, content).build()
    })
}

/// What every answer has but those of open routes, which are their own.
const AROUND: [Field; 2] = [Field::flag("ok"), Field::text("correlation_id")];

fn answer(row: &Row, gives: &Gives, deprecated: bool, config: &Config) -> Response {
    let around: &[Field] = match row.min_role {
        MinRole::None => &[],
        MinRole::Observer | MinRole::Operator | MinRole::Service => &AROUND,
    };
    let fields = [around, &gives.fields].concat();
    let schema = Schema::from(schema::object(&fields, Way::Out, &config.limits));
    let mut response = ResponseBuilder::new()
        .description("Done.")
        .content(JSON, Content::new(Some(schema)));
    let mut headers = vec![("X-Correlation-ID", "The conversation.")];
    if row.mutating {
        let about = "`true` on the stored answer of an earlier request.";
        headers.push(("Idempotency-Replayed", about));
    }
    if deprecated {
        headers.push(("X-Deprecated", "`true`."));
        headers.push(("X-Migrate-To", "The path that stays."));
    }
    for (name, about) in headers {
        response = response.header(name, told(about));
    }
    response.build()
}

fn told(about: &str) -> Header {
    let mut header = Header::default();
    header.description = Some(about.to_owned());
    header
}

/// The refusals that a row may give, each once, in order.
fn refusals(row: &Row) -> impl Iterator<Item = (u16, &'static str)> {
    let mut known = row.says.refuses.clone();
    known.push(503);
    if row.min_role != MinRole::None {
        known.extend([400, 401, 403, 429]);
    }
    if row.socket.is_some() {
        known.push(426);
    }
    if row.method != "GET" {
        known.extend([413, 415, 422]);
    }
    if row.mutating {
        known.push(409);
    }
    if row.braces().next().is_some() {
        known.push(404);
    }
    REFUSALS
        .iter()
        .copied()
        .filter(move |(status, _)| known.contains(status))
}

const REFUSALS: &[(u16, &str)] = &[
    (400, "Malformed or out of range."),
    (401, "No or bad credentials."),
    (403, "The role is not enough, or it is forbidden."),
    (404, "There is none."),
    (409, "Lost, in the wrong state, stale, or in progress."),
    (410, "There was one."),
    (413, "The body is too large."),
    (415, "The body is not JSON."),
    (
        422,
        "JSON that breaks the schema, or a key of another request.",
    ),
    (426, "Not asked to become a WebSocket."),
    (429, "Too many; Retry-After says when."),
    (502, "What was asked behind it failed."),
    (503, "Not now; Retry-After says when."),
    (504, "What was asked behind it may have happened."),
];

fn refusal(row: &Row, status: u16, why: &str) -> Response {
    let mut response = ResponseBuilder::new().description(why);
    if [429, 503].contains(&status) {
        response = response.header("Retry-After", told("Seconds."));
    }
    // `/healthz` is 503 in a form of its own while the service starts.
    if row.path == "/healthz" {
        return response.build();
    }
    let error = Ref::from_schema_name("Error");
    response.content(JSON, Content::new(Some(error))).build()
}

const ERROR: &[Field] = &[
    Field::flag("ok"),
    Field::object(
        "error",
        &[
            Field::text("code"),
            Field::text("message"),
            Field::flag("retryable"),
            Field::free("details"),
        ],
    ),
    Field::text("correlation_id"),
];

fn components() -> Components {
    let limits = Config::default().limits;
    let error = Schema::from(schema::object(ERROR, Way::Out, &limits));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let token = ApiKey::Header(ApiKeyValue::new("x-service-token"));
    ComponentsBuilder::new()
        .schema("Error", error)
        .security_scheme("bearer", SecurityScheme::Http(bearer))
        .security_scheme("service_token", SecurityScheme::ApiKey(token))
        .build()
}
