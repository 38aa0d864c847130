//! The graph, the optimizer and the average of weights in an adversarial loop.

mod common;

use common::{floats, values};
use nn::loss::GanLoss;
use nn::recipe::NetworkRole;
use nn::{
    BatchNormStats, Ema, Mode, Network, NnError, Optimizer, OptimizerKind, OptimizerOptions,
    Recipe, TensorProblem,
};
use tensor::autograd::grad;
use tensor::rng::Philox;
use tensor::{Activation, Device, FiniteCheck, HostTensor, Tensor, TensorData};

fn tiny(seed: u64) -> (Recipe, Network, Network, Philox) {
    let mut recipe = Recipe::preset("small").expect("a preset");
    recipe.image.size = [16, 16];
    (recipe.generator.width, recipe.discriminator.width, recipe.generator.latent) = (4, 4, 5);
    let mut rng = Philox::new(seed, 0);
    let (g, d) = recipe.build(&mut rng).expect("valid");
    (recipe, g, d, rng)
}

#[test]
fn nothing_is_recorded_without_tracking() {
    let (recipe, g, d, mut rng) = tiny(1);
    let z = recipe.sample_z(&mut rng, 3, &Device::Cpu);
    for mode in [Mode::SAMPLE, Mode::BATCH] {
        let image = g.forward(&z, mode);
        assert!(!image.is_tracked());
        assert!(!d.forward(&image, mode).is_tracked());
    }
    assert!(g.forward(&z, Mode::TRAIN).is_tracked());
    assert!(g.forward(&z, Mode { statistics: BatchNormStats::Running, track: true }).is_tracked());
}

#[test]
fn the_generator_s_step_computes_no_gradient_for_the_discriminator() {
    let (recipe, g, d, mut rng) = tiny(1);
    let z = recipe.sample_z(&mut rng, 3, &Device::Cpu);
    // Requested by key, through a discriminator whose parameters are in the graph.
    let logits =
        GanLoss::NonSaturating.generator(&d.forward(&g.forward(&z, Mode::TRAIN), Mode::TRAIN));
    let by_key = grad(&[(&logits, &Tensor::scalar(1.0))], &g.param_ids(), false);
    assert!(by_key.iter().all(Option::is_some));
    // Or through one whose parameters are constants.
    let frozen = Mode { track: false, ..Mode::TRAIN };
    let gradients = GanLoss::NonSaturating
        .generator(&d.forward(&g.forward(&z, Mode::TRAIN), frozen))
        .backward();
    assert_eq!(gradients.len(), g.params().len());
    for (key, expected) in g.param_ids().iter().zip(by_key) {
        let found = gradients.get(*key).expect("a gradient").to_vec();
        let expected = expected.expect("a gradient").to_vec();
        let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-5 * largest));
    }
    assert!(d.param_ids().iter().all(|key| gradients.get(*key).is_none()));
}

/// Runs one adversarial step and returns how many tensors the optimizers had to copy.
fn step(
    recipe: &Recipe,
    (g, d): (&Network, &Network),
    optimizers: &mut [Optimizer; 2],
    rng: &mut Philox,
) -> usize {
    let real = rng.uniform([4, 16, 16, 1], -1.0, 1.0);
    let fake = g.forward(&recipe.sample_z(rng, 4, &Device::Cpu), Mode::TRAIN);
    let mut grads = GanLoss::NonSaturating.real(&d.forward(&real, Mode::TRAIN), None).backward();
    grads.accumulate(
        GanLoss::NonSaturating.fake(&d.forward(&fake.detach(), Mode::TRAIN), None).backward(),
    );
    let copies = optimizers[1].step(d, &grads, &FiniteCheck::new(&Device::Cpu));
    let grads = GanLoss::NonSaturating
        .generator(&d.forward(&fake, Mode { track: false, ..Mode::TRAIN }))
        .backward();
    copies + optimizers[0].step(g, &grads, &FiniteCheck::new(&Device::Cpu))
}

