//! The files of the page, compiled in.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, Response};
use std::sync::LazyLock;

/// The file of `/`.
pub const INDEX: &str = "index.html";

/// What the page may load and do.
const PAGE_POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Asset {
    name: &'static str,
    bytes: &'static [u8],
}

impl Asset {
    fn content_type(&self) -> &'static str {
        match self.name.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            _ => "text/javascript; charset=utf-8",
        }
    }
}

macro_rules! assets {
    ($($name:literal),+ $(,)?) => {
        &[
            Asset { name: "theme.css", bytes: train::THEME_CSS.as_bytes() },
            $(Asset { name: $name, bytes: include_bytes!(concat!("../assets/", $name)) }),+
        ]
    };
}

static ASSETS: &[Asset] = assets![
    "index.html",
    "studio.css",
    "api.js",
    "app.js",
    "axes.js",
    "chart.js",
    "columns.js",
    "compare.js",
    "configs.js",
    "controls.js",
    "elements.js",
    "feed.js",
    "folds.js",
    "gestures.js",
    "grids.js",
    "group.js",
    "lines.js",
    "marks.js",
    "metrics.js",
    "note.js",
    "run.js",
    "runs.js",
    "texts.js",
];

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
        .header(CONTENT_TYPE, asset.content_type())
        .header(CONTENT_SECURITY_POLICY, PAGE_POLICY)
        .header(CACHE_CONTROL, "no-cache")
        .header(ETAG, tag);
    let response = match is_cached(request, tag) {
        true => response.status(304).body(Body::empty()),
        false => response.body(Body::from(asset.bytes)),
    };
    response.ok()
}
