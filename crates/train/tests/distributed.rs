//! Several processes train as one would: ranks are threads of the test's process.

#[path = "common/fixtures.rs"]
mod fixtures;
#[path = "common/objectives.rs"]
mod objectives;
#[path = "common/settings.rs"]
mod settings;
#[path = "common/trajectory.rs"]
mod trajectory;

use data::{Batch, Cursor};
use nn::Recipe;
use objectives::{Setup, select};
use runs::{DatasetId, RunDir, checkpoint, checkpoint_retention, metrics};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tensor::distributed::{ProcessGroup, run_on_threads};
use tensor::rng::Philox;
use tensor::{Device, HostTensor};
use train::monitor::{Alert, AlertAction, AlertKind, MonitorConfig, SampleStats};
use train::{Event, RealBatch, RunOutcome, Settings, StepMetrics, TrainError, Trainer};

/// Sums over ranks are rounded in another order than those of one process, whose tolerance is 3.
const TOLERANCE: f64 = 6.0;

#[test]
fn ranks_follow_pytorch() {
    for ranks in 2..=4 {
        run_on_threads(ranks, |group| {
            let setup = Setup { device: Device::Cpu, group, tolerance: TOLERANCE };
            trajectory::ten_steps_follow_pytorch(&setup);
            objectives::losses_follow_pytorch(&setup);
        });
    }
}

/// The metrics of the steps and the tensors of the checkpoint after them.
type Results = (Vec<StepMetrics>, BTreeMap<String, HostTensor>);

/// Three steps on the same random images and conditions whatever the group.
fn train(recipe: &Recipe, group: ProcessGroup) -> Results {
    let settings = settings::base(recipe.clone(), 3);
    let trainer = Trainer::new(settings, &Device::Cpu).unwrap();
    let mut trainer = trainer.with_process_group(group).unwrap();
    let (rows, size) = (trainer.rows(), recipe.train.batch);
    let image = recipe.image.size.iter().product::<usize>() * recipe.image.channels;
    let mut rng = Philox::new(11, 0);
    let mut metrics = Vec::new();
    for _ in 0..3 {
        let mut batches = Vec::new();
        for _ in 0..recipe.train.batches_per_step() {
            let images = rng.uniform([size, image], -1.0, 1.0).to_vec();
            let condition =
                (recipe.condition_size() > 0).then(|| conditions(recipe, rng.below(1000) as usize));
            let batch = Batch {
                images: select(&images, &rows, image),
                labels: None,
                indices: rows.iter().cloned().flatten().collect(),
                cursor: Cursor::new(0),
                epoch_end: false,
            };
            let own = |values: Vec<f32>| select(&values, &rows, recipe.condition_size());
            batches.push((batch, condition.map(own)));
        }
        let real: Vec<_> = batches
            .iter()
            .map(|(batch, condition)| RealBatch { batch, condition: condition.clone() })
            .collect();
        metrics.push(trainer.train_step(&real).wait().unwrap());
    }
    let dataset = DatasetId { name: "random".into(), fingerprint: String::new() };
    (metrics, trainer.checkpoint(&dataset).unwrap().tensors)
}

/// One-hot rows, some of which have no label where the recipe hides labels.
fn conditions(recipe: &Recipe, number: usize) -> Vec<f32> {
    let size = recipe.condition_size();
    let hidden = |row: usize| recipe.objective.num_labels > 0 && row % 3 == 1;
    let row = |row: usize| {
        (0..size).map(move |i| f32::from(u8::from(i == (number + row) % size && !hidden(row))))
    };
    (0..recipe.train.batch).flat_map(row).collect()
}

