//! The adversarial step: what each network is shown, what it minimises, and how it is moved.

use crate::Trainer;
use crate::monitor;
use crate::trainer::{PendingMetrics, non_finite_source};
use data::Batch;
use nn::augment::Augmentation;
use nn::loss::{self, ClassTargets};
use nn::recipe::{ConditionKind, ConditioningMethod, NetworkRole, Parametrization, Recipe};
use nn::{BatchNormStats, ForwardCtx, Mode, NoiseRng};
use tensor::autograd::Gradients;
use tensor::rng::Distribution;
use tensor::{Shape, Tensor, read_async};

/// Real pictures of one update of D, and of G where it has its own.
pub struct RealBatch<'a> {
    /// The pictures, and where the next ones are.
    pub batch: &'a Batch,
    /// What they are conditioned on, `[N, K]`, row after row, where the recipe wants it.
    pub condition: Option<Vec<f32>>,
}

impl<'a> From<&'a Batch> for RealBatch<'a> {
    fn from(batch: &'a Batch) -> Self {
        Self { batch, condition: None }
    }
}

/// The same on the device.
struct Real {
    images: Tensor,
    condition: Option<Tensor>,
    /// How many of the pictures have a class.
    known: usize,
}

/// What D says of a batch.
struct Verdict {
    /// Real or generated, `[N]`.
    logits: Tensor,
    /// Which class, `[N, K]`, where it was asked.
    classes: Option<Tensor>,
    /// The features to be matched.
    features: Vec<Tensor>,
}

/// A step of D, on the device.
struct Judged {
    loss_real: Tensor,
    loss_fake: Tensor,
    d_real: Tensor,
    d_fake: Tensor,
    /// The share of pictures about which D was right.
    accuracy: Tensor,
}

/// A step of G, on the device.
struct Moved {
    loss: Tensor,
    /// The norm of its gradient, in steps that are logged.
    gradient: Option<Tensor>,
}

/// No graph for parameters, but D's own statistics move as in any pass of training.
const CONSTANT: Mode = Mode { track: false, ..Mode::TRAIN };
/// A pass that leaves no trace, for penalties.
const PENALTY: Mode = Mode { statistics: BatchNormStats::Batch { update: false }, track: true };

