//! The training step: the algorithm of Goodfellow et al. 2014 with every option that a recipe has.
//!
//! [`TrainState`] holds what a step changes and knows neither datasets nor files, so it trains on
//! whatever real samples it gets: the images of a [`Trainer`](crate::Trainer), or points of a
//! plane.
//!
//! The bits of a run depend on the order of three things in here: random draws, tensor operations
//! (the graph accumulates gradients by descending age) and updates.

mod batch;
mod gradients;
mod losses;
mod metrics;

pub use batch::{DeviceBatch, RealBatch};
pub use metrics::{PendingMetrics, StepMetrics};

use crate::TrainError;
use crate::rng_streams as stream;
use batch::split_batches;
use gradients::GradientSum;
use metrics::{DStepMetrics, GStepMetrics, gradient_norm, non_finite_source};
use nn::augment::Augmentation;
use nn::loss::{self, HistoricalAverage};
use nn::optim::{clip_gradients, clip_weights};
use nn::recipe::{NetworkRole, Parametrization, TrainConfig, UpdateOrder};
use nn::{
    BatchNormStats, DiscriminatorOutput, Ema, ForwardCtx, Mode, Network, NnError, NoiseRng,
    Optimizer, Recipe,
};
use std::ops::Range;
use std::sync::Arc;
use tensor::autograd::Gradients;
use tensor::distributed::{BatchShard, ProcessGroup};
use tensor::rng::{Distribution, Philox};
use tensor::{Device, FiniteCheck, Shape, Tensor};

/// Forward mode whose parameters stay out of the graph; running statistics are updated as in any
/// forward pass of training.
const FROZEN: Mode = Mode { track: false, ..Mode::TRAIN };
/// Forward mode for gradient penalties: batch statistics, running statistics not updated, graph
/// kept.
const PENALTY: Mode = Mode { statistics: BatchNormStats::Batch { update: false }, track: true };

/// A network with the state of its optimizer.
pub(crate) struct NetworkState {
    pub network: Network,
    pub optimizer: Optimizer,
    /// The average of past parameters, for a recipe with historical averaging.
    pub history: Option<HistoricalAverage>,
}

impl NetworkState {
    fn new(network: Network, recipe: &Recipe, role: NetworkRole, device: &Device) -> Self {
        network.to_device(device);
        let historical = recipe.objective.historical_averaging > 0.0;
        Self {
            optimizer: Optimizer::new(&network, recipe.optimizer(role)),
            history: historical.then(|| HistoricalAverage::new(&network)),
            network,
        }
    }
}

/// Both networks, their optimizers and random streams: all that a training step changes.
pub struct TrainState {
    /// Shared, so that a step can read it while it changes the rest.
    pub(crate) recipe: Arc<Recipe>,
    /// Steps of the whole run, which schedules depend on.
    pub(crate) total_steps: u64,
    /// Finished steps.
    pub(crate) step: u64,
    pub(crate) g: NetworkState,
    pub(crate) d: NetworkState,
    pub(crate) ema: Option<Ema>,
    pub(crate) latent_rng: Philox,
    /// Randomness of everything in a step but latents.
    pub(crate) step_rng: Philox,
    /// The layers of D whose features are matched.
    feature_layers: Vec<String>,
    finite_check: FiniteCheck,
    pub(crate) device: Device,
    /// The processes that train together.
    pub(crate) group: ProcessGroup,
    /// The rows of the global batch that are computed now.
    shard: BatchShard,
}

/// The latents of a step's forward passes of G.
struct StepLatents {
    z: Tensor,
    is_used: bool,
}

impl TrainState {
    /// Fresh networks of `recipe` on `device`, for a run of `total_steps` steps under `seed`.
    ///
    /// # Errors
    /// Returns an error if the recipe is not valid or the device cannot hold the networks.
    pub fn new(
        recipe: Arc<Recipe>,
        seed: u64,
        total_steps: u64,
        device: &Device,
    ) -> Result<Self, NnError> {
        let (generator, discriminator) = recipe.build(&mut Philox::new(seed, stream::WEIGHTS))?;
        let g = NetworkState::new(generator, &recipe, NetworkRole::Generator, device);
        let d = NetworkState::new(discriminator, &recipe, NetworkRole::Discriminator, device);
        let decay = recipe.train.ema as f32;
        Ok(Self {
            ema: (decay > 0.0).then(|| Ema::new(&g.network, decay)),
            latent_rng: Philox::new(seed, stream::LATENTS),
            step_rng: Philox::new(seed, stream::STEP),
            feature_layers: recipe.feature_layers(),
            finite_check: FiniteCheck::new(device),
            device: device.clone(),
            group: ProcessGroup::default(),
            shard: BatchShard::whole(recipe.train.batch),
            step: 0,
            total_steps,
            recipe,
            g,
            d,
        })
    }