/// |a − b| / |b|, the norms over all tensors.
fn distance(a: &BTreeMap<String, HostTensor>, b: &BTreeMap<String, HostTensor>) -> f64 {
    assert!(a.keys().eq(b.keys()));
    let (mut off, mut all) = (0.0, 0.0);
    for (name, b) in b {
        match (a[name].as_f32(), b.as_f32()) {
            (Some(a), Some(b)) => {
                assert_eq!(a.len(), b.len(), "{name}");
                for (a, b) in a.iter().zip(b) {
                    off += (f64::from(*a) - f64::from(*b)).powi(2);
                    all += f64::from(*b).powi(2);
                }
            }
            (a, b) => assert!(a == b, "{name}"),
        }
    }
    (off / all).sqrt()
}

fn assert_same_run((metrics, tensors): &Results, (expected, whole): &Results, name: &str) {
    let bound = 2e-4;
    let away = distance(tensors, whole);
    assert!(away < bound, "{name}: the weights differ by {away:.1e}");
    for (ours, reference) in metrics.iter().zip(expected) {
        let values = |m: &StepMetrics| {
            let norm = f64::from(m.g_grad_norm.unwrap_or(0.0));
            [m.d_loss, m.g_loss, m.d_real, m.d_fake, m.d_accuracy]
                .map(f64::from)
                .into_iter()
                .chain([norm])
                .collect::<Vec<f64>>()
        };
        for (a, b) in values(ours).into_iter().zip(values(reference)) {
            assert!(
                (a - b).abs() < 20.0 * bound * b.abs().max(0.1),
                "{name}: {ours:?} {reference:?}"
            );
        }
    }
}

/// The recipes that together use every option, and those with batch norm in both networks, labels
/// for some images, and each form of minibatch discrimination.
fn recipes() -> Vec<Recipe> {
    let with = |name: &str, changes: &[(&str, &str)]| {
        let changes: Vec<_> =
            changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut recipe = fixtures::small("torch").with(&changes).unwrap();
        recipe.name = name.to_owned();
        recipe
    };
    let mut recipes = fixtures::everything();
    recipes.iter_mut().for_each(|recipe| recipe.train.batch = 8);
    let eight = ("train.batch", "8");
    recipes.extend([
        with("torch", &[eight, ("generator.dropout", "0.2"), ("discriminator.noise", "0.1")]),
        with(
            "relativistic least squares",
            &[eight, ("objective.relativistic", "true"), ("objective.loss", "\"least-squares\"")],
        ),
        with(
            "semi-supervised",
            &[
                eight,
                ("condition.kind", "\"class\""),
                ("condition.size", "3"),
                ("condition.generator", "\"none\""),
                ("condition.discriminator", "\"none\""),
                ("objective.semi_supervised", "true"),
                ("objective.num_labels", "13"),
                ("objective.feature_matching", "1.0"),
            ],
        ),
        with(
            "minibatch discrimination",
            &[
                eight,
                ("discriminator.minibatch_discrimination", "{ kernels = 3, dims = 2 }"),
                ("discriminator.parametrization", "\"spectral-norm\""),
            ],
        ),
        with(
            "weight norm",
            &[
                eight,
                ("generator.parametrization", "\"weight-norm\""),
                ("discriminator.parametrization", "\"weight-norm\""),
                ("discriminator.bias", "true"),
            ],
        ),
    ]);
    recipes
}

#[test]
fn ranks_draw_and_mix_as_one_process_does() {
    for recipe in recipes() {
        let whole = train(&recipe, ProcessGroup::default());
        for ranks in [2, 3] {
            let name = format!("{} on {ranks} ranks", recipe.name);
            let all = run_on_threads(ranks, |group| train(&recipe, group));
            for rank in &all {
                assert!(rank.1 == all[0].1, "{name}: the ranks differ");
                assert_same_run(rank, &whole, &name);
            }
            let again = run_on_threads(ranks, |group| train(&recipe, group));
            assert!(again[0].1 == all[0].1, "{name}: other bits in another run");
        }
    }
}

