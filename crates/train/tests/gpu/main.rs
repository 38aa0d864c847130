//! Training, resuming and sampling on a GPU.

#[path = "../../../tensor/tests/common/adapter.rs"]
mod adapter;
#[path = "../common/fixtures.rs"]
mod fixtures;
#[path = "../common/objectives.rs"]
mod objectives;
#[path = "../common/settings.rs"]
mod settings;
#[path = "../common/trajectory.rs"]
mod trajectory;

use data::{Batch, Cursor};
use nn::Recipe;
use objectives::Setup;
use runs::{Checkpoint, DatasetId};
use tensor::distributed::run_on_threads;
use tensor::rng::Philox;
use tensor::{Device, Tensor};
use train::{BatchNormMode, Sampler, Settings, TrainError, Trainer, latents};

fn main() {
    adapter::run(
        &[
            ("ten_steps_follow_pytorch", |device| {
                trajectory::ten_steps_follow_pytorch(&Setup::single(device))
            }),
            ("losses_follow_pytorch", |device| {
                objectives::losses_follow_pytorch(&Setup::single(device))
            }),
            ("recipes_train_as_on_the_cpu", recipes_train_as_on_the_cpu),
            ("a_checkpoint_resumes_on_another_device", a_checkpoint_resumes_on_another_device),
            ("an_image_depends_on_its_latent_alone", an_image_depends_on_its_latent_alone),
        ],
        &[
            ("two_ranks_follow_pytorch", two_ranks_follow_pytorch),
            ("a_steady_step_is_lean", a_steady_step_is_lean),
            ("a_nan_loss_stops_all_updates", a_nan_loss_stops_all_updates),
            (
                "a_lost_device_ends_a_step_and_saves_nothing",
                a_lost_device_ends_a_step_and_saves_nothing,
            ),
        ],
    );
}

fn own() -> Device {
    adapter::open().unwrap()
}

/// Each rank has a device of its own; what they sum goes through the host.
fn two_ranks_follow_pytorch() {
    run_on_threads(2, |group| {
        let setup = Setup { device: own(), group, tolerance: 6.0 };
        trajectory::ten_steps_follow_pytorch(&setup);
    });
}

fn settings(side: usize, width: usize, batch: usize) -> Settings {
    let mut recipe = settings::tiny_recipe(side);
    (recipe.generator.width, recipe.discriminator.width) = (width, width);
    (recipe.train.batch, recipe.train.ema) = (batch, 0.9);
    settings::base(recipe, 100)
}

/// The batch of step `number`, the same on every device.
fn batch(settings: &Settings, number: u64) -> Batch {
    let [h, w] = settings.recipe.image.size;
    let count = settings.recipe.train.batch;
    let images = Philox::new(5, number).uniform([count, h, w, 3], -1.0, 1.0).to_vec();
    let cursor = Cursor { batch: number, ..Cursor::new(settings.seed) };
    Batch { images, labels: None, indices: (0..count).collect(), cursor, epoch_end: false }
}

fn checkpoint(trainer: &Trainer) -> Checkpoint {
    trainer.checkpoint(&DatasetId::default()).unwrap()
}

/// Steps `range` of a run on a device, from a checkpoint where there is one.
fn steps(device: &Device, from: Option<&Checkpoint>, range: std::ops::Range<u64>) -> Checkpoint {
    let settings = settings(16, 8, 4);
    let mut trainer = match from {
        Some(checkpoint) => Trainer::resume(checkpoint, device).unwrap(),
        None => Trainer::new(settings.clone(), device).unwrap(),
    };
    for number in range {
        trainer.train_step(&[(&batch(&settings, number)).into()]).wait().unwrap();
    }
    checkpoint(&trainer)
}

/// The largest relative difference of two checkpoints' tensors, which must have the same names.
fn difference(a: &Checkpoint, b: &Checkpoint) -> f32 {
    assert!(a.tensors.keys().eq(b.tensors.keys()));
    let pairs = a
        .tensors
        .iter()
        .filter_map(|(name, a)| Some((name, a.as_f32()?, b.tensors[name].as_f32()?)));
    let each = pairs.map(|(name, a, b)| {
        assert_eq!(a.len(), b.len(), "{name}");
        let scale = b.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
        a.iter().zip(b).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / scale
    });
    each.fold(0.0, f32::max)
}

fn a_checkpoint_resumes_on_another_device(device: &Device) {
    let cpu = Device::Cpu;
    let half = [steps(&cpu, None, 0..3), steps(device, None, 0..3)];
    // Both have sampled the same weights and latents.
    assert!(
        difference(&half[1], &half[0]) < 1e-2,
        "three steps: {}",
        difference(&half[1], &half[0])
    );
    let whole = steps(&cpu, Some(&half[0]), 3..6);
    for (name, other) in [
        ("gpu from cpu", steps(device, Some(&half[0]), 3..6)),
        ("cpu from gpu", steps(&cpu, Some(&half[1]), 3..6)),
        ("gpu from gpu", steps(device, Some(&half[1]), 3..6)),
    ] {
        // Adam's first steps move every weight by the whole learning rate, whatever the rounding:
        // hence the bound.
        let e = difference(&other, &whole);
        assert!(e < 2e-2, "{name}: {e}");
        assert_eq!(other.meta.step, 6);
        assert_eq!(other.meta.state, whole.meta.state, "{name}: counters");
    }
    // On one device, interrupted or not, the bits are the same.
    let [whole, parts] = [steps(device, None, 0..6), steps(device, Some(&half[1]), 3..6)];
    assert_eq!(whole.tensors, parts.tensors);
}