impl Trainer {
    /// One step: as many updates of both networks as the recipe says, on as many [batches](nn::recipe::Train::batches), in the order of the updates. A GPU may
    /// still be at it when this returns.
    ///
    /// # Panics
    /// Without a batch, or when the recipe wants a condition and there is none.
    pub fn train_step(&mut self, given: &[RealBatch<'_>]) -> PendingMetrics {
        let recipe = self.settings.recipe.clone();
        let [h, w] = recipe.image.size;
        let count = recipe.train.batch;
        // Uploaded before the first kernel of the step is recorded: after it, that would need a submit of its own.
        let upload = |values: &[f32], shape: &[usize]| {
            Tensor::from_slice(values, shape).to_device(&self.device)
        };
        let reals: Vec<Real> = given
            .iter()
            .map(|one| Real {
                images: recipe.image.range.to_network_range(&upload(
                    &one.batch.images,
                    &[count, h, w, recipe.image.channels],
                )),
                condition: one
                    .condition
                    .as_ref()
                    .map(|values| upload(values, &[count, recipe.condition_size()])),
                known: one
                    .condition
                    .iter()
                    .flat_map(|values| values.chunks(recipe.condition_size()))
                    .filter(|row| row.contains(&1.0))
                    .count(),
            })
            .collect();
        let z = self.draw(&recipe);
        if let Some(last) = given.last() {
            self.cursor = last.batch.cursor;
        }
        if self.step == 0
            && let Some(first) = reals.first()
        {
            self.adapt(&recipe, first, &z);
        }
        self.play(&recipe, &reals, &z)
    }

    /// Before the first step, what starts from data: weight norm, and minibatch discrimination in the form of its code.
    fn adapt(&mut self, recipe: &Recipe, real: &Real, z: &Tensor) {
        if recipe.generator.weights == Parametrization::WeightNorm {
            let condition = real.condition.as_ref().filter(|_| self.generator_is_told());
            self.generator
                .data_dependent_init(z, ForwardCtx::from(Mode::BATCH).with_condition(condition));
        }
        if recipe.discriminator.weights == Parametrization::WeightNorm
            || recipe.uses_minibatch_code_form()
        {
            let told = self.told(recipe, real);
            self.discriminator.data_dependent_init(
                &real.images,
                ForwardCtx::from(Mode::BATCH).with_condition(told),
            );
        }
    }

    /// A step on given pictures `[N, H, W, C]` in the networks' range, latents `[N, latent]` and the pictures' conditions `[N, K]`, all on this
    /// trainer's device. With conditions, all pictures count as labelled.
    ///
    /// # Panics
    /// When the recipe wants a condition and there is none.
    pub fn train_step_on(
        &mut self,
        real: &Tensor,
        z: &Tensor,
        condition: Option<&Tensor>,
    ) -> PendingMetrics {
        let recipe = self.settings.recipe.clone();
        let known = condition.map_or(0, |condition| condition.shape()[0]);
        self.play(
            &recipe,
            &[Real { images: real.clone(), condition: condition.cloned(), known }],
            z,
        )
    }

    fn draw(&mut self, recipe: &Recipe) -> Tensor {
        recipe.sample_z(&mut self.latent_rng, recipe.train.batch, &self.device)
    }

    fn play(&mut self, recipe: &Recipe, reals: &[Real], z: &Tensor) -> PendingMetrics {
        self.set_rates(recipe);
        let (judged, moved) = match recipe.train.first {
            NetworkRole::Discriminator => self.discriminator_first(recipe, reals, z),
            NetworkRole::Generator => self.generator_first(recipe, reals, z),
        };
        self.step += 1;
        if let Some(ema) = &mut self.ema {
            ema.update_at(&self.generator, self.step);
        }
        let Judged { loss_real, loss_fake, d_real, d_fake, accuracy } = &judged;
        let seen = self.guard.value();
        let mut measured = vec![loss_real, loss_fake, &moved.loss, d_real, d_fake, accuracy, &seen];
        measured.extend(&moved.gradient);
        let reading = read_async(&measured);
        self.device.flush();
        PendingMetrics::new(self.step, &self.device, reading)
    }

    fn discriminator_first(
        &mut self,
        recipe: &Recipe,
        reals: &[Real],
        z: &Tensor,
    ) -> (Judged, Moved) {
        let (for_d, for_g) = shares(recipe, reals);
        let [first, others @ ..] = for_d else { panic!("step: no batch was given") };
        // One pass of G serves both players: D sees its pictures without their graph. With latents of their own it would not.
        let shared = !recipe.train.fresh_latents;
        let mut fake = self.generate(first, z, if shared { Mode::TRAIN } else { CONSTANT });
        let mut judged = self.update_discriminator(recipe, first, &fake.detach());
        for real in others {
            let z = if shared { z.clone() } else { self.draw(recipe) };
            let theirs = self.generate(real, &z, CONSTANT);
            judged = self.update_discriminator(recipe, real, &theirs);
        }
        let mut moved = None;
        for (update, real) in for_g.into_iter().enumerate() {
            if update > 0 || !shared {
                let z = if shared { z.clone() } else { self.draw(recipe) };
                fake = self.generate(real, &z, Mode::TRAIN);
            }
            // The last reference to the graph goes with it.
            let graph = std::mem::replace(&mut fake, Tensor::scalar(0.0));
            moved = Some(self.update_generator(recipe, real, graph));
        }
        (judged, moved.unwrap_or_else(|| panic!("step: a recipe without updates of G")))
    }

    fn generator_first(&mut self, recipe: &Recipe, reals: &[Real], z: &Tensor) -> (Judged, Moved) {
        let shared = !recipe.train.fresh_latents;
        let (for_d, for_g) = shares(recipe, reals);
        let mut z = z.clone();
        let mut moved = None;
        for (update, real) in for_g.into_iter().enumerate() {
            if update > 0 && !shared {
                z = self.draw(recipe);
            }
            let fake = self.generate(real, &z, Mode::TRAIN);
            moved = Some(self.update_generator(recipe, real, fake));
        }
        let mut judged = None;
        for real in for_d {
            if !shared {
                z = self.draw(recipe);
            }
            let fake = self.generate(real, &z, CONSTANT);
            judged = Some(self.update_discriminator(recipe, real, &fake));
        }
        let judged = judged.unwrap_or_else(|| panic!("step: no batch was given"));
        (judged, moved.unwrap_or_else(|| panic!("step: a recipe without updates of G")))
    }

    /// The learning rates and the momentum of this step, by the recipe's schedules.
    fn set_rates(&mut self, recipe: &Recipe) {
        let factor = recipe.optimizer.schedule.factor(self.step, self.settings.steps);
        self.optimizer_g.set_lr(recipe.optimizer(NetworkRole::Generator).lr * factor);
        self.optimizer_d.set_lr(recipe.optimizer(NetworkRole::Discriminator).lr * factor);
        let momentum = recipe.optimizer.momentum_at(self.step, self.settings.steps);
        self.optimizer_g.set_momentum(momentum);
        self.optimizer_d.set_momentum(momentum);
    }

    fn generate(&mut self, real: &Real, z: &Tensor, mode: Mode) -> Tensor {
        let condition = real.condition.as_ref().filter(|_| self.generator_is_told());
        self.with_noise(1.0, |own, noise| {
            own.generator
                .forward(z, ForwardCtx::from(mode).with_condition(condition).with_rng(noise))
        })
    }

    fn generator_is_told(&self) -> bool {
        self.settings
            .recipe
            .condition
            .as_ref()
            .is_some_and(|c| c.generator != ConditioningMethod::None)
    }

    /// Runs `f` with the run's stream of randomness for layers.
    fn with_noise<T>(&mut self, scale: f32, f: impl FnOnce(&Self, &NoiseRng) -> T) -> T {
        let noise = NoiseRng::new(self.step_rng.clone(), scale);
        let result = f(self, &noise);
        self.step_rng = noise.state();
        result
    }

    /// How strong noise still is, from 1 to 0.
    fn noise_scale(&self, recipe: &Recipe) -> f32 {
        match recipe.noise.decay_steps {
            0 => 1.0,
            steps => (1.0 - self.step as f64 / steps as f64).max(0.0) as f32,
        }
    }

    /// What D says of pictures, seen through the recipe's augmentation and noise.
    fn judge(
        &mut self,
        recipe: &Recipe,
        images: &Tensor,
        condition: Option<&Tensor>,
        mode: Mode,
        features: bool,
    ) -> Verdict {
        let seen = self.see(recipe, images);
        let scale = self.noise_scale(recipe);
        let names: Vec<&str> = if features {
            self.feature_layers.iter().map(String::as_str).collect()
        } else {
            Vec::new()
        };
        let names: Vec<String> = names.into_iter().map(String::from).collect();
        self.with_noise(scale, |own, noise| {
            let pass = ForwardCtx::from(mode).with_condition(condition).with_rng(noise);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let (out, features) = own.discriminator.features(&seen, pass, &names);
            verdict(recipe, out, features)
        })
    }

    fn see(&mut self, recipe: &Recipe, images: &Tensor) -> Tensor {
        let mut seen = images.clone();
        let s = *images.shape();
        let policy = recipe.augment.policy();
        if !policy.is_none() {
            seen = Augmentation::draw(
                &policy,
                &mut self.step_rng,
                s[0],
                [s[1], s[2], s[3]],
                &self.device,
            )
            .apply(&seen);
        }
        let std = recipe.noise.input as f32 * self.noise_scale(recipe);
        if std > 0.0 {
            seen = seen.add(&self.step_rng.draw(
                &self.device,
                s,
                Distribution::Normal { mean: 0.0, std },
            ));
        }
        seen
    }

    /// What D is told beside pictures.
    fn told<'a>(&self, recipe: &Recipe, real: &'a Real) -> Option<&'a Tensor> {
        let c = recipe.condition.as_ref()?;
        real.condition.as_ref().filter(|_| {
            !matches!(c.discriminator, ConditioningMethod::None | ConditioningMethod::Auxiliary)
        })
    }

    fn update_discriminator(&mut self, recipe: &Recipe, real: &Real, fake: &Tensor) -> Judged {
        let (judged, mut gradients) = if recipe.objective.relativistic {
            self.relative_losses(recipe, real, fake)
        } else {
            self.losses(recipe, real, fake)
        };
        let told = self.told(recipe, real).cloned();
        self.penalise(recipe, real, fake, told.as_ref(), &mut gradients);
        if let Some(history) = &mut self.history_d {
            history.add_gradients(
                &self.discriminator,
                &mut gradients,
                recipe.objective.historical_averaging,
            );
        }
        if recipe.optimizer.clip_gradient > 0.0 {
            nn::optim::clip_gradients(&mut gradients, recipe.optimizer.clip_gradient);
        }
        self.guard.check(&judged.loss_real.add(&judged.loss_fake), non_finite_source::D_LOSS);
        self.guard.check_all(&gradients, non_finite_source::D_GRADIENT);
        self.optimizer_d.step(&self.discriminator, &gradients, &self.guard);
        drop(gradients);
        if recipe.objective.clip > 0.0 {
            nn::optim::clip_weights(&self.discriminator, recipe.objective.clip);
        }
        if let Some(history) = &mut self.history_d {
            history.update(&self.discriminator);
        }
        judged
    }

    /// D's losses one after the other, so that only one graph is ever kept.
    fn losses(&mut self, recipe: &Recipe, real: &Real, fake: &Tensor) -> (Judged, Gradients) {
        let objective = recipe.objective.loss;
        let targets = self.targets(recipe, fake.shape()[0]);
        let told = self.told(recipe, real).cloned();

        let on_real = self.judge(recipe, &real.images, told.as_ref(), Mode::TRAIN, false);
        let d_real = on_real.logits.detach().sigmoid().mean_all();
        let mut loss_real = match (&on_real.classes, recipe.objective.semi_supervised) {
            (Some(classes), true) => self.labelled(real, &on_real.logits, classes),
            _ => objective.real(&on_real.logits, targets.0.as_ref()),
        };
        loss_real = self.with_classes(recipe, loss_real, &on_real, real);
        let mut gradients = loss_real.backward();
        let loss_real = loss_real.detach();
        let real_logits = on_real.logits.detach();
        drop(on_real);

        let on_fake = self.judge(recipe, fake, told.as_ref(), Mode::TRAIN, false);
        let d_fake = on_fake.logits.detach().sigmoid().mean_all();
        let mut loss_fake = match recipe.objective.semi_supervised {
            true => loss::semi_supervised_fake_loss(&on_fake.logits),
            false => objective.fake(&on_fake.logits, targets.1.as_ref()),
        };
        loss_fake = self.with_classes(recipe, loss_fake, &on_fake, real);
        let accuracy = accuracy(recipe, &real_logits, &on_fake.logits.detach());
        gradients.accumulate(loss_fake.backward());
        let loss_fake = loss_fake.detach();
        (Judged { loss_real, loss_fake, d_real, d_fake, accuracy }, gradients)
    }

    /// D's losses of logits that are compared with one another.
    fn relative_losses(
        &mut self,
        recipe: &Recipe,
        real: &Real,
        fake: &Tensor,
    ) -> (Judged, Gradients) {
        let targets = self.targets(recipe, fake.shape()[0]);
        let told = self.told(recipe, real).cloned();
        let on_real = self.judge(recipe, &real.images, told.as_ref(), Mode::TRAIN, false);
        let on_fake = self.judge(recipe, fake, told.as_ref(), Mode::TRAIN, false);
        let [d_real, d_fake] =
            [&on_real, &on_fake].map(|verdict| verdict.logits.detach().sigmoid().mean_all());
        let pair = (targets.0.as_ref(), targets.1.as_ref());
        let (loss_real, loss_fake) = recipe.objective.loss.relativistic_discriminator(
            &on_real.logits,
            &on_fake.logits,
            pair,
        );
        let loss_real = self.with_classes(recipe, loss_real, &on_real, real);
        let loss_fake = self.with_classes(recipe, loss_fake, &on_fake, real);
        // What D says of a picture is said of its distance from the mean of the other kind.
        let [reals, fakes] = [&on_real, &on_fake].map(|verdict| verdict.logits.detach());
        let accuracy =
            accuracy(recipe, &reals.sub(&fakes.mean_all()), &fakes.sub(&reals.mean_all()));
        let gradients = loss_real.add(&loss_fake).backward();
        (
            Judged {
                loss_real: loss_real.detach(),
                loss_fake: loss_fake.detach(),
                d_real,
                d_fake,
                accuracy,
            },
            gradients,
        )
    }

    /// What D is taught to say.
    fn targets(&mut self, recipe: &Recipe, count: usize) -> (Option<Tensor>, Option<Tensor>) {
        recipe.labels.draw(&mut self.step_rng, count, &self.device)
    }

    /// What keeps D smooth, added to its gradients.
    fn penalise(
        &mut self,
        recipe: &Recipe,
        real: &Real,
        fake: &Tensor,
        told: Option<&Tensor>,
        gradients: &mut Gradients,
    ) {
        let o = &recipe.objective;
        if o.gradient_penalty > 0.0 {
            let shape = Shape::new(&[real.images.shape()[0], 1, 1, 1]);
            let mix = self.step_rng.draw(
                &self.device,
                shape,
                Distribution::Uniform { low: 0.0, high: 1.0 },
            );
            let critic = |x: &Tensor| self.penalised(recipe, x, told);
            let penalty = loss::gradient_penalty(&critic, &real.images, fake, &mix)
                .scale(o.gradient_penalty as f32);
            gradients.accumulate(loss::gradients(&penalty, &self.discriminator));
        }
        if o.r1 > 0.0 && self.step.is_multiple_of(o.r1_every) {
            let critic = |x: &Tensor| self.penalised(recipe, x, told);
            let weight = o.r1 / 2.0 * o.r1_every as f64;
            let penalty = loss::r1(&critic, &real.images).scale(weight as f32);
            gradients.accumulate(loss::gradients(&penalty, &self.discriminator));
        }
    }

    /// D without noise and augmentation, whose slope is penalised.
    fn penalised(&self, recipe: &Recipe, images: &Tensor, told: Option<&Tensor>) -> Tensor {
        let out =
            self.discriminator.forward(images, ForwardCtx::from(PENALTY).with_condition(told));
        verdict(recipe, out, Vec::new()).logits
    }

    /// A loss and what D is asked about classes beside it.
    fn with_classes(
        &self,
        recipe: &Recipe,
        loss: Tensor,
        verdict: &Verdict,
        real: &Real,
    ) -> Tensor {
        let Some(c) =
            recipe.condition.as_ref().filter(|c| c.discriminator == ConditioningMethod::Auxiliary)
        else {
            return loss;
        };
        let (Some(classes), Some(condition)) = (&verdict.classes, &real.condition) else {
            return loss;
        };
        let kind = if c.kind == ConditionKind::Attributes {
            ClassTargets::Attributes
        } else {
            ClassTargets::OneHot
        };
        loss.add(
            &loss::auxiliary_classifier(classes, condition, kind).scale(c.auxiliary_weight as f32),
        )
    }

    /// The loss of the K+1 classes on labelled real pictures: L_lab and its half of L_unl, −½ E[LSE l] + ½ E[softplus(LSE l)], which is the mean of
    /// ½ softplus(−LSE l).
    fn labelled(&self, real: &Real, logits: &Tensor, classes: &Tensor) -> Tensor {
        let labels = real
            .condition
            .as_ref()
            .unwrap_or_else(|| panic!("step: a semi-supervised recipe without labels"));
        let num_labels = (self.settings.recipe.objective.labelled > 0).then_some(real.known);
        loss::semi_supervised_real_loss(classes, logits, labels, num_labels)
    }

    /// A step of G through D, whose weights' gradients are not computed.
    fn update_generator(&mut self, recipe: &Recipe, real: &Real, fake: Tensor) -> Moved {
        let o = &recipe.objective;
        let told = self.told(recipe, real).cloned();
        let matching = o.feature_matching > 0.0;
        // D's parameters stay out of the graph: neither their gradients nor what those would be made of exists.
        let judged = self.judge(recipe, &fake, told.as_ref(), CONSTANT, matching);
        drop(fake);
        let mut loss_g = if matching {
            let on_real = self.judge(recipe, &real.images, told.as_ref(), CONSTANT, true);
            loss::feature_matching(&on_real.features, &judged.features, o.feature_norm)
                .scale(o.feature_matching as f32)
        } else if o.relativistic {
            let on_real = self.judge(recipe, &real.images, told.as_ref(), CONSTANT, false);
            // What D calls real changes places with what it calls generated.
            let (real, fake) = (&on_real.logits, &judged.logits);
            let (real, fake) = if recipe.labels.swap { (fake, real) } else { (real, fake) };
            o.loss.relativistic_generator(real, fake)
        } else if recipe.labels.swap {
            o.loss.swapped_generator(&judged.logits)
        } else {
            o.loss.generator(&judged.logits)
        };
        loss_g = self.with_classes(recipe, loss_g, &judged, real);
        drop(judged);
        let mut gradients = loss_g.backward();
        let loss_g = loss_g.detach();
        if let Some(history) = &mut self.history_g {
            history.add_gradients(&self.generator, &mut gradients, o.historical_averaging);
        }
        if recipe.optimizer.clip_gradient > 0.0 {
            nn::optim::clip_gradients(&mut gradients, recipe.optimizer.clip_gradient);
        }
        self.guard.check(&loss_g, non_finite_source::G_LOSS);
        self.guard.check_all(&gradients, non_finite_source::G_GRADIENT);
        let gradient =
            if self.should_log_next() { monitor::gradient_norm(&gradients) } else { None };
        self.optimizer_g.step(&self.generator, &gradients, &self.guard);
        drop(gradients);
        if let Some(history) = &mut self.history_g {
            history.update(&self.generator);
        }
        Moved { loss: loss_g, gradient }
    }
}