/// Without statistics of a batch, parts change nothing but rounding.
#[test]
fn parts_of_a_batch_add_up() {
    let critic = |recipe: &&Recipe| recipe.name == "critic";
    let recipe = recipes().iter().find(critic).cloned().unwrap();
    let mut norm = recipe.clone();
    norm.generator.norm = nn::recipe::NormKind::None;
    norm.generator.parametrization = nn::recipe::Parametrization::Plain;
    let whole = train(&norm, ProcessGroup::default());
    for accumulate in [2, 3, 8] {
        let mut parts = norm.clone();
        parts.train.accumulate = accumulate;
        let name = format!("{accumulate} parts");
        assert_same_run(&train(&parts, ProcessGroup::default()), &whole, &name);
    }
}

/// A part has the same statistics whatever the number of processes that compute it.
#[test]
fn ranks_share_the_parts_of_a_batch() {
    for mut recipe in recipes() {
        recipe.train.accumulate = 2;
        let name = format!("{} in 2 parts", recipe.name);
        let whole = train(&recipe, ProcessGroup::default());
        let all = run_on_threads(2, |group| train(&recipe, group));
        assert!(all[0].1 == all[1].1, "{name}: the ranks differ");
        assert_same_run(&all[0], &whole, &name);
    }
}

/// The results without what batch norm counts of batches: a process that accumulates counts each of
/// its parts, one after the other; ranks average the running statistics of theirs.
fn without_running_statistics((metrics, mut tensors): Results) -> Results {
    let counted = ["running_mean", "running_var", "num_batches_tracked"];
    tensors.retain(|name, _| !counted.iter().any(|end| name.ends_with(end)));
    (metrics, tensors)
}

/// With statistics of their own images alone, ranks are the parts of a process that accumulates.
#[test]
fn ranks_without_common_statistics_are_parts() {
    let mut synced = recipes().into_iter().find(|recipe| recipe.name == "torch").unwrap();
    (synced.generator.dropout, synced.discriminator.noise) = (0.0, 0.0);
    let whole = without_running_statistics(train(&synced, ProcessGroup::default()));
    for count in [2, 3] {
        let (mut own, mut parts) = (synced.clone(), synced.clone());
        own.train.sync_batch_norm = false;
        parts.train.accumulate = count;
        let parts = without_running_statistics(train(&parts, ProcessGroup::default()));
        let ranks = run_on_threads(count, |group| train(&own, group));
        assert!(ranks.iter().all(|rank| rank.1 == ranks[0].1), "the {count} ranks differ");
        for rank in ranks {
            let rank = without_running_statistics(rank);
            assert_same_run(&rank, &parts, &format!("{count} ranks as parts"));
            assert!(distance(&rank.1, &whole.1) > 5e-4, "the statistics are those of all ranks");
        }
    }
}

#[test]
fn a_rank_without_images_is_refused() {
    let mut recipe = fixtures::small("torch");
    (recipe.train.batch, recipe.train.accumulate) = (4, 2);
    let results = run_on_threads(3, |group| {
        let trainer = Trainer::new(settings::base(recipe.clone(), 1), &Device::Cpu).unwrap();
        trainer.with_process_group(group).map(|_| ())
    });
    for result in results {
        assert!(matches!(result, Err(TrainError::TooManyRanks { ranks: 3, batch: 4, parts: 2 })));
    }
}

#[test]
fn ranks_with_other_settings_or_weights_are_named() {
    let mut settings = settings::base(fixtures::small("torch"), 1);
    settings.recipe.train.batch = 6;
    let other_settings = Settings { seed: settings.seed + 1, ..settings.clone() };
    let new = |settings: &Settings| Trainer::new(settings.clone(), &Device::Cpu).unwrap();
    let other_weights = new(&other_settings).checkpoint(&DatasetId::default()).unwrap();
    for different in ["settings", "weights"] {
        let results = run_on_threads(3, |group| {
            let trainer = match (group.rank(), different) {
                (2, "settings") => new(&other_settings),
                (2, _) => {
                    let mut trainer = new(&settings);
                    trainer.load_weights(&other_weights).unwrap();
                    trainer
                }
                _ => new(&settings),
            };
            trainer.with_process_group(group).map(|_| ())
        });
        for result in results {
            let error = result.unwrap_err();
            let message = error.to_string();
            let TrainError::RanksDiffer { what, ranks, step: 0 } = error else {
                panic!("{message}")
            };
            assert_eq!((what, ranks), (different, vec![2]));
            assert!(message.contains(&format!("{different} of rank 2 ")), "{message}");
        }
    }
}