#[test]
fn a_steady_step_copies_nothing() {
    let (recipe, g, d, mut rng) = tiny(1);
    let mut optimizers = [
        Optimizer::new(&g, recipe.optimizer(NetworkRole::Generator)),
        Optimizer::new(&d, recipe.optimizer(NetworkRole::Generator)),
    ];
    let mut ema = Ema::new(&g, 0.9);
    let before = (values(&g), values(&d));
    for i in 0..4 {
        let copies = step(&recipe, (&g, &d), &mut optimizers, &mut rng);
        ema.update(&g);
        // The first step separates the storage that network and average share at the start.
        assert!(i == 0 || copies == 0, "step {i}: {copies} copies");
    }
    let after = (values(&g), values(&d));
    for (before, after) in [(before.0, after.0), (before.1, after.1)] {
        assert!(
            before.iter().all(|(name, value)| after[name] != *value),
            "a parameter did not move"
        );
    }
    // A tensor that still refers to the old values keeps them.
    let held = g.params()[0].1.value();
    let kept = held.to_vec();
    assert!(step(&recipe, (&g, &d), &mut optimizers, &mut rng) > 0);
    assert_eq!(held.to_vec(), kept);
    assert_ne!(g.params()[0].1.value().to_vec(), kept);
}

#[test]
fn saved_optimizers_and_networks_resume_bit_for_bit() {
    let (recipe, g, d, mut rng) = tiny(1);
    let mut optimizers = [
        Optimizer::new(&g, recipe.optimizer(NetworkRole::Generator)),
        Optimizer::new(&d, recipe.optimizer(NetworkRole::Generator)),
    ];
    for _ in 0..2 {
        step(&recipe, (&g, &d), &mut optimizers, &mut rng);
    }
    let (_, g2, d2, _) = tiny(2);
    g2.load_state_dict(&g.state_dict()).expect("the same recipe");
    d2.load_state_dict(&d.state_dict()).expect("the same recipe");
    let mut optimizers2 = [
        Optimizer::new(&g2, recipe.optimizer(NetworkRole::Generator)),
        Optimizer::new(&d2, recipe.optimizer(NetworkRole::Generator)),
    ];
    for (to, from) in optimizers2.iter_mut().zip(&optimizers) {
        to.load_state(&from.state()).expect("the same recipe");
        assert_eq!((to.steps(), to.state()), (2, from.state()));
    }
    let mut rng2 = rng.clone();
    for _ in 0..2 {
        step(&recipe, (&g, &d), &mut optimizers, &mut rng);
        step(&recipe, (&g2, &d2), &mut optimizers2, &mut rng2);
    }
    assert_eq!(g.state_dict(), g2.state_dict());
    assert_eq!(d.state_dict(), d2.state_dict());
    assert_eq!(optimizers[0].state(), optimizers2[0].state());
}

#[test]
fn an_optimizer_refuses_another_network_s_state() {
    let (recipe, g, d, _) = tiny(1);
    let mut optimizer = Optimizer::new(&g, recipe.optimizer(NetworkRole::Generator));
    let error = optimizer
        .load_state(&Optimizer::new(&d, recipe.optimizer(NetworkRole::Generator)).state())
        .expect_err("another network");
    assert!(matches!(error, NnError::MissingTensor { .. } | NnError::WrongShape { .. }), "{error}");
    let mut state = optimizer.state();
    state.insert("steps".into(), HostTensor::scalar_i64(-1));
    let problem = TensorProblem::Count(-1);
    assert_eq!(
        optimizer.load_state(&state),
        Err(NnError::BadTensor { name: "steps".into(), problem })
    );
    let sgd = OptimizerOptions {
        rule: OptimizerKind::Sgd { momentum: 0.9, nesterov: false },
        ..recipe.optimizer(NetworkRole::Generator)
    };
    let error = optimizer.load_state(&Optimizer::new(&g, sgd).state()).expect_err("another rule");
    assert!(
        matches!(&error, NnError::MissingTensor { name, .. } if name.ends_with(".m")),
        "{error}"
    );
    optimizer.set_lr(0.5);
    assert_eq!((optimizer.options().lr, optimizer.steps()), (0.5, 0));
}

