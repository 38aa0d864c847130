//! The addresses of the server, and their answers.

use crate::error::ApiError;
use crate::explore::Pages;
use crate::guard::{self, Guard};
use crate::history::Position;
use crate::library::{Library, MAX_NOTE, Run};
use crate::{Controls, Model, StudioConfig, assets, events};
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use axum::{Json, Router, middleware};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The time in which a body must have arrived.
const BODY_TIME: Duration = Duration::from_secs(10);
/// The byte after those of an answer, in `metrics.jsonl`.
const NEXT: HeaderName = HeaderName::from_static("x-next");
/// The first byte of an answer, in `metrics.jsonl`.
const FROM: HeaderName = HeaderName::from_static("x-from");
/// What a page that draws may do: what it allows itself, and to be shown inside the studio.
const DRAWING_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline' blob:; \
                              worker-src blob:; style-src 'unsafe-inline'; img-src data: blob:; \
                              base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

type Answer = Result<Response<Body>, ApiError>;

/// What all requests share.
#[derive(Clone, Debug)]
pub struct App(Arc<Shared>);

#[derive(Debug)]
pub struct Shared {
    pub library: Library,
    guard: Guard,
    pages: Pages,
    /// One page is made at a time.
    making: Arc<Semaphore>,
    model: Option<Model>,
    controls: Option<Controls>,
    read_only: bool,
}

impl App {
    pub fn new(config: StudioConfig, guard: Guard) -> Self {
        let StudioConfig { source, model, controls, read_only, needs_token: _ } = config;
        Self(Arc::new(Shared {
            library: Library::new(source),
            guard,
            pages: Pages::default(),
            making: Arc::new(Semaphore::new(1)),
            model,
            controls,
            read_only,
        }))
    }

    pub fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// The addresses.
    pub fn router(self) -> Router {
        Router::new()
            .route("/", get(index))
            .route("/assets/{name}", get(asset))
            .route("/explore", get(explore_model))
            .route("/runs/{run}/explore", get(explore))
            .route("/runs/{run}/samples/{file}", get(sample))
            .route("/api/info", get(info))
            .route("/api/runs", get(list))
            .route("/api/runs/{run}", get(details))
            .route("/api/runs/{run}/metrics", get(metrics))
            .route("/api/runs/{run}/events", get(follow))
            .route("/api/runs/{run}/note", put(set_note))
            .route("/api/runs/{run}/save", post(save))
            .route("/api/runs/{run}/stop", post(stop))
            .fallback(async || ApiError::not_found("there is nothing at this address"))
            .method_not_allowed_fallback(async || {
                ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this address has another method")
            })
            .layer(middleware::from_fn_with_state(self.clone(), guard::guard))
            .layer(DefaultBodyLimit::max(MAX_NOTE))
            .with_state(self)
    }
}

/// Runs what waits for files, or computes, on a thread for that.
pub async fn blocking<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Shared) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let app = app.0.clone();
    let done = tokio::task::spawn_blocking(move || work(&app)).await;
    done.map_err(|_| ApiError::internal("this request failed; the studio goes on"))
}

/// The run that an address names, and the other parts of the address.
struct Named {
    run: Run,
    parts: HashMap<String, String>,
}

impl FromRequestParts<App> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(request: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let parts = Path::<HashMap<String, String>>::from_request_parts(request, app).await;
        let Path(parts) = parts.map_err(|_| ApiError::not_found("this address is not UTF-8"))?;
        let name = parts.get("run").cloned().unwrap_or_default();
        let run = blocking(app, move |app| app.library.find(&name)).await??;
        Ok(Self { run, parts })
    }
}

/// The parameters after `?`.
struct Params<T>(T);

impl<T: DeserializeOwned> FromRequestParts<App> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(request: &mut Parts, app: &App) -> Result<Self, ApiError> {
        match Query::<T>::from_request_parts(request, app).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => Err(ApiError::bad_request(error.body_text().replace('\n', " "))),
        }
    }
}

#[derive(Deserialize)]
struct FromByte {
    #[serde(default)]
    from: u64,
}

#[derive(Deserialize)]
struct AtStep {
    step: Option<u64>,
}

#[derive(Deserialize)]
struct OfVersion {
    v: Option<String>,
}

async fn index(headers: HeaderMap) -> Answer {
    assets::response(assets::INDEX, &headers)
        .ok_or_else(|| ApiError::internal("the page is not compiled in"))
}

async fn asset(path: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Answer {
    path.ok()
        .and_then(|Path(name)| assets::response(&name, &headers))
        .ok_or_else(|| ApiError::not_found("the page has no such file"))
}

async fn info(State(app): State<App>) -> Json<Value> {
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "read_only": app.0.read_only,
        "model": app.0.model.as_ref().map(|model| &model.name),
    }))
}

async fn list(State(app): State<App>) -> Answer {
    let runs = blocking(&app, |app| app.library.list()).await??;
    Ok(Json(runs).into_response())
}

async fn details(State(app): State<App>, Named { run, .. }: Named) -> Answer {
    let controls = app.controls_of(&run).is_some();
    let details = blocking(&app, move |app| app.library.details(&run, controls)).await??;
    Ok(Json(details).into_response())
}