/// Runs `recipe` on ranks that share the directory, from its newest checkpoint if it has one; rank
/// 1 is interrupted after an event for which `stops` is true.
fn run(
    recipe: &Recipe,
    steps: u64,
    places: &(PathBuf, PathBuf),
    (dir, ranks): (&Path, usize),
    stops: impl Fn(&Event) -> bool + Sync,
) -> Vec<Result<RunOutcome, TrainError>> {
    let resumes = dir.exists();
    let dir = if resumes { RunDir::open(dir) } else { RunDir::create_at(dir) }.unwrap();
    run_on_threads(ranks, |group| {
        let rank = group.rank();
        let settings =
            Settings { checkpoint_every: 2, ..fixtures::settings(recipe.clone(), places, steps) };
        let dataset = fixtures::open(&settings);
        let trainer = if resumes {
            let latest = checkpoint_retention::latest_valid(&dir.checkpoints()).unwrap();
            Trainer::resume(&latest.checkpoint, &Device::Cpu)
        } else {
            Trainer::new(settings, &Device::Cpu)
        };
        let mut trainer = trainer.unwrap().with_process_group(group).unwrap();
        let flag = AtomicBool::new(false);
        let mut emit = |event: Event| {
            if rank == 1 && stops(&event) {
                flag.store(true, Ordering::Relaxed);
            }
        };
        train::run(&mut trainer, &dataset, &dir, &flag, &mut emit)
    })
}

fn final_tensors(outcome: &RunOutcome) -> BTreeMap<String, HostTensor> {
    checkpoint::load(&outcome.checkpoint).unwrap().tensors
}

#[test]
fn a_run_resumes_on_another_number_of_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let places = fixtures::labeled(dir.path());
    let mut recipe = fixtures::everything().remove(0);
    recipe.train.batch = 6;
    let finished = |ranks: usize, name: &str| {
        let at = dir.path().join(name);
        let outcomes = run(&recipe, 6, &places, (&at, ranks), |_| false);
        for outcome in &outcomes {
            let outcome = outcome.as_ref().unwrap();
            assert!(outcome.finished && outcome.step == 6 && outcome.checkpoint.exists());
        }
        let rows = metrics::read(&RunDir::open(&at).unwrap().metrics()).unwrap();
        assert_eq!(rows.len(), 6, "{name}");
        assert_eq!(rows.iter().all(|row| row.extra.contains_key("waiting")), ranks > 1, "{name}");
        let images = &outcomes[0].as_ref().unwrap().images;
        assert!(images.iter().all(|path| path.exists()) && images.len() == 2, "{name}");
        final_tensors(outcomes[0].as_ref().unwrap())
    };
    let one = finished(1, "one");
    let two = finished(2, "two");
    assert!(distance(&two, &one) < 1e-3, "{:.1e}", distance(&two, &one));
    for (ranks, name) in [(1, "to one"), (2, "to two"), (3, "to three")] {
        let at = dir.path().join(name);
        let third = |event: &Event| matches!(event, Event::Stepped { step: 3 });
        for outcome in run(&recipe, 6, &places, (&at, 2), third) {
            let outcome = outcome.unwrap();
            assert!(!outcome.finished && outcome.step == 3, "all ranks stop after the same step");
        }
        for outcome in run(&recipe, 6, &places, (&at, ranks), |_| false) {
            assert!(outcome.unwrap().finished, "{name}");
        }
        let newest = checkpoint_retention::latest_valid(&RunDir::open(&at).unwrap().checkpoints());
        let newest = newest.unwrap().checkpoint.tensors;
        assert!(distance(&newest, &one) < 1e-3, "{name}: {:.1e}", distance(&newest, &one));
        assert_eq!(newest == two, ranks == 2, "{name}: the bits of an uninterrupted run");
    }
}

