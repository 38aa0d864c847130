//! Interpretation of trained networks: `dcgan filters`, `dcgan guided`, `dcgan forget`.

pub mod filters;
pub mod forget;
pub mod guided;

use crate::output;
use crate::report::ReportPath;
use serde_json::json;
use std::path::Path;

/// Reports an image that was written: as a JSON event, or as a line of text.
fn wrote(json: bool, path: &Path) {
    match json {
        true => output::json(&json!({ "event": "wrote", "path": ReportPath::from(path) })),
        false => output::wrote(path, false),
    }
}
