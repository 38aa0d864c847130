//! The files of the page, compiled in.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, Response};
use std::sync::LazyLock;

/// The file of `/`.
pub const INDEX: &str = "index.html";

/// What the page may load and do.
const PAGE_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; \
                           form-action 'none'; frame-ancestors 'none'";

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($name:literal: $kind:literal),+ $(,)?) => {
        [$(Asset {
            name: $name,
            kind: $kind,
            bytes: include_bytes!(concat!("../assets/", $name)),
        }),+]
    };
}

static ASSETS: [Asset; 23] = assets! {
    "index.html": "text/html; charset=utf-8",
    "studio.css": "text/css; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "axes.js": "text/javascript; charset=utf-8",
    "chart.js": "text/javascript; charset=utf-8",
    "columns.js": "text/javascript; charset=utf-8",
    "compare.js": "text/javascript; charset=utf-8",
    "configs.js": "text/javascript; charset=utf-8",
    "controls.js": "text/javascript; charset=utf-8",
    "elements.js": "text/javascript; charset=utf-8",
    "feed.js": "text/javascript; charset=utf-8",
    "folds.js": "text/javascript; charset=utf-8",
    "gestures.js": "text/javascript; charset=utf-8",
    "grids.js": "text/javascript; charset=utf-8",
    "group.js": "text/javascript; charset=utf-8",
    "lines.js": "text/javascript; charset=utf-8",
    "marks.js": "text/javascript; charset=utf-8",
    "metrics.js": "text/javascript; charset=utf-8",
    "note.js": "text/javascript; charset=utf-8",
    "run.js": "text/javascript; charset=utf-8",
    "runs.js": "text/javascript; charset=utf-8",
    "texts.js": "text/javascript; charset=utf-8",
};

/// The tags of [`ASSETS`]: their contents' checksums.
static TAGS: LazyLock<Vec<String>> =
    LazyLock::new(|| ASSETS.iter().map(|asset| tag(asset.bytes)).collect());

/// The entity tag of these bytes.
pub fn tag(bytes: &[u8]) -> String {
    format!("\"{:08x}-{:x}\"", crc32c::crc32c(bytes), bytes.len())
}

/// Whether the client already has the version with this tag.
pub fn is_cached(request: &HeaderMap, tag: &str) -> bool {
    let known = request.get(axum::http::header::IF_NONE_MATCH);
    known.and_then(|known| known.to_str().ok()).is_some_and(|known| {
        known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag)
    })
}

/// A file of the page; `None` for another name.
pub fn response(name: &str, request: &HeaderMap) -> Option<Response<Body>> {
    let index = ASSETS.iter().position(|asset| asset.name == name)?;
    let (asset, tag) = (&ASSETS[index], &TAGS[index]);
    let response = Response::builder()
        .header(CONTENT_TYPE, asset.kind)
        .header(CONTENT_SECURITY_POLICY, PAGE_POLICY)
        .header(CACHE_CONTROL, "no-cache")
        .header(ETAG, tag);
    let response = match is_cached(request, tag) {
        true => response.status(304).body(Body::empty()),
        false => response.body(Body::from(asset.bytes)),
    };
    response.ok()
}
