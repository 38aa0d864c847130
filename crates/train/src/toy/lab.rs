//! Both networks and what moves them, and what can be seen of them at any moment.

use super::networks::{discriminator, features, generator};
use super::{Coverage, Landscape, Mixture, SAMPLES, Settings};
use crate::TrainError;
use nn::loss::{FeatureNorm, Labels, feature_matching, gradient_penalty, gradients, r1};
use nn::optim::clip_weights;
use nn::{BatchNormStats, Ema, Mode, Network, Optimizer, OptimizerOptions};
use tensor::rng::{Distribution, Philox};
use tensor::{Device, FiniteCheck, Tensor};

/// Philox streams of a run, under its seed.
mod stream {
    pub const GENERATOR: u64 = 1;
    pub const DISCRIMINATOR: u64 = 2;
    pub const LATENTS: u64 = 3;
    pub const REAL: u64 = 4;
    pub const NOISE: u64 = 5;
    pub const FIXED: u64 = 6;
    pub const LABELS: u64 = 7;
    pub const PENALTY: u64 = 8;
}

/// D in G's step: its parameters are constants.
const JUDGE: Mode = Mode { track: false, ..Mode::TRAIN };
/// D in a penalty, a second look in the same step: nothing but gradients moves.
const PENALISE: Mode = Mode { statistics: BatchNormStats::Batch { update: false }, track: true };

/// What a step measured, where it was computed.
pub(super) struct Losses {
    pub d: Tensor,
    pub g: Tensor,
}

/// What there is to draw of a moment.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Finished steps.
    pub step: u64,
    /// G's points of fixed latents: x, y, x, y, …
    pub samples: Vec<f32>,
    /// D's logits over the plane.
    pub landscape: Landscape,
    /// The samples' coverage.
    pub coverage: Coverage,
}

/// A GAN in the plane, in training.
pub struct Lab {
    settings: Settings,
    mixture: Mixture,
    generator: Network,
    discriminator: Network,
    optimizer_g: Optimizer,
    optimizer_d: Optimizer,
    ema: Option<Ema>,
    latents: Philox,
    real: Philox,
    noise: Philox,
    labels: Philox,
    penalty: Philox,
    fixed: Tensor,
    step: u64,
    device: Device,
    guard: FiniteCheck,
}

impl Lab {
    /// A run that has not begun, on `device`.
    ///
    /// # Errors
    /// As [`Settings::validate`], or the device.
    pub fn new(settings: &Settings, device: &Device) -> Result<Self, TrainError> {
        settings.validate()?;
        let rng = |stream| Philox::new(settings.seed, stream);
        let generator = generator(settings, &mut rng(stream::GENERATOR));
        let discriminator = discriminator(settings, &mut rng(stream::DISCRIMINATOR));
        [&generator, &discriminator].into_iter().for_each(|network| network.to_device(device));
        let optimizer = |network, lr| {
            Optimizer::new(network, OptimizerOptions { rule: settings.rule, lr, weight_decay: 0.0 })
        };
        let lab = Self {
            optimizer_g: optimizer(&generator, settings.lr),
            optimizer_d: optimizer(&discriminator, settings.lr_d),
            ema: (settings.ema > 0.0).then(|| Ema::new(&generator, settings.ema as f32)),
            latents: rng(stream::LATENTS),
            real: rng(stream::REAL),
            noise: rng(stream::NOISE),
            labels: rng(stream::LABELS),
            penalty: rng(stream::PENALTY),
            fixed: normal(&mut rng(stream::FIXED), device, SAMPLES, settings.latent),
            mixture: settings.target.mixture(),
            settings: settings.clone(),
            generator,
            discriminator,
            step: 0,
            device: device.clone(),
            guard: FiniteCheck::new(device),
        };
        device.check()?;
        Ok(lab)
    }

    /// Finished steps.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// One step: D's updates, then G's. A GPU may still be at it when this returns.
    pub(super) fn step(&mut self) -> Losses {
        let mut d = Tensor::scalar(0.0);
        for _ in 0..self.settings.d_steps {
            d = self.step_d();
        }
        let mut g = Tensor::scalar(0.0);
        for _ in 0..self.settings.g_steps {
            g = self.step_g();
        }
        if let Some(ema) = &mut self.ema {
            ema.update(&self.generator);
        }
        self.step += 1;
        self.device.flush();
        Losses { d, g }
    }

    fn step_d(&mut self) -> Tensor {
        let real = self.draw_real();
        let z = self.draw_latents();
        let fake = self.generator.forward(&z, JUDGE);
        let fake = self.shown(&fake);
        let on_real = self.discriminator.forward(&real, Mode::TRAIN);
        let on_fake = self.discriminator.forward(&fake, Mode::TRAIN);
        let objective = self.settings.objective;
        let [low, high] = self.settings.smooth.unwrap_or([1.0; 2]);
        let labels = Labels { real: [low, high], ..Labels::default() };
        let (target, _) = labels.draw(&mut self.labels, on_real.len(), &self.device);
        let target = target.map(|target| target.reshape(*on_real.shape()));
        let (loss_real, loss_fake) = if self.settings.relativistic {
            objective.relativistic_discriminator(&on_real, &on_fake, (target.as_ref(), None))
        } else {
            (objective.real(&on_real, target.as_ref()), objective.fake(&on_fake, None))
        };
        let loss = loss_real.add(&loss_fake);
        let total = match self.penalty(&real, &fake) {
            Some(penalty) => loss.add(&penalty),
            None => loss.clone(),
        };
        let gradients = gradients(&total, &self.discriminator);
        self.guard.check(&total, 1.0);
        self.guard.check_all(&gradients, 1.0);
        self.optimizer_d.step(&self.discriminator, &gradients, &self.guard);
        if self.settings.clip > 0.0 {
            clip_weights(&self.discriminator, self.settings.clip);
        }
        loss.detach()
    }