#[test]
fn all_ranks_roll_back_and_give_up_together() {
    let dir = tempfile::tempdir().unwrap();
    let places = fixtures::labeled(dir.path());
    let mut recipe = fixtures::small("torch");
    (recipe.train.batch, recipe.optimizer.lr) = (4, 1e30);
    let outcomes = run(&recipe, 20, &places, (&dir.path().join("run"), 2), |_| false);
    let steps: Vec<u64> = outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Err(TrainError::Diverged { step, .. }) => step,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(steps[0], steps[1]);

    // An interrupt of one rank after a roll-back ends all of them.
    let rolled_back =
        |event: &Event| matches!(event, Event::Alert(Alert { kind: AlertKind::RolledBack, .. }));
    let outcomes = run(&recipe, 20, &places, (&dir.path().join("interrupted"), 2), rolled_back);
    let steps: Vec<u64> = outcomes
        .into_iter()
        .map(|outcome| {
            let outcome = outcome.unwrap();
            assert!(!outcome.finished && outcome.checkpoint.is_file());
            outcome.step
        })
        .collect();
    assert_eq!(steps[0], steps[1]);
}

/// Rank 0 alone saves, and finds them.
#[test]
fn all_ranks_see_that_the_first_checkpoint_is_not_finite() {
    let dir = tempfile::tempdir().unwrap();
    let places = fixtures::labeled(dir.path());
    let mut recipe = fixtures::small("torch");
    recipe.train.batch = 4;
    // Some values are beyond float32.
    recipe.init.std = 3e38;
    for outcome in run(&recipe, 4, &places, (&dir.path().join("start"), 2), |_| false) {
        match outcome {
            Err(TrainError::NonFiniteStart { what }) => assert!(what.contains("main."), "{what}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Rank 0 alone draws grids.
#[test]
fn all_ranks_know_the_alert_that_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let places = fixtures::labeled(dir.path());
    let mut recipe = fixtures::small("torch");
    recipe.train.batch = 4;
    let monitor = MonitorConfig { on_collapse: AlertAction::Stop, ..MonitorConfig::default() };
    let settings = Settings { monitor, sample_every: 1, ..fixtures::settings(recipe, &places, 9) };
    let dataset = fixtures::open(&settings);
    let trainer = Trainer::new(settings, &Device::Cpu).unwrap();
    let mut checkpoint = trainer.checkpoint(&DatasetId::default()).unwrap();
    // Grids and real images that differ as much as images can: the next two grids are a collapse.
    let most = SampleStats { diversity: 2.0, ..SampleStats::default() };
    let state = &mut checkpoint.meta.state["monitor"];
    state["best_diversity"] = most.diversity.into();
    state["reference"] = serde_json::to_value(most).unwrap();
    let run_dir = RunDir::create_at(&dir.path().join("run")).unwrap();
    let outcomes = run_on_threads(2, |group| {
        let trainer = Trainer::resume(&checkpoint, &Device::Cpu).unwrap();
        let mut trainer = trainer.with_process_group(group).unwrap();
        let stop = AtomicBool::new(false);
        train::run(&mut trainer, &dataset, &run_dir, &stop, &mut |_| ()).unwrap()
    });
    for outcome in outcomes {
        assert_eq!((outcome.step, outcome.finished), (2, false));
        let stopped_by = outcome.stopped_by.map(|alert| alert.kind);
        assert_eq!(stopped_by, Some(AlertKind::ModeCollapse));
    }
}
