//! Training steps of a process or of a rank, for timing.

use super::Shape;
use crate::bench::{BoxError, preset};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::Arc;
use std::time::Instant;
use tensor::Device;
use tensor::distributed::ProcessGroup;
use tensor::rng::Philox;
use train::{DeviceBatch, TrainState};

/// A training state on synthetic images, with the threads that it computes on.
pub struct Work {
    pool: ThreadPool,
    state: TrainState,
    batch: DeviceBatch,
}

impl Work {
    /// This rank's share of a global batch of `batch` images.
    pub fn new(
        shape: &Shape,
        batch: usize,
        threads: usize,
        group: &ProcessGroup,
    ) -> Result<Self, BoxError> {
        let mut recipe = preset(&shape.recipe, shape.image)?;
        recipe.train.batch = batch;
        if recipe.condition.is_some() || recipe.train.batches_per_step() != 1 {
            let name = &shape.recipe;
            return Err(format!("recipe {name} has conditions or several batches a step").into());
        }
        let ([height, width], channels) = (recipe.image.size, recipe.image.channels);
        let images = Philox::new(2, 0).uniform([batch, height, width, channels], -1.0, 1.0);
        let state = TrainState::new(Arc::new(recipe), 1, u64::MAX >> 1, &Device::Cpu)?;
        let state = state.with_process_group(group.clone())?;
        let rows = state.rows()[0].clone();
        let batch = DeviceBatch::new(images.narrow(0, rows.start, rows.len()), None);
        Ok(Self { pool: ThreadPoolBuilder::new().num_threads(threads).build()?, state, batch })
    }

    /// Makes a step; returns its seconds.
    pub fn step(&mut self) -> Result<f64, BoxError> {
        let Self { pool, state, batch } = self;
        pool.install(|| {
            let start = Instant::now();
            state.train_step(std::slice::from_ref(batch), false).wait()?;
            Ok(start.elapsed().as_secs_f64())
        })
    }
}