/// The pictures of D's updates, and those of G's: the first ones of D where a step has no others.
fn shares<'a>(recipe: &Recipe, reals: &'a [Real]) -> (&'a [Real], Vec<&'a Real>) {
    let t = &recipe.train;
    if !t.alternate || reals.len() < t.batches_per_step() {
        let [first, ..] = reals else { panic!("step: no batch was given") };
        return (reals, vec![first; t.g_steps]);
    }
    let (for_d, for_g) = match t.first {
        NetworkRole::Discriminator => reals.split_at(t.d_steps),
        NetworkRole::Generator => {
            let (for_g, for_d) = reals.split_at(t.g_steps);
            (for_d, for_g)
        }
    };
    (for_d, for_g.iter().collect())
}

/// The share of pictures about which D is right, which is the other side where labels are swapped.
fn accuracy(recipe: &Recipe, real: &Tensor, fake: &Tensor) -> Tensor {
    let (real, fake) = if recipe.labels.swap { (fake, real) } else { (real, fake) };
    monitor::accuracy(recipe.objective.loss, recipe.objective.relativistic, real, fake)
}

/// D's numbers taken apart: `[N]`, `[N, 1 + K]` or `[N, K]`.
fn verdict(recipe: &Recipe, out: Tensor, features: Vec<Tensor>) -> Verdict {
    let count = out.shape()[0];
    if recipe.objective.semi_supervised {
        return Verdict { logits: out.log_sum_exp(1, false), classes: Some(out), features };
    }
    match recipe.num_d_outputs() {
        1 => Verdict { logits: out, classes: None, features },
        n => Verdict {
            logits: out.narrow(1, 0, 1).reshape([count]),
            classes: Some(out.narrow(1, 1, n - 1)),
            features,
        },
    }
}