async fn metrics(
    State(app): State<App>,
    Named { run, .. }: Named,
    Params(FromByte { from }): Params<FromByte>,
) -> Answer {
    let read = move |_: &Shared| match run.open(&run.metrics()) {
        Ok(mut file) => Position::at(from).advance(&mut file),
        // Before the first row there is no file.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Default::default()),
        Err(error) => Err(error),
    };
    let lines = blocking(&app, read).await?.map_err(|error| {
        ApiError::internal(format!("cannot read metrics.jsonl: {}", error.kind()))
    })?;
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
        (FROM, lines.from.to_string()),
        (NEXT, lines.next.to_string()),
    ];
    Ok((headers, lines.bytes).into_response())
}

async fn follow(
    State(app): State<App>,
    Named { run, .. }: Named,
    Params(FromByte { from }): Params<FromByte>,
    headers: HeaderMap,
) -> Answer {
    // A browser that connects again repeats the address, and adds the last id.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    Ok(events::response(app, run, last.unwrap_or(from)))
}

async fn sample(
    State(app): State<App>,
    Named { run, parts }: Named,
    Params(OfVersion { v }): Params<OfVersion>,
    headers: HeaderMap,
) -> Answer {
    let step = parts.get("file").and_then(|file| file.strip_suffix(".png")?.parse().ok());
    let step: u64 = step.ok_or_else(|| ApiError::not_found("samples are named STEP.png"))?;
    let read = move |_: &Shared| (run.sample_version(step), run.sample(step));
    let (version, png) = blocking(&app, read).await?;
    let png = png?;
    // A run that is resumed from an earlier step draws its grids again: only an address with the
    // version stands for one image for ever.
    let caching = match v.is_some_and(|v| v == version) {
        true => "private, max-age=31536000, immutable",
        false => "no-cache",
    };
    Ok(tagged(&headers, &format!("\"{version}\""), "image/png", caching, Bytes::from(png)))
}

async fn explore_model(State(app): State<App>, headers: HeaderMap) -> Answer {
    if app.0.model.is_none() {
        return Err(ApiError::not_found(
            "no model was named: start dcgan studio with --model or a checkpoint",
        ));
    }
    let none = || ApiError::not_found("no model was named");
    let made = app.make_page(move |app| app.pages.of_model(app.model.as_ref().ok_or_else(none)?));
    Ok(drawing(&headers, made.await?))
}

async fn explore(
    State(app): State<App>,
    Named { run, .. }: Named,
    Params(AtStep { step }): Params<AtStep>,
    headers: HeaderMap,
) -> Answer {
    let made = app.make_page(move |app| app.pages.of_run(&run, step));
    Ok(drawing(&headers, made.await?))
}

/// The answer with a page that draws.
fn drawing(request: &HeaderMap, page: Bytes) -> Response<Body> {
    let tag = assets::tag(&page);
    let mut response = tagged(request, &tag, "text/html; charset=utf-8", "no-cache", page);
    let policy = axum::http::HeaderValue::from_static(DRAWING_POLICY);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

/// The answer with these bytes, or that the client has them.
fn tagged(
    request: &HeaderMap,
    tag: &str,
    kind: &'static str,
    caching: &'static str,
    bytes: Bytes,
) -> Response<Body> {
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, caching), (ETAG, tag)];
    match assets::is_cached(request, tag) {
        true => (StatusCode::NOT_MODIFIED, headers).into_response(),
        false => (headers, bytes).into_response(),
    }
}

async fn set_note(State(app): State<App>, Named { run, .. }: Named, request: Request) -> Answer {
    let body = timeout(BODY_TIME, Bytes::from_request(request, &app)).await;
    let body = body
        .map_err(|_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "the note did not arrive in time"))?
        .map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                ApiError::new(error.status(), format!("a note has at most {MAX_NOTE} bytes"))
            }
            _ => ApiError::bad_request("the note did not arrive as a whole"),
        })?;
    let note = String::from_utf8(body.into())
        .map_err(|_| ApiError::bad_request("a note is UTF-8 text"))?;
    blocking(&app, move |_| run.set_note(&note)).await??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn save(State(app): State<App>, Named { run, .. }: Named) -> Answer {
    let controls = app.require_controls(&run)?;
    (controls.save)();
    Ok(StatusCode::ACCEPTED.into_response())
}

async fn stop(State(app): State<App>, Named { run, .. }: Named) -> Answer {
    let controls = app.require_controls(&run)?;
    match (controls.stop)() {
        true => Ok(StatusCode::ACCEPTED.into_response()),
        false => Err(ApiError::conflict("the run has ended or is about to")),
    }
}

impl App {
    fn controls_of(&self, run: &Run) -> Option<&Controls> {
        self.0.controls.as_ref().filter(|controls| controls.run == run.name)
    }

    fn require_controls(&self, run: &Run) -> Result<&Controls, ApiError> {
        self.controls_of(run).ok_or_else(|| {
            ApiError::conflict(
                "this studio does not train the run: stop it with Ctrl-C where it was started, or \
                 start it with dcgan train --studio",
            )
        })
    }

    /// Makes a page while no other one is made, so that files are still read meanwhile. A client
    /// that leaves does not end the work, so the work holds the permit.
    async fn make_page(
        &self,
        make: impl FnOnce(&Shared) -> Result<Bytes, ApiError> + Send + 'static,
    ) -> Result<Bytes, ApiError> {
        let permit = self.0.making.clone().acquire_owned().await;
        let work = move |app: &Shared| {
            let _permit = permit;
            make(app)
        };
        blocking(self, work).await?
    }
}
