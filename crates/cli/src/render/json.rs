//! A run for programs: one JSON object per line, told apart by `event`.

use crate::output;
use data::Dataset;
use nn::{Plan, Recipe, Row};
use serde_json::{Map, Value, json};
use std::path::Path;
use tensor::Device;
use train::watchdog::Finding;
use train::{Event, Outcome};

pub fn plan(recipe: &Recipe, plan: &Plan) {
    let rows = |rows: &[Row]| -> Vec<Value> {
        rows.iter().map(|r| json!({ "name": r.name, "kind": r.kind, "output": r.output, "parameters": r.parameters })).collect()
    };
    output::json(&json!({
        "event": "plan",
        "recipe": recipe.name,
        "latent": plan.latent,
        "image": plan.image,
        "batch": plan.batch,
        "parameters": plan.parameters,
        "memory_bytes": plan.memory_bytes,
        "flops_per_step": plan.flops_per_step,
        "generator": rows(&plan.generator),
        "discriminator": rows(&plan.discriminator),
    }));
}

pub fn data(dataset: &Dataset) {
    let skipped: Vec<Value> =
        dataset.skipped().iter().map(|s| json!({ "name": s.name, "reason": s.reason })).collect();
    output::json(&json!({
        "event": "data",
        "name": dataset.name(),
        "images": dataset.len(),
        "shape": dataset.shape(),
        "classes": dataset.class_names(),
        "fingerprint": dataset.fingerprint(),
        "skipped": skipped,
    }));
}

pub fn device(device: &Device) {
    output::json(&json!({ "event": "device", "device": device.to_string() }));
}

pub fn directory(path: &Path) {
    output::json(&json!({ "event": "directory", "path": path }));
}

pub fn dry_run(steps: u64) {
    output::json(&json!({ "event": "dry_run", "steps": steps }));
}

pub fn complete(path: &Path, step: u64) {
    output::json(&json!({ "event": "complete", "path": path, "step": step }));
}

pub fn advice(text: &str) {
    output::json(&json!({ "event": "advice", "message": text }));
}

pub fn warning(text: &str) {
    output::json(&json!({ "event": "warning", "message": text }));
}

/// Every event but the mere passing of a step, which the logged ones tell often enough.
pub fn event(event: &Event) {
    let object = match event {
        Event::Stepped { .. } => return,
        Event::Started { step, steps, batches_per_epoch } => {
            json!({ "event": "started", "step": step, "steps": steps, "batches_per_epoch": batches_per_epoch })
        }
        Event::Logged(row) => {
            let mut object = serde_json::to_value(row).unwrap_or(Value::Null);
            if let Value::Object(fields) = &mut object {
                fields.insert("event".into(), "logged".into());
            }
            object
        }
        Event::Sampled { step, path } => json!({ "event": "sampled", "step": step, "path": path }),
        Event::Evaluated { step, measurement, best } => {
            let figures: Map<String, Value> = measurement
                .figures
                .iter()
                .map(|(name, value)| (name.clone(), json!(value)))
                .collect();
            let features = &measurement.features;
            json!({
                "event": "evaluated", "step": step, "figures": figures, "features": features, "by": measurement.by, "best": best,
            })
        }
        Event::Saved { step, path } => json!({ "event": "saved", "step": step, "path": path }),
        Event::Epoch { epoch, step } => json!({ "event": "epoch", "epoch": epoch, "step": step }),
        Event::Found(finding) => found(finding),
        Event::Warning(text) => return warning(text),
    };
    output::json(&object);
}

fn found(finding: &Finding) -> Value {
    let Finding { kind, step, saw, advice } = finding;
    json!({ "event": "found", "kind": kind, "step": step, "saw": saw, "advice": advice })
}

pub fn ended(outcome: &Outcome) {
    let event = if outcome.finished { "finished" } else { "stopped" };
    output::json(&json!({
        "event": event,
        "step": outcome.step,
        "checkpoint": outcome.checkpoint,
        "pictures": outcome.pictures,
        "findings": outcome.findings,
        "best": outcome.best,
        "last": outcome.last,
        "stopped_by": outcome.stopped_by.as_ref().map(|finding| finding.kind),
    }));
}