    /// What D pays for its slope.
    fn penalty(&mut self, real: &Tensor, fake: &Tensor) -> Option<Tensor> {
        let critic = |x: &Tensor| self.discriminator.forward(x, PENALISE);
        if self.settings.gp > 0.0 {
            let between = Distribution::Uniform { low: 0.0, high: 1.0 };
            let mix = self.penalty.draw(&self.device, [real.shape()[0], 1], between);
            return Some(
                gradient_penalty(&critic, real, fake, &mix).scale(self.settings.gp as f32),
            );
        }
        (self.settings.r1 > 0.0).then(|| r1(&critic, real).scale(self.settings.r1 as f32 / 2.0))
    }

    fn step_g(&mut self) -> Tensor {
        let z = self.draw_latents();
        let fake = self.generator.forward(&z, Mode::TRAIN);
        let fake = self.shown(&fake);
        let matching = self.settings.feature_matching;
        let real = (self.settings.relativistic || matching > 0.0).then(|| self.draw_real());
        let names = if matching > 0.0 { vec![features(&self.discriminator)] } else { Vec::new() };
        let (on_fake, fake_features) = self.discriminator.features(&fake, JUDGE, &names);
        let objective = self.settings.objective;
        let loss = if let Some(real) = real {
            let (on_real, real_features) = self.discriminator.features(&real, JUDGE, &names);
            let loss = match self.settings.relativistic {
                true => objective.relativistic_generator(&on_real, &on_fake),
                false => objective.generator(&on_fake),
            };
            match matching > 0.0 {
                true => loss.add(
                    &feature_matching(&real_features, &fake_features, FeatureNorm::L2)
                        .scale(matching as f32),
                ),
                false => loss,
            }
        } else {
            objective.generator(&on_fake)
        };
        let gradients = loss.backward();
        self.guard.check(&loss, 1.0);
        self.guard.check_all(&gradients, 1.0);
        self.optimizer_g.step(&self.generator, &gradients, &self.guard);
        loss.detach()
    }

    /// A batch of real points as D gets them.
    fn draw_real(&mut self) -> Tensor {
        let real = self.mixture.sample(&mut self.real, self.settings.batch).to_device(&self.device);
        self.shown(&real)
    }

    fn draw_latents(&mut self) -> Tensor {
        normal(&mut self.latents, &self.device, self.settings.batch, self.settings.latent)
    }

    /// Points `[N, 2]` as D gets them: under noise, and in packs `[N / pack, 2 · pack]`.
    fn shown(&mut self, points: &Tensor) -> Tensor {
        let left = 1.0 - self.step as f64 / self.settings.steps as f64;
        let std = (self.settings.noise * left.max(0.0)) as f32;
        let pack = self.settings.pack;
        let rows = [points.shape()[0] / pack, 2 * pack];
        if std == 0.0 {
            return points.reshape(rows);
        }
        let noise =
            self.noise.draw(&self.device, *points.shape(), Distribution::Normal { mean: 0.0, std });
        points.add(&noise).reshape(rows)
    }

    /// Whether a loss or gradient was NaN or infinite: the weights have stood still since.
    pub(super) fn diverged(&self) -> bool {
        self.guard.value().item() != 0.0
    }

    /// G's points of [`SAMPLES`] fixed latents: x, y, x, y, …, by the averaged G where there is one.
    pub fn samples(&mut self) -> Vec<f32> {
        if let Some(ema) = &mut self.ema {
            ema.swap(&self.generator);
        }
        let points = self.generator.forward(&self.fixed, Mode::SAMPLE).to_vec();
        if let Some(ema) = &mut self.ema {
            ema.swap(&self.generator);
        }
        points
    }

    /// What the samples show.
    pub fn coverage(&mut self) -> Coverage {
        let samples = self.samples();
        Coverage::of(&self.mixture, &samples)
    }

    /// What there is to draw now.
    pub fn frame(&mut self) -> Frame {
        let samples = self.samples();
        let coverage = Coverage::of(&self.mixture, &samples);
        let landscape = Landscape::of(
            &self.discriminator,
            &self.settings,
            self.mixture.extent,
            &samples,
            &self.device,
        );
        Frame { step: self.step, landscape, samples, coverage }
    }
}

fn normal(rng: &mut Philox, device: &Device, count: usize, width: usize) -> Tensor {
    rng.draw(device, [count, width], Distribution::Normal { mean: 0.0, std: 1.0 })
}
