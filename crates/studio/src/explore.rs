//! The pages that draw with a generator, made once for each checkpoint.

use crate::Model;
use crate::error::ApiError;
use crate::library::{Run, version};
use axum::body::Bytes;
use axum::http::StatusCode;
use runs::checkpoint;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use train::{WeightPrecision, html_page};

/// Pages kept.
const KEPT: usize = 3;

/// The checkpoint of a page: its file and what changes with it; none for the model.
type Key = Option<(PathBuf, (u128, u64))>;

/// Makes pages, one at a time, and keeps the last ones.
#[derive(Debug, Default)]
pub struct Pages(Mutex<VecDeque<(Key, Bytes)>>);

impl Pages {
    /// The page of the model.
    pub fn of_model(&self, model: &Model) -> Result<Bytes, ApiError> {
        self.page(None, || {
            let name = model.is_builtin.then_some(&*model.name);
            html_page(&model.checkpoint, name, WeightPrecision::F16)
                .map_err(|error| refused(&error))
        })
    }

    /// The page of a run's checkpoint: of this step, or of the newest that is not damaged.
    pub fn of_run(&self, run: &Run, step: Option<u64>) -> Result<Bytes, ApiError> {
        let mut files = run.checkpoint_paths();
        if let Some(step) = step {
            files.retain(|(own, _)| *own == step);
        }
        let mut damage = None;
        while let Some((own, path)) = files.pop() {
            match self.of_file(path, own) {
                Err(error) if error.status == StatusCode::CONFLICT && !files.is_empty() => {
                    damage.get_or_insert(error);
                }
                result => return result,
            }
        }
        Err(damage.unwrap_or_else(|| match step {
            Some(step) => ApiError::not_found(format!("there is no checkpoint of step {step}")),
            None => ApiError::not_found("the run has no checkpoint yet"),
        }))
    }

    fn of_file(&self, path: PathBuf, step: u64) -> Result<Bytes, ApiError> {
        let gone = || ApiError::not_found(format!("the checkpoint of step {step} is gone"));
        let file = path.symlink_metadata().map_err(|_| gone())?;
        self.page(Some((path.clone(), version(&file))), || {
            let loaded = checkpoint::load(&path).map_err(|error| match error.is_damage() {
                true => ApiError::conflict(format!("the checkpoint of step {step} is damaged")),
                false => gone(),
            })?;
            html_page(&loaded, None, WeightPrecision::F16).map_err(|error| refused(&error))
        })
    }

    fn page(
        &self,
        key: Key,
        make: impl FnOnce() -> Result<String, ApiError>,
    ) -> Result<Bytes, ApiError> {
        // Held while the page is made: whoever asks for the same one waits for it.
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, page)) = pages.iter().find(|(known, _)| *known == key) {
            return Ok(page.clone());
        }
        let page = Bytes::from(make()?);
        pages.push_back((key, page.clone()));
        if pages.len() > KEPT {
            pages.pop_front();
        }
        Ok(page)
    }
}

fn refused(error: &train::TrainError) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, format!("this generator has no page: {error}"))
}
