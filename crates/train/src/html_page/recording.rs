//! The generator's forward pass as WebGPU commands, for batches of 1 and 16 images.
//!
//! They are recorded without a GPU ([`tensor::gpu::open_noop`]), with the kernels that this program
//! runs. What is uploaded on the way is found again in the page by its values: latents, conditions,
//! weights; small constants are written out.

use super::Weights;
use crate::TrainError;
use crate::sampler::generator_condition;
use nn::{ForwardCtx, Mode, Network, Recipe};
use serde_json::{Value, json};
use tensor::gpu::{self, Tape, TapeCommand};
use tensor::rng::Philox;
use tensor::{Device, Tensor};

/// The numbers of images that are drawn at once.
const BATCHES: [usize; 2] = [1, 16];

/// `{"shaders": […], "tapes": […]}`; or `{"refused": reason}` for a network beyond the limits of
/// WebGPU, which the page then draws without it.
pub(super) fn tapes(
    generator: &Network,
    recipe: &Recipe,
    weights: &Weights,
) -> Result<Value, TrainError> {
    let mut tapes = Vec::new();
    for batch in BATCHES {
        match record(generator, recipe, weights, batch) {
            Ok(tape) => tapes.push(tape),
            Err(
                error
                @ TrainError::Gpu(gpu::GpuError::TooLarge { .. } | gpu::GpuError::Grid { .. }),
            ) => {
                return Ok(json!({ "refused": error.to_string() }));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(json!({ "tapes": tapes }))
}

fn record(
    generator: &Network,
    recipe: &Recipe,
    weights: &Weights,
    batch: usize,
) -> Result<Value, TrainError> {
    let gpu = gpu::open_noop()?;
    let device = Device::Gpu(gpu.clone());
    // Values that are found again.
    let mut rng = Philox::new(0, 0);
    let mut draw = |width: usize| rng.uniform([batch, width], 1.0, 2.0);
    let latents = draw(recipe.generator.latent);
    let condition = generator_condition(recipe).map(|condition| draw(condition.size));
    let ((), tape) = gpu.record(|| {
        let copy = generator.folded();
        copy.to_device(&device);
        let condition = condition.as_ref().map(|rows| rows.to_device(&device));
        let ctx = ForwardCtx::from(Mode::SAMPLE).with_condition(condition.as_ref());
        let latents = latents.to_device(&device);
        tensor::batch_invariant(|| copy.forward(&latents, ctx)).to_vec();
    });
    gpu.check()?;
    let is = |tensor: &Tensor, words: &[u32]| {
        let values = tensor.to_vec();
        values.len() == words.len() && values.iter().zip(words).all(|(a, b)| a.to_bits() == *b)
    };
    let source = |words: &[u32]| {
        if is(&latents, words) {
            json!("latents")
        } else if condition.as_ref().is_some_and(|rows| is(rows, words)) {
            json!("condition")
        } else if let Some(at) = weights.find(words) {
            json!({ "at": at, "len": words.len() })
        } else {
            json!({ "words": words })
        }
    };
    Ok(as_json(&tape, batch, source))
}

fn as_json(tape: &Tape, batch: usize, source: impl Fn(&[u32]) -> Value) -> Value {
    let command = |command: &TapeCommand| match command {
        TapeCommand::Upload { buffer, words } => {
            json!({ "upload": buffer, "source": source(words) })
        }
        TapeCommand::Run { shader, operands, params, grid } => {
            json!({ "run": shader, "operands": operands, "params": params, "grid": grid })
        }
        TapeCommand::Read { buffer, len } => json!({ "read": buffer, "len": len }),
    };
    let shaders = tape.shaders.iter().map(|shader| {
        json!({
            "name": shader.name,
            "source": shader.source,
            "entry": shader.entry,
            "inputs": shader.inputs,
            "outputs": shader.outputs,
        })
    });
    json!({
        "batch": batch,
        "shaders": shaders.collect::<Vec<_>>(),
        "buffers": tape.buffers,
        "commands": tape.commands.iter().map(command).collect::<Vec<_>>(),
    })
}