    /// The same state as a member of a group of processes, each of which has the same state and
    /// trains on its [rows](Self::rows) of each batch. The gradients of every update are summed
    /// over the group, so that the networks stay equal.
    ///
    /// # Errors
    /// Returns [`TrainError::TooManyRanks`] if a process would have no images.
    pub fn with_process_group(self, group: ProcessGroup) -> Result<Self, TrainError> {
        let TrainConfig { batch, accumulate, .. } = self.recipe.train;
        let ranks = group.world_size();
        if batch < ranks * accumulate {
            return Err(TrainError::TooManyRanks { ranks, batch, parts: accumulate });
        }
        Ok(Self { group, ..self })
    }

    /// The rows of each global batch that this process computes, in the order in which
    /// [`train_step`](Self::train_step) takes them: one range for each part of the batch.
    pub fn rows(&self) -> Vec<Range<usize>> {
        self.parts(self.recipe.train.batch).iter().map(BatchShard::rows).collect()
    }

    /// The parts of a batch that are computed one after the other; `count` is the number of samples
    /// of a batch that is not divided.
    fn parts(&self, count: usize) -> Vec<BatchShard> {
        let TrainConfig { batch, accumulate: parts, .. } = self.recipe.train;
        if self.group.is_single() && parts == 1 {
            return vec![BatchShard::whole(count)];
        }
        (0..parts).map(|part| BatchShard::new(self.group.clone(), batch, [part, parts])).collect()
    }

    /// Finished steps.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// One training step on the real samples of its updates: as many batches as
    /// [`batches`](nn::recipe::TrainConfig::batches_per_step) defines, in the order of the updates.
    /// A GPU may still compute when this returns. `logs` asks for the norm of G's gradient.
    ///
    /// # Panics
    /// Panics without a batch, or when the recipe has a condition and a batch has none.
    pub fn train_step(&mut self, batches: &[DeviceBatch], logs: bool) -> PendingMetrics {
        let z = self.sample_z();
        if self.step == 0 {
            self.data_dependent_init(&batches[0], &z);
        }
        self.train_step_on(batches, z, logs)
    }

    /// Calls `f` for each part of a batch, with its samples and its latents `z`. All parts draw
    /// from the same random stream, each the rows of its samples.
    fn for_parts(
        &mut self,
        batch: &DeviceBatch,
        z: Option<&Tensor>,
        mut f: impl FnMut(&mut Self, &DeviceBatch, Option<Tensor>, bool),
    ) {
        let parts = self.parts(batch.real.shape()[0]);
        let (rng, last) = (self.step_rng.clone(), parts.len() - 1);
        let mut start = 0;
        for (i, shard) in parts.into_iter().enumerate() {
            self.step_rng = rng.clone();
            let rows = shard.rows();
            let z = z.map(|z| match z.shape()[0] {
                all if all == rows.len() => z.clone(),
                _ => z.narrow(0, rows.start, rows.len()),
            });
            self.shard = shard.with_statistics_of_all(self.recipe.train.sync_batch_norm);
            f(self, &batch.part(start, rows.len()), z, i == last);
            start += rows.len();
        }
    }