fn an_image_depends_on_its_latent_alone(device: &Device) {
    let checkpoint = steps(&Device::Cpu, None, 0..2);
    for mode in [None, Some(BatchNormMode::Recalibrated)] {
        let [ours, reference] =
            [device, &Device::Cpu].map(|device| Sampler::new(&checkpoint, mode, device).unwrap());
        let z = latents(ours.recipe(), 5, 9);
        let all = ours.sample(&z, None, 9, |_| ()).unwrap();
        assert_eq!(all.device(), Device::Cpu);
        let all = all.to_vec();
        assert!(all == ours.sample(&z, None, 2, |_| ()).unwrap().to_vec(), "{mode:?}");
        let expected = reference.sample(&z, None, 9, |_| ()).unwrap().to_vec();
        let worst = all.iter().zip(&expected).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(worst < 1e-4, "{mode:?}: {worst}");
    }
}

/// Every preset, and the recipes that together use every option.
fn recipes_train_as_on_the_cpu(device: &Device) {
    let dir = tempfile::tempdir().unwrap();
    let places = fixtures::labeled(dir.path());
    let presets = Recipe::names().map(|name| (fixtures::small(name), 20));
    for (recipe, steps) in
        presets.chain(fixtures::everything().into_iter().map(|recipe| (recipe, 3)))
    {
        let name = recipe.name.clone();
        let rows = |device: &Device, steps: u64, place: &str| {
            fixtures::trained(
                &recipe,
                steps,
                &places,
                &dir.path().join(format!("{name}-{place}")),
                device,
            )
            .1
        };
        let (ours, reference) = (rows(device, steps, "gpu"), rows(&Device::Cpu, 1, "cpu"));
        // Compared before the first update of G: after it, Adam has moved every weight by the whole
        // learning rate, whatever the rounding.
        let (d, expected) = (ours[0].d_loss, reference[0].d_loss);
        assert!(
            (d - expected).abs() < 1e-2 * expected.abs().max(1.0),
            "{name}: D's loss is {d}, on the CPU {expected}"
        );
    }
}

/// At the widths of the DCGAN for 64×64 images, where small batches cut most sums into parts.
fn a_steady_step_is_lean() {
    let device = own();
    let Device::Gpu(gpu) = &device else { panic!("{device}") };
    // Steps 3 and 6 are logged.
    let settings = Settings { log_every: 3, ..settings(64, 64, 2) };
    let mut trainer = Trainer::new(settings.clone(), &device).unwrap();
    let mut counters = Vec::new();
    for number in 0..6 {
        let measured = trainer.train_step(&[(&batch(&settings, number)).into()]);
        counters.push(gpu.counters());
        measured.wait().unwrap();
    }
    let [.., first, before, after] = counters[..] else { panic!() };
    for (from, to, most) in [(&first, &before, 250), (&before, &after, 300)] {
        let (dispatches, submits) = (to.dispatches - from.dispatches, to.submits - from.submits);
        assert!(dispatches <= most, "{dispatches} dispatches in a step");
        // A step of 5 GFLOP; a software adapter gets at most 2 at a time.
        assert!(submits <= 4, "{submits} submits in a step");
    }
    assert_eq!(after.pipelines, counters[2].pipelines, "pipelines after the first logged step");
    assert_eq!(after.allocations, counters[2].allocations, "buffers after the third step");
}

fn a_nan_loss_stops_all_updates() {
    let device = own();
    let settings = settings(16, 8, 4);
    let mut trainer = Trainer::new(settings.clone(), &device).unwrap();
    trainer.train_step(&[(&batch(&settings, 0)).into()]).wait().unwrap();
    let weights = |trainer: &Trainer| {
        let (g, d) = trainer.networks();
        [g.state_dict()["main.0.weight"].clone(), d.state_dict()["main.0.weight"].clone()]
    };
    let before = weights(&trainer);
    let real = Tensor::full_on(&device, [4, 16, 16, 3], f32::NAN);
    let z = Tensor::full_on(&device, [4, 6], 0.5);
    let bad = trainer.train_step_on(&real, &z, None);
    // The host has not read the metrics yet and continues.
    let later = trainer.train_step(&[(&batch(&settings, 1)).into()]);
    match bad.wait() {
        Err(TrainError::NonFinite { step: 2, what }) => {
            assert!(what == "the discriminator's loss", "{what}")
        }
        other => panic!("{other:?}"),
    }
    assert!(later.wait().is_err());
    assert_eq!(weights(&trainer), before);
}

fn a_lost_device_ends_a_step_and_saves_nothing() {
    let device = own();
    let settings = settings(16, 8, 4);
    let mut trainer = Trainer::new(settings.clone(), &device).unwrap();
    trainer.train_step(&[(&batch(&settings, 0)).into()]).wait().unwrap();
    if let Device::Gpu(gpu) = &device {
        gpu.destroy();
    }
    let error = trainer.train_step(&[(&batch(&settings, 1)).into()]).wait().unwrap_err();
    assert!(
        matches!(error, TrainError::Gpu(_)) && error.to_string().contains("was lost"),
        "{error}"
    );
    assert!(matches!(trainer.checkpoint(&DatasetId::default()), Err(TrainError::Gpu(_))));
}
