//! Memory estimate of a run: its first steps, grids and checkpoints, with tensors that take no
//! memory.

use crate::checkpoint_state;
use crate::monitor::MonitorConfig;
use crate::run::PREFETCH;
use crate::{RealBatch, Settings, TrainError, Trainer};
use data::{Batch, Cursor, Loader, Preprocess};
use nn::Recipe;
use nn::recipe::WeightInit;
use runs::GridOptions;
use tensor::{Device, memory_stats};

/// Steps after which the memory of a run no longer grows, but for grids and checkpoints.
const STEPS: u64 = 3;
/// How often these steps run, with a grid and a checkpoint after them. The blocks in which a grid
/// was computed are kept for reuse, and later steps, of another batch size, need others as well.
const ROUNDS: u64 = 2;

/// Peak memory in bytes of a run on the CPU: tensors with the blocks that are kept for reuse, the
/// batches that the loader prepares, a grid of samples, and a checkpoint. The images of a cached
/// dataset and the program itself are not included. If the address space does not suffice for such
/// a run, returns a number that does not fit into it either.
///
/// # Errors
/// Returns an error as [`Trainer::new`].
///
/// ```
/// let small = nn::Recipe::preset("small")?;
/// let mut large = small.clone();
/// large.train.batch *= 4;
/// let memory = |recipe: &nn::Recipe| train::estimate_memory(recipe, true).unwrap();
/// let (small, large) = (memory(&small), memory(&large));
/// assert!(2 * small < large && large < 5 * small);
/// # Ok::<(), nn::NnError>(())
/// ```
pub fn estimate_memory(recipe: &Recipe, is_cached: bool) -> Result<u64, TrainError> {
    let run = || tensor::fake_tensor_mode(|| peak(recipe));
    let tensors = match tensor::catch_out_of_memory(run) {
        Ok(peak) => peak?,
        Err(error) => error.reserved.saturating_add(error.bytes),
    };
    let [h, w] = recipe.image.size;
    let batch = (recipe.train.batch * h * w * recipe.image.channels * size_of::<f32>()) as u64;
    let batches = Loader::max_batches(is_cached, PREFETCH) + recipe.train.batches_per_step() - 1;
    // Blocks of memory take more than their bytes: at most 1 part in 600 was measured, and three
    // times that is added.
    let tensors = (tensors as u64).saturating_add(tensors as u64 / 200);
    Ok(tensors.saturating_add(batch.saturating_mul(batches as u64)))
}

/// The peak of the tensors of a run, and of what is copied from them.
fn peak(recipe: &Recipe) -> Result<usize, TrainError> {
    let mut trainer = Trainer::new(settings(recipe), &Device::Cpu)?;
    let [h, w] = recipe.image.size;
    let count = recipe.train.batch;
    let batch = Batch {
        images: vec![0.0; count * h * w * recipe.image.channels],
        labels: None,
        indices: Vec::new(),
        cursor: Cursor::new(0),
        epoch_end: false,
    };
    let condition = recipe.condition.as_ref().map(|c| vec![1.0; count * c.size]);
    let real: Vec<RealBatch<'_>> = (0..recipe.train.batches_per_step())
        .map(|_| RealBatch { batch: &batch, condition: condition.clone() })
        .collect();
    let mut peak = 0;
    for _ in 0..ROUNDS {
        for _ in 0..STEPS {
            trainer.train_step(&real).wait()?;
        }
        let images = trainer.fixed_samples();
        let size = GridOptions::for_size([h, w]).size(images.shape()[0], [h, w])?;
        // A grid takes a copy of the images, and its statistics and its file take another one each.
        let pixels: usize = size.iter().map(|&side| side as usize).product();
        let grid = 3 * images.len() * size_of::<f32>() + 2 * pixels * recipe.image.channels;
        drop(images);
        let checkpoint: usize = checkpoint_state::tensors(trainer.state())
            .values()
            .map(tensor::HostTensor::num_bytes)
            .sum();
        // The next one does not fit into all the gaps that it leaves in the heap (measured).
        let checkpoint = checkpoint + checkpoint / 4;
        let stats = memory_stats();
        peak = peak.max(stats.peak_reserved).max(stats.reserved + grid.max(checkpoint));
    }
    Ok(peak)
}

/// The settings of a short run of the recipe. An initialization that is computed on the host would
/// take its time, and all take the same memory.
fn settings(recipe: &Recipe) -> Settings {
    let mut recipe = recipe.clone();
    recipe.init.scheme = WeightInit::Normal;
    let [h, w] = recipe.image.size;
    Settings {
        data: String::new(),
        seed: 0,
        steps: ROUNDS * STEPS,
        log_every: 1,
        sample_every: STEPS,
        checkpoint_every: STEPS,
        keep: 1,
        shuffle_buffer: None,
        monitor: MonitorConfig::default(),
        eval: None,
        preprocess: Preprocess::new([h as u32, w as u32], recipe.image.channels as u8),
        condition_file: None,
        recipe,
        overrides: Vec::new(),
    }
}
