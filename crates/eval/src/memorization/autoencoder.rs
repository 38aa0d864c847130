//! Denoising autoencoder whose binarized hidden layer is a hash code (Radford et al. 2016, section
//! 4.1).

use super::hash_codes::Code;
use crate::images::load_images;
use crate::{EvalError, Progress};
use data::{Cursor, Dataset, order};
use nn::layers::{Dropout, GaussianNoise, Linear};
use nn::{
    Activation, ForwardCtx, Layer, Mode, Network, NoiseRng, Optimizer, OptimizerKind,
    OptimizerOptions,
};
use tensor::rng::Philox;
use tensor::{Device, FiniteCheck, Tensor};

/// Philox streams of initial weights and of the noise.
const WEIGHTS: u64 = 0x6165_6e63;
const NOISE: u64 = 0x6165_6e64;
/// Hidden units, and bits of a code.
const UNITS: usize = 128;
/// Images in a forward pass.
const BATCH: usize = 256;

/// How the autoencoder is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AutoencoderConfig {
    /// Passes over the dataset.
    pub epochs: usize,
    /// Images in a step.
    pub batch: usize,
    /// Adam's learning rate.
    pub lr: f64,
    /// Standard deviation of the Gaussian noise on pixels, which are in [−1, 1].
    pub noise: f32,
    /// Dropout probability of hidden units, in [0, 1).
    pub dropout: f32,
    /// Seed of weights, order and noise.
    pub seed: u64,
}

impl Default for AutoencoderConfig {
    fn default() -> Self {
        Self { epochs: 20, batch: 128, lr: 1e-3, noise: 0.3, dropout: 0.5, seed: 0 }
    }
}

/// A denoising autoencoder, 3072-128-3072 for 32×32 RGB: pixels minus the dataset's mean image,
/// Gaussian noise, a linear layer, ReLU, dropout, a linear layer.
pub struct Autoencoder {
    network: Network,
    mean: Tensor,
    device: Device,
    /// Mean squared error per pixel of the last epoch, with noise and dropout.
    pub loss: f64,
}

impl Autoencoder {
    /// Trains an autoencoder on a dataset. The same seed gives the same bits, whatever the number
    /// of threads.
    ///
    /// # Errors
    /// Returns an error if an image cannot be decoded, the loss becomes NaN or infinite, or the
    /// device fails; [`EvalError::Stopped`] if `progress` cancels.
    ///
    /// # Panics
    /// Panics if dropout or noise are outside their ranges, or a batch is 0.
    pub fn train(
        dataset: &Dataset,
        training: AutoencoderConfig,
        device: &Device,
        progress: Progress<'_>,
    ) -> Result<Self, EvalError> {
        let width: usize = dataset.shape().iter().product();
        let named = |name: &str, layer| (name.to_owned(), layer);
        let network = Network::new(vec![
            named("noise", Layer::from(GaussianNoise::new(training.noise))),
            named("encode", Layer::from(Linear::new(width, UNITS, true))),
            named("relu", Layer::from(Activation::Relu)),
            named("dropout", Layer::from(Dropout::new(training.dropout))),
            named("decode", Layer::from(Linear::new(UNITS, width, true))),
        ]);
        network.init_glorot(&mut Philox::new(training.seed, WEIGHTS));
        network.to_device(device);
        let mean = mean_image(dataset, width, progress)?.to_device(device);
        let mut own = Self { network, mean, device: device.clone(), loss: f64::NAN };
        let options = OptimizerOptions {
            rule: OptimizerKind::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8, decoupled: false },
            lr: training.lr,
            weight_decay: 0.0,
        };
        let mut optimizer = Optimizer::new(&own.network, options);
        let noise = NoiseRng::new(Philox::new(training.seed, NOISE), 1.0);
        for epoch in 0..training.epochs {
            progress.report("training the autoencoder", epoch, training.epochs)?;
            own.loss = own.epoch(dataset, training, epoch, &mut optimizer, &noise, progress)?;
        }
        progress.report("training the autoencoder", training.epochs, training.epochs)?;
        Ok(own)
    }

    fn epoch(
        &self,
        dataset: &Dataset,
        training: AutoencoderConfig,
        epoch: usize,
        optimizer: &mut Optimizer,
        noise: &NoiseRng,
        progress: Progress<'_>,
    ) -> Result<f64, EvalError> {
        // Opening a dataset checks that its length fits.
        let order = order(
            Cursor { epoch: epoch as u64, ..Cursor::new(training.seed) },
            dataset.len() as u32,
        );
        let mut sum = 0.0;
        for part in order.chunks(training.batch) {
            let part: Vec<usize> = part.iter().map(|&index| index as usize).collect();
            let x = self.centered(&load_images(dataset, &part)?);
            let pass = ForwardCtx::from(Mode::TRAIN).with_rng(noise);
            let loss = self.network.forward(&x, pass).sub(&x).square().mean_all();
            let value = loss.item();
            self.device.check()?;
            if !value.is_finite() {
                return Err(EvalError::Diverged { model: "autoencoder", epoch: epoch + 1 });
            }
            sum += f64::from(value) * part.len() as f64;
            let guard = FiniteCheck::new(&self.device);
            optimizer.step(&self.network, &loss.backward(), &guard);
            progress.report("training the autoencoder", epoch, training.epochs)?;
        }
        Ok(sum / dataset.len() as f64)
    }

    /// Images as rows `[N, H·W·C]` minus the mean image, on the device.
    fn centered(&self, images: &Tensor) -> Tensor {
        images.reshape([images.shape()[0], self.mean.len()]).to_device(&self.device).sub(&self.mean)
    }

    /// The hash code of each image of a dataset: one bit for each hidden unit, set if it is above
    /// 0.
    ///
    /// # Errors
    /// Returns an error if an image cannot be decoded or the device fails; [`EvalError::Stopped`]
    /// if `progress` cancels.
    pub fn codes(&self, dataset: &Dataset, progress: Progress<'_>) -> Result<Vec<Code>, EvalError> {
        let all: Vec<usize> = (0..dataset.len()).collect();
        let mut codes = Vec::with_capacity(all.len());
        for part in all.chunks(BATCH) {
            let x = self.centered(&load_images(dataset, part)?);
            let hidden = tensor::batch_invariant(|| {
                self.network.forward_features(&x, Mode::SAMPLE, &["relu"])
            });
            self.device.check()?;
            for row in hidden.iter().flat_map(Tensor::to_vec).collect::<Vec<_>>().chunks(UNITS) {
                codes.push(row.iter().fold(0, |code, &unit| code << 1 | Code::from(unit > 0.0)));
            }
            progress.report("hashing images", codes.len(), all.len())?;
        }
        Ok(codes)
    }
}

/// The mean of all images, `[1, H·W·C]`.
fn mean_image(
    dataset: &Dataset,
    width: usize,
    progress: Progress<'_>,
) -> Result<Tensor, EvalError> {
    let all: Vec<usize> = (0..dataset.len()).collect();
    let mut sums = vec![0.0f64; width];
    for (k, part) in all.chunks(BATCH).enumerate() {
        let values = load_images(dataset, part)?.to_vec();
        for image in values.chunks_exact(width) {
            sums.iter_mut().zip(image).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        progress.report("averaging images", k * BATCH + part.len(), all.len())?;
    }
    let mean: Vec<f32> = sums.iter().map(|sum| (sum / all.len() as f64) as f32).collect();
    Ok(Tensor::from_slice(&mean, [1, width]))
}