#[test]
fn the_average_follows_by_its_decay() {
    let (_, g, _, mut rng) = tiny(1);
    let mut ema = Ema::new(&g, 0.75);
    let start = g.state_dict();
    assert_eq!(ema.state_dict(), start);
    for (_, param) in g.params() {
        param.set(rng.normal(*param.value().shape(), 0.0, 1.0));
    }
    let mut end = g.state_dict();
    end.insert("main.1.num_batches_tracked".into(), HostTensor::scalar_i64(7));
    let HostTensor { data: TensorData::F32(data), .. } =
        end.get_mut("main.1.running_mean").expect("a buffer")
    else {
        panic!("F32")
    };
    data.fill(4.0);
    g.load_state_dict(&end).expect("the same network");
    ema.update(&g);
    let average = ema.state_dict();
    for name in ["main.0.weight", "main.1.weight", "main.1.running_mean"] {
        for ((a, b), found) in
            floats(&start, name).iter().zip(floats(&end, name)).zip(floats(&average, name))
        {
            assert!((0.75 * a + 0.25 * b - found).abs() < 1e-6, "{name}");
        }
    }
    assert_eq!(average["main.1.num_batches_tracked"], HostTensor::scalar_i64(7));
    assert_eq!(g.state_dict(), end, "the network itself is untouched");

    ema.swap(&g);
    assert_eq!(g.state_dict(), average);
    assert_eq!(ema.state_dict(), end);
    ema.swap(&g);
    assert_eq!((g.state_dict(), ema.state_dict()), (end.clone(), average.clone()));

    let mut other = Ema::new(&g, 0.75);
    other.load_state_dict(&average).expect("the same network");
    assert_eq!(other.state_dict(), average);
    let mut short = average.clone();
    short.remove("main.0.weight");
    assert!(other.load_state_dict(&short).is_err());
    assert_eq!(other.state_dict(), average);
}

#[test]
fn recalibrated_statistics_are_the_average_over_the_batches() {
    let norm = nn::layers::BatchNorm::new(2, 1e-5, 0.1);
    let net = Network::new(vec![
        ("n".into(), nn::Layer::from(norm)),
        ("a".into(), nn::Layer::from(Activation::None)),
    ]);
    net.forward(&Tensor::from_slice(&[50.0, -50.0, 90.0, 3.0], [2, 2]), Mode::TRAIN);
    let batches =
        [[1.0, 10.0, 3.0, 10.0], [5.0, 0.0, 9.0, 4.0]].map(|b| Tensor::from_slice(&b, [2, 2]));
    net.recalibrate(batches);
    let state = net.state_dict();
    // Means 2, 10 and 7, 2; unbiased variances 2, 0 and 8, 8.
    assert_eq!(floats(&state, "n.running_mean"), [4.5, 6.0]);
    assert_eq!(floats(&state, "n.running_var"), [5.0, 4.0]);
    assert_eq!(state["n.num_batches_tracked"], HostTensor::scalar_i64(2));
    net.recalibrate([]);
    assert_eq!(net.state_dict(), state);
}

#[test]
fn an_image_does_not_depend_on_its_batch_mates_under_running_statistics() {
    let (recipe, g, _, mut rng) = tiny(3);
    let batches: Vec<Tensor> = (0..3).map(|_| recipe.sample_z(&mut rng, 8, &Device::Cpu)).collect();
    g.recalibrate(batches);
    let z = recipe.sample_z(&mut rng, 5, &Device::Cpu);
    let all = g.forward(&z, Mode::SAMPLE);
    let alone = g.forward(&z.narrow(0, 3, 1), Mode::SAMPLE);
    assert_eq!(all.narrow(0, 3, 1).to_vec(), alone.to_vec());
    assert_ne!(g.forward(&z, Mode::BATCH).narrow(0, 3, 1).to_vec(), alone.to_vec());
}