    /// [`train_step`](Self::train_step) on given latents `[N, latent]`, without an initialization
    /// that depends on data.
    ///
    /// # Panics
    /// Panics under the conditions of [`train_step`](Self::train_step).
    pub fn train_step_on(
        &mut self,
        batches: &[DeviceBatch],
        z: Tensor,
        logs: bool,
    ) -> PendingMetrics {
        assert!(!batches.is_empty(), "train_step: no batch was given");
        self.set_learning_rates();
        let (d_batches, g_batches) = split_batches(&self.recipe.train, batches);
        let mut latents = StepLatents { z, is_used: false };
        let (d, g) = match self.recipe.train.update_order {
            UpdateOrder::DFirst => {
                // One forward pass of G serves both networks: D's first update takes the images
                // without their graph, G's first update takes the graph.
                let TrainConfig { resample_z, accumulate, .. } = self.recipe.train;
                let fake = (!resample_z && accumulate == 1).then(|| {
                    let z = self.next_z(&mut latents);
                    let mut fake = None;
                    self.for_parts(&d_batches[0], Some(&z), |state, batch, z, _| {
                        fake = z.map(|z| state.generate(batch, &z, Mode::TRAIN));
                    });
                    fake.unwrap_or_else(|| panic!("train_step: a batch without parts"))
                });
                let detached = fake.as_ref().map(Tensor::detach);
                let d = self.update_discriminator(d_batches, &mut latents, detached);
                (d, self.update_generator(g_batches, &mut latents, fake, logs))
            }
            UpdateOrder::GFirst => {
                let g = self.update_generator(g_batches, &mut latents, None, logs);
                (self.update_discriminator(d_batches, &mut latents, None), g)
            }
        };
        if !self.group.is_single() && !self.recipe.train.sync_batch_norm {
            self.g.network.average_running_statistics(&self.group);
            self.d.network.average_running_statistics(&self.group);
        }
        self.step += 1;
        if let Some(ema) = &mut self.ema {
            ema.update_at(&self.g.network, self.step);
        }
        let non_finite = self.finite_check.value();
        let place = (&self.device, &self.group);
        let metrics = PendingMetrics::read(self.step, place, &d, &g, &non_finite);
        self.device.flush();
        metrics
    }

    /// New latents for a batch, `[N, latent]`.
    fn sample_z(&mut self) -> Tensor {
        self.recipe.sample_z(&mut self.latent_rng, self.recipe.train.batch, &self.device)
    }

    /// The latents of the next forward pass of G, of the global batch: the step's z at first, then
    /// the same again, or with `resample_z` a new sample.
    fn next_z(&mut self, latents: &mut StepLatents) -> Tensor {
        let is_used = std::mem::replace(&mut latents.is_used, true);
        if is_used && self.recipe.train.resample_z {
            latents.z = self.sample_z();
        }
        latents.z.clone()
    }

    /// Initialization that depends on the first batch: weight normalization (Salimans & Kingma
    /// 2016), and minibatch discrimination in the form of its authors' code. Every process computes
    /// it on the first part of the global batch.
    fn data_dependent_init(&self, batch: &DeviceBatch, z: &Tensor) {
        let recipe = &self.recipe;
        let has_weight_norm = |kind| kind == Parametrization::WeightNorm;
        let of_g = has_weight_norm(recipe.generator.parametrization);
        let of_d = has_weight_norm(recipe.discriminator.parametrization)
            || recipe.uses_minibatch_code_form();
        if !of_g && !of_d {
            return;
        }
        let first = &self.parts(batch.real.shape()[0])[0];
        let batch = &batch.part(0, first.rows().len()).all_gather(first);
        let ctx = |condition| ForwardCtx::from(Mode::BATCH).with_condition(condition);
        if of_g {
            let z = z.narrow(0, 0, first.part_len());
            self.g.network.data_dependent_init(&z, ctx(batch.g_condition(recipe)));
        }
        if of_d {
            self.d.network.data_dependent_init(&batch.real, ctx(batch.d_condition(recipe)));
        }
    }

    /// Sets the learning rates and the momentum of this step by the recipe's schedules.
    fn set_learning_rates(&mut self) {
        let schedule = &self.recipe.optimizer;
        let factor = schedule.schedule.factor(self.step, self.total_steps);
        let momentum = schedule.momentum_at(self.step, self.total_steps);
        for (role, state) in
            [(NetworkRole::Generator, &mut self.g), (NetworkRole::Discriminator, &mut self.d)]
        {
            state.optimizer.set_lr(self.recipe.optimizer(role).lr * factor);
            state.optimizer.set_momentum(momentum);
        }
    }

    /// G's samples of `z`, `[N, …]`.
    fn generate(&mut self, batch: &DeviceBatch, z: &Tensor, mode: Mode) -> Tensor {
        let noise = NoiseRng::new(self.step_rng.clone(), 1.0);
        let ctx = ForwardCtx::from(mode).with_condition(batch.g_condition(&self.recipe));
        let fake = self.g.network.forward(z, ctx.with_rng(&noise).with_shard(&self.shard));
        self.step_rng = noise.state();
        fake
    }

