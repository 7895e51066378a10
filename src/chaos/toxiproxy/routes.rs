//! The routes, and what is true of all of them: an id for each request, and no browsers, which any
//! page could make send one.

use std::io;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::VERSION;
use super::answer::{Refusal, plain};
use super::proxies::Proxies;
use crate::base::ids::random_id;
use crate::chaos::link::Toxic;

/// Every answer has it.
const REQUEST_ID: &str = "x-toxiproxy-request-id";
/// How what a browser says of itself begins.
const BROWSER: &str = "Mozilla/";

type All = State<Arc<Proxies>>;

/// Serves the API on `listener` until `stop` is there. Proxies end when they are dropped.
///
/// # Errors
/// When the listener cannot be served.
pub async fn serve(
    listener: TcpListener,
    proxies: Arc<Proxies>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let served = axum::serve(listener, router(proxies));
    served.with_graceful_shutdown(stop).await
}

pub(super) fn router(proxies: Arc<Proxies>) -> Router {
    let toxic = get(show_toxic).post(change_toxic).patch(change_toxic);
    let proxy = get(show).post(change).patch(change).delete(delete);
    Router::new()
        .route("/proxies", get(all).post(create))
        .route("/populate", post(populate))
        .route("/proxies/{proxy}", proxy)
        .route("/proxies/{proxy}/toxics", get(toxics).post(add_toxic))
        .route(
            "/proxies/{proxy}/toxics/{toxic}",
            toxic.delete(delete_toxic),
        )
        .route("/reset", post(reset))
        .route("/version", get(version))
        .route("/metrics", get(metrics))
        .route("/seed", get(seed))
        .fallback(nowhere)
        .layer(from_fn(each))
        .with_state(proxies)
}

async fn each(request: Request, next: Next) -> Response {
    let agent = request.headers().get(USER_AGENT);
    let browser = agent.is_some_and(|agent| agent.as_bytes().starts_with(BROWSER.as_bytes()));
    let mut answer = match browser {
        true => plain(StatusCode::FORBIDDEN, "User agent not allowed\n"),
        false => next.run(request).await,
    };
    if let Ok(id) = HeaderValue::from_str(&random_id("", &mut rand::rng())) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    answer
}

async fn nowhere() -> Response {
    plain(StatusCode::NOT_FOUND, "404 page not found\n")
}

async fn all(State(proxies): All) -> Response {
    Json(proxies.all().await).into_response()
}

async fn create(State(proxies): All, body: Bytes) -> Result<Response, Refusal> {
    let said = proxies.create(&body).await?;
    Ok((StatusCode::CREATED, Json(said)).into_response())
}

async fn populate(State(proxies): All, body: Bytes) -> Response {
    let (made, refused) = proxies.populated(&body).await;
    let Some(refusal) = refused else {
        return (StatusCode::CREATED, Json(json!({ "proxies": made }))).into_response();
    };
    let status = refusal.status();
    let body = json!({
        "error": refusal.to_string(),
        "status": status.as_u16(),
        "proxies": made,
    });
    (status, Json(body)).into_response()
}

async fn show(State(proxies): All, Path(name): Path<String>) -> Result<Response, Refusal> {
    Ok(Json(proxies.show(&name).await?).into_response())
}

async fn change(
    State(proxies): All,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    Ok(Json(proxies.change(&name, &body).await?).into_response())
}

async fn delete(State(proxies): All, Path(name): Path<String>) -> Result<StatusCode, Refusal> {
    proxies.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn toxics(
    State(proxies): All,
    Path(name): Path<String>,
) -> Result<Json<Vec<Toxic>>, Refusal> {
    Ok(Json(proxies.toxics(&name).await?))
}

async fn add_toxic(
    State(proxies): All,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Toxic>, Refusal> {
    Ok(Json(proxies.add_toxic(&name, &body).await?))
}

async fn show_toxic(
    State(proxies): All,
    Path((name, toxic)): Path<(String, String)>,
) -> Result<Json<Toxic>, Refusal> {
    Ok(Json(proxies.toxic(&name, &toxic).await?))
}

async fn change_toxic(
    State(proxies): All,
    Path((name, toxic)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Toxic>, Refusal> {
    Ok(Json(proxies.change_toxic(&name, &toxic, &body).await?))
}

async fn delete_toxic(
    State(proxies): All,
    Path((name, toxic)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    proxies.delete_toxic(&name, &toxic).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn reset(State(proxies): All) -> Result<StatusCode, Refusal> {
    proxies.reset().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn version() -> Response {
    let kind = [(CONTENT_TYPE, "application/json;charset=utf-8")];
    (kind, format!("{{\"version\": \"{VERSION}\"}}\n")).into_response()
}

async fn metrics(State(proxies): All) -> Response {
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, proxies.metrics().await).into_response()
}

async fn seed(State(proxies): All) -> Json<Value> {
    Json(json!({ "seed": proxies.seed() }))
}
