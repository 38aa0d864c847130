//! A training run as JSON: one object per line, distinguished by `event`.

use crate::output;
use crate::report::ReportPath;
use data::Dataset;
use nn::{LayerSummary, ModelSummary, Recipe};
use serde_json::{Map, Value, json};
use std::path::Path;
use train::monitor::Alert;
use train::{Event, RunOutcome};

pub fn plan(recipe: &Recipe, plan: &ModelSummary, memory: u64) {
    let rows = |rows: &[LayerSummary]| -> Vec<Value> {
        let layer = |row: &LayerSummary| {
            let LayerSummary { name, kind, output, parameters, .. } = row;
            json!({ "name": name, "kind": kind, "output": output, "parameters": parameters })
        };
        rows.iter().map(layer).collect()
    };
    output::json(&json!({
        "event": "plan",
        "recipe": recipe.name,
        "latent": plan.latent,
        "image": plan.image,
        "batch": plan.batch,
        "parameters": plan.parameters,
        "memory_bytes": memory,
        "flops_per_step": plan.flops_per_step,
        "generator": rows(&plan.generator),
        "discriminator": rows(&plan.discriminator),
    }));
}

pub fn data(dataset: &Dataset) {
    let skipped: Vec<Value> =
        dataset.skipped().iter().map(|s| json!({ "name": s.name, "reason": s.reason })).collect();
    let notes: Vec<String> =
        dataset.report().iter().flat_map(|r| &r.notes).map(ToString::to_string).collect();
    output::json(&json!({
        "event": "data",
        "name": dataset.name(),
        "images": dataset.len(),
        "shape": dataset.shape(),
        "classes": dataset.class_names(),
        "layout": dataset.report().map(|report| &report.description),
        "notes": notes,
        "fingerprint": dataset.fingerprint(),
        "skipped": skipped,
    }));
}

pub fn warning(text: &str) {
    output::json(&json!({ "event": "warning", "message": text }));
}

/// Prints every event except `Stepped`: the logged rows report steps often enough.
pub fn event(event: &Event) {
    let object = match event {
        Event::Stepped { .. } => return,
        Event::Started { step, steps, batches_per_epoch } => {
            json!({
                "event": "started", "step": step, "steps": steps,
                "batches_per_epoch": batches_per_epoch,
            })
        }
        Event::Logged(row) => {
            let mut object = serde_json::to_value(row).unwrap_or(Value::Null);
            if let Value::Object(fields) = &mut object {
                fields.insert("event".into(), "logged".into());
            }
            object
        }
        Event::Sampled { step, path } => file("sampled", *step, path),
        Event::Evaluated { step, result, best } => {
            let metrics: Map<String, Value> =
                result.metrics.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            let features = &result.features;
            json!({
                "event": "evaluated", "step": step, "metrics": metrics, "features": features,
                "by": result.by, "best": best,
            })
        }
        Event::Saved { step, path } => file("saved", *step, path),
        Event::Epoch { epoch, step } => json!({ "event": "epoch", "epoch": epoch, "step": step }),
        Event::Alert(event) => alert(event),
        Event::Warning(text) => return warning(text),
    };
    output::json(&object);
}

fn file(event: &str, step: u64, path: &Path) -> Value {
    json!({ "event": event, "step": step, "path": ReportPath::from(path) })
}

fn alert(alert: &Alert) -> Value {
    let Alert { kind, step, message, hint } = alert;
    json!({ "event": "alert", "kind": kind, "step": step, "message": message, "hint": hint })
}

pub fn ended(outcome: &RunOutcome) {
    let event = if outcome.finished { "finished" } else { "stopped" };
    let images: Vec<ReportPath> = outcome.images.iter().map(ReportPath::from).collect();
    output::json(&json!({
        "event": event,
        "step": outcome.step,
        "checkpoint": ReportPath::from(&outcome.checkpoint),
        "images": images,
        "alerts": outcome.alerts,
        "best": outcome.best,
        "last": outcome.last,
        "stopped_by": outcome.stopped_by.as_ref().map(|alert| alert.kind),
    }));
}