    /// D's output for samples `[N, …]` after augmentation and instance noise (Sønderby et al.
    /// 2017), and the activations that feature matching compares.
    fn run_discriminator(
        &mut self,
        samples: &Tensor,
        condition: Option<&Tensor>,
        mode: Mode,
        matches_features: bool,
    ) -> DiscriminatorOutput {
        let mut input = samples.clone();
        let policy = self.recipe.augment.policy();
        if !policy.is_none() {
            let size = [1, 2, 3].map(|axis| samples.shape()[axis]);
            let (rng, shard) = (&mut self.step_rng, &self.shard);
            let augmentation = Augmentation::draw(&policy, rng, shard, size, &self.device);
            input = augmentation.apply(&input);
        }
        let noise_scale = self.noise_scale();
        let std = self.recipe.noise.input as f32 * noise_scale;
        if std > 0.0 {
            let distribution = Distribution::Normal { mean: 0.0, std };
            let noise = self.draw_rows(samples.shape(), distribution);
            input = input.add(&noise);
        }
        let noise = NoiseRng::new(self.step_rng.clone(), noise_scale);
        let ctx = ForwardCtx::from(mode).with_condition(condition).with_rng(&noise);
        let ctx = ctx.with_shard(&self.shard);
        let layers = if matches_features { &self.feature_layers[..] } else { &[] };
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        let (output, features) = self.d.network.features(&input, ctx, &layers);
        self.step_rng = noise.state();
        DiscriminatorOutput::split(&self.recipe, output, features)
    }

    /// Random values for this process's rows of a tensor whose rows here have this shape.
    fn draw_rows(&mut self, own: &Shape, distribution: Distribution) -> Tensor {
        let mut shape = own.to_vec();
        shape[0] = self.shard.batch();
        self.step_rng.draw_rows(&self.device, &shape[..], self.shard.rows(), distribution)
    }

    /// The factor of all noise in front of and inside D: falls from 1 to 0 over
    /// `noise.decay_steps`.
    fn noise_scale(&self) -> f32 {
        match self.recipe.noise.decay_steps {
            0 => 1.0,
            steps => (1.0 - self.step as f64 / steps as f64).max(0.0) as f32,
        }
    }

    /// D's updates of a step, one for each batch. The first takes the samples `fake` if there are
    /// some; the others generate their own.
    fn update_discriminator(
        &mut self,
        batches: &[DeviceBatch],
        latents: &mut StepLatents,
        mut fake: Option<Tensor>,
    ) -> DStepMetrics {
        let mut metrics = None;
        for batch in batches {
            let z = fake.is_none().then(|| self.next_z(latents));
            let mut gradients = GradientSum::new(&self.group);
            let mut update: Option<DStepMetrics> = None;
            self.for_parts(batch, z.as_ref(), |state, batch, z, is_last| {
                let given = || fake.take().unwrap_or_else(|| panic!("train_step: no latents"));
                let fake = z.map_or_else(given, |z| state.generate(batch, &z, FROZEN));
                let part = state.discriminator_loss(batch, &fake, &mut gradients, is_last);
                state.add_penalties(batch, &fake, &mut gradients);
                update = Some(update.as_ref().map_or_else(|| part.clone(), |sum| sum.add(&part)));
            });
            let Some(mut update) = update else { panic!("train_step: a batch without parts") };
            let (gradients, [loss_real, loss_fake]) =
                gradients.finish([&update.loss_real, &update.loss_fake]);
            let loss = loss_real.add(&loss_fake);
            (update.loss_real, update.loss_fake) = (loss_real, loss_fake);
            self.apply_gradients(NetworkRole::Discriminator, &loss, gradients, false);
            metrics = Some(update);
        }
        metrics.unwrap_or_else(|| panic!("train_step: no batch for D"))
    }

