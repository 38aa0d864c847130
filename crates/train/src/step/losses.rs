//! The losses of both networks as functions of a recipe and of D's output.

use super::batch::DeviceBatch;
use nn::loss::{self, ClassTargets};
use nn::recipe::{ConditionKind, ConditioningMethod};
use nn::{DiscriminatorOutput, Recipe};
use tensor::Tensor;
use tensor::distributed::BatchShard;

/// D's loss on real samples, with the class loss where D is a classifier.
pub fn real_loss(
    recipe: &Recipe,
    on_real: &DiscriminatorOutput,
    batch: &DeviceBatch,
    target: Option<&Tensor>,
    shard: &BatchShard,
) -> Tensor {
    let o = &recipe.objective;
    let loss = match &on_real.classes {
        Some(classes) if o.semi_supervised => {
            let labels = batch
                .condition
                .as_ref()
                .unwrap_or_else(|| panic!("train_step: a semi-supervised recipe without labels"));
            let num_labels = batch.num_labels as f64 * f64::from(shard.share());
            let num_labels = (o.num_labels > 0).then_some(num_labels);
            loss::semi_supervised_real_loss(classes, &on_real.logits, labels, num_labels)
        }
        _ => o.loss.real(&on_real.logits, target),
    };
    add_class_loss(recipe, loss, on_real, batch)
}

/// D's loss on generated samples, with the class loss where D is a classifier.
pub fn fake_loss(
    recipe: &Recipe,
    on_fake: &DiscriminatorOutput,
    batch: &DeviceBatch,
    target: Option<&Tensor>,
) -> Tensor {
    let o = &recipe.objective;
    let loss = if o.semi_supervised {
        loss::semi_supervised_fake_loss(&on_fake.logits)
    } else {
        o.loss.fake(&on_fake.logits, target)
    };
    add_class_loss(recipe, loss, on_fake, batch)
}

/// D's losses on real and on generated samples in the relativistic average form
/// (Jolicoeur-Martineau 2019).
pub fn relativistic_losses(
    recipe: &Recipe,
    on_real: &DiscriminatorOutput,
    on_fake: &DiscriminatorOutput,
    batch: &DeviceBatch,
    targets: (Option<&Tensor>, Option<&Tensor>),
    shard: &BatchShard,
) -> (Tensor, Tensor) {
    let loss = recipe.objective.loss;
    let (real, fake) = (&on_real.logits, &on_fake.logits);
    let (real, fake) = loss.relativistic_discriminator(real, fake, targets, shard);
    (add_class_loss(recipe, real, on_real, batch), add_class_loss(recipe, fake, on_fake, batch))
}

/// G's adversarial loss on D's logits `[N]` of its samples.
pub fn generator_loss(recipe: &Recipe, fake: &Tensor) -> Tensor {
    if recipe.labels.swap {
        recipe.objective.loss.swapped_generator(fake)
    } else {
        recipe.objective.loss.generator(fake)
    }
}

/// G's adversarial loss in the relativistic average form.
pub fn relativistic_generator_loss(
    recipe: &Recipe,
    real: &Tensor,
    fake: &Tensor,
    shard: &BatchShard,
) -> Tensor {
    // With swapped labels generated samples have the target of real ones: the kinds change roles.
    let (real, fake) = if recipe.labels.swap { (fake, real) } else { (real, fake) };
    recipe.objective.loss.relativistic_generator(real, fake, shard)
}

/// Adds the weighted loss of an auxiliary classifier (Odena et al. 2017) where D is one.
pub fn add_class_loss(
    recipe: &Recipe,
    loss: Tensor,
    output: &DiscriminatorOutput,
    batch: &DeviceBatch,
) -> Tensor {
    let auxiliary =
        |c: &&nn::recipe::ConditionConfig| c.discriminator == ConditioningMethod::Auxiliary;
    let (Some(condition), Some(classes), Some(targets)) =
        (recipe.condition.as_ref().filter(auxiliary), &output.classes, &batch.condition)
    else {
        return loss;
    };
    let kind = match condition.kind {
        ConditionKind::Attributes => ClassTargets::Attributes,
        _ => ClassTargets::OneHot,
    };
    let class_loss = loss::auxiliary_classifier(classes, targets, kind);
    loss.add(&class_loss.scale(condition.auxiliary_weight as f32))
}