    /// G's updates of a step. The first takes the samples `fake` with their graph if there are
    /// some; the others generate their own.
    fn update_generator(
        &mut self,
        batches: &[DeviceBatch],
        latents: &mut StepLatents,
        mut fake: Option<Tensor>,
        logs: bool,
    ) -> GStepMetrics {
        let mut metrics = None;
        for batch in batches.iter().cycle().take(self.recipe.train.g_steps) {
            let z = fake.is_none().then(|| self.next_z(latents));
            let mut gradients = GradientSum::new(&self.group);
            let mut losses: Option<Tensor> = None;
            self.for_parts(batch, z.as_ref(), |state, batch, z, is_last| {
                let given = || fake.take().unwrap_or_else(|| panic!("train_step: no latents"));
                let fake = z.map_or_else(given, |z| state.generate(batch, &z, Mode::TRAIN));
                let loss = state.generator_loss(batch, fake);
                let loss = state.shard.weighted(&loss);
                gradients.backward(&loss, is_last);
                let loss = loss.detach();
                losses = Some(losses.as_ref().map_or_else(|| loss.clone(), |sum| sum.add(&loss)));
            });
            let Some(loss) = losses else { panic!("train_step: a batch without parts") };
            let (gradients, [loss]) = gradients.finish([&loss]);
            let grad_norm = self.apply_gradients(NetworkRole::Generator, &loss, gradients, logs);
            metrics = Some(GStepMetrics { loss, grad_norm });
        }
        metrics.unwrap_or_else(|| panic!("train_step: a recipe without updates of G"))
    }

    /// D's loss on real and on generated samples of a part of a batch, whose gradients it adds to
    /// `gradients`. With the last part they are complete, but for penalties.
    fn discriminator_loss(
        &mut self,
        batch: &DeviceBatch,
        fake: &Tensor,
        gradients: &mut GradientSum,
        is_last: bool,
    ) -> DStepMetrics {
        let recipe = Arc::clone(&self.recipe);
        let is_last = is_last && !self.has_penalty();
        let targets = recipe.labels.draw(&mut self.step_rng, &self.shard, &self.device);
        let (real_target, fake_target) = (targets.0.as_ref(), targets.1.as_ref());
        let condition = batch.d_condition(&recipe);
        let on_real = self.run_discriminator(&batch.real, condition, Mode::TRAIN, false);
        if recipe.objective.relativistic {
            // Each logit is compared with the mean of the other kind, which needs both graphs.
            let on_fake = self.run_discriminator(fake, condition, Mode::TRAIN, false);
            let targets = (real_target, fake_target);
            let shard = &self.shard;
            let (loss_real, loss_fake) =
                losses::relativistic_losses(&recipe, &on_real, &on_fake, batch, targets, shard);
            let [loss_real, loss_fake] = [loss_real, loss_fake].map(|loss| shard.weighted(&loss));
            gradients.backward(&loss_real.add(&loss_fake), is_last);
            let logits = [&on_real.logits, &on_fake.logits];
            return DStepMetrics::new(&recipe, [&loss_real, &loss_fake], logits, shard);
        }
        // The gradients on real samples come before the forward pass on generated ones, so that
        // only one graph is in memory at a time.
        let loss_real = losses::real_loss(&recipe, &on_real, batch, real_target, &self.shard);
        let loss_real = self.shard.weighted(&loss_real);
        gradients.backward(&loss_real, false);
        let (loss_real, real_logits) = (loss_real.detach(), on_real.logits.detach());
        drop(on_real);

        let on_fake = self.run_discriminator(fake, condition, Mode::TRAIN, false);
        let loss_fake = losses::fake_loss(&recipe, &on_fake, batch, fake_target);
        let loss_fake = self.shard.weighted(&loss_fake);
        gradients.backward(&loss_fake, is_last);
        let logits = [&real_logits, &on_fake.logits];
        DStepMetrics::new(&recipe, [&loss_real, &loss_fake], logits, &self.shard)
    }

    /// Whether D's updates of this step have a penalty.
    fn has_penalty(&self) -> bool {
        self.recipe.objective.gradient_penalty > 0.0 || self.has_r1()
    }

    fn has_r1(&self) -> bool {
        let o = &self.recipe.objective;
        o.r1 > 0.0 && self.step.is_multiple_of(o.r1_every)
    }

    /// Adds the gradients of the enabled penalties to D's `gradients`: the gradient penalty
    /// (WGAN-GP, Gulrajani et al. 2017) in every step, R1 (Mescheder et al. 2018) every `r1_every`
    /// steps with a weight that makes up for the steps between (lazy regularization, Karras et al.
    /// 2020).
    fn add_penalties(&mut self, batch: &DeviceBatch, fake: &Tensor, gradients: &mut GradientSum) {
        let recipe = Arc::clone(&self.recipe);
        let o = &recipe.objective;
        let condition = batch.d_condition(&recipe);
        if o.gradient_penalty > 0.0 {
            // One ε per pair of samples, broadcast over the other axes.
            let mut shape = batch.real.shape().to_vec();
            shape[1..].fill(1);
            let uniform = Distribution::Uniform { low: 0.0, high: 1.0 };
            let mix = self.draw_rows(&Shape::new(&shape), uniform);
            let critic = |x: &Tensor| self.critic_for_penalty(x, condition);
            let penalty = loss::gradient_penalty(&critic, &batch.real, fake, &mix)
                .scale(o.gradient_penalty as f32);
            gradients.add(loss::gradients(&self.shard.weighted(&penalty), &self.d.network));
        }
        if self.has_r1() {
            let critic = |x: &Tensor| self.critic_for_penalty(x, condition);
            let weight = o.r1 / 2.0 * o.r1_every as f64;
            let penalty = loss::r1(&critic, &batch.real).scale(weight as f32);
            gradients.add(loss::gradients(&self.shard.weighted(&penalty), &self.d.network));
        }
    }

    /// D's logits `[N]` without augmentation and noise, whose gradient is penalized.
    fn critic_for_penalty(&self, samples: &Tensor, condition: Option<&Tensor>) -> Tensor {
        let ctx = ForwardCtx::from(PENALTY).with_condition(condition).with_shard(&self.shard);
        let output = self.d.network.forward(samples, ctx);
        DiscriminatorOutput::split(&self.recipe, output, Vec::new()).logits
    }

    /// G's loss through D. Takes `fake` by value, so that its last reference outside the graph goes
    /// with D's forward pass.
    fn generator_loss(&mut self, batch: &DeviceBatch, fake: Tensor) -> Tensor {
        let recipe = Arc::clone(&self.recipe);
        let o = &recipe.objective;
        let matching = o.feature_matching > 0.0;
        let condition = batch.d_condition(&recipe);
        // D's parameters stay out of the graph: neither their gradients nor the activations those
        // would be computed from exist.
        let on_fake = self.run_discriminator(&fake, condition, FROZEN, matching);
        drop(fake);
        let loss = if matching {
            let on_real = self.run_discriminator(&batch.real, condition, FROZEN, matching);
            let (real, fake) = (&on_real.features, &on_fake.features);
            loss::feature_matching(real, fake, o.feature_norm, &self.shard)
                .scale(o.feature_matching as f32)
        } else if o.relativistic {
            let on_real = self.run_discriminator(&batch.real, condition, FROZEN, false);
            losses::relativistic_generator_loss(
                &recipe,
                &on_real.logits,
                &on_fake.logits,
                &self.shard,
            )
        } else {
            losses::generator_loss(&recipe, &on_fake.logits)
        };
        losses::add_class_loss(&recipe, loss, &on_fake, batch)
    }

    /// Updates a network: historical averaging, gradient clipping, the check for NaN and infinity,
    /// the optimizer's step, weight clipping of D. Returns the norm of the gradient if `logs`.
    fn apply_gradients(
        &mut self,
        role: NetworkRole,
        loss: &Tensor,
        mut gradients: Gradients,
        logs: bool,
    ) -> Option<Tensor> {
        use non_finite_source::{D_GRADIENT, D_LOSS, G_GRADIENT, G_LOSS};
        let (o, max_norm) = (&self.recipe.objective, self.recipe.optimizer.clip_gradient);
        let (state, [loss_code, gradient_code], weight_clip) = match role {
            NetworkRole::Generator => (&mut self.g, [G_LOSS, G_GRADIENT], 0.0),
            NetworkRole::Discriminator => (&mut self.d, [D_LOSS, D_GRADIENT], o.weight_clip),
        };
        if let Some(history) = &state.history {
            history.add_gradients(&state.network, &mut gradients, o.historical_averaging);
        }
        if max_norm > 0.0 {
            clip_gradients(&mut gradients, max_norm);
        }
        // The result of the check stays on the device; once it has found NaN or infinity, the
        // optimizers skip every update, and the host learns of it when it reads the metrics.
        self.finite_check.check(loss, loss_code);
        self.finite_check.check_all(&gradients, gradient_code);
        let grad_norm = if logs { gradient_norm(&gradients) } else { None };
        state.optimizer.step(&state.network, &gradients, &self.finite_check);
        // The gradients' memory is free for the copies that clipping makes.
        drop(gradients);
        if weight_clip > 0.0 {
            clip_weights(&state.network, weight_clip);
        }
        if let Some(history) = &mut state.history {
            history.update(&state.network);
        }
        grad_norm
    }
}
