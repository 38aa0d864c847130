//! Plans: sizes, costs, and their text.

use nn::{Mode, Network, Recipe};
use tensor::rng::Philox;
use tensor::{Device, Tensor};

fn preset(name: &str) -> Recipe {
    Recipe::preset(name).expect("a preset")
}

/// The number of trained values.
fn num_parameters(network: &Network) -> usize {
    network.params().iter().map(|(_, param)| param.value().len()).sum()
}

#[test]
fn the_torch_recipe_has_the_parameters_of_the_example() {
    // Counted by hand: 4x4 kernels, two values per batch-norm channel.
    let g =
        16 * (100 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3) + 2 * (512 + 256 + 128 + 64);
    let d = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 2 * (128 + 256 + 512);
    assert_eq!((g, d), (3_576_704, 2_765_568));
    let recipe = preset("torch");
    let (generator, discriminator) = recipe.build(&mut Philox::new(1, 0)).expect("valid");
    assert_eq!(num_parameters(&generator), g);
    assert_eq!(num_parameters(&discriminator), d);
    assert_eq!(recipe.summary().expect("valid").parameters, g + d);
    let names: Vec<String> = generator.state_dict().into_keys().collect();
    for name in ["main.0.weight", "main.1.running_mean", "main.12.weight"] {
        assert!(names.iter().any(|n| n == name), "{names:?}");
    }
    assert_eq!(names.len(), 5 + 4 * 5);
}

#[test]
fn the_torch_step_costs_what_was_counted_elsewhere() {
    // About 292 GFLOP at batch 128, D's weight gradients in the generator's step not counted.
    let mut recipe = preset("torch");
    recipe.train.batch = 128;
    let plan = recipe.summary().expect("valid");
    assert!((plan.flops_per_step / 292e9 - 1.0).abs() < 0.01, "{}", plan.flops_per_step);
}

#[test]
fn the_paper_recipe_is_the_published_network() {
    let plan = preset("paper").summary().expect("valid");
    let rows = |rows: &[nn::LayerSummary]| -> Vec<(String, String, Vec<usize>)> {
        rows.iter().map(|r| (r.name.clone(), r.kind.clone(), r.output.clone())).collect()
    };
    let row = |name: &str, kind: &str, output: &[usize]| {
        (name.to_string(), kind.to_string(), output.to_vec())
    };
    let (up, down) =
        ("ConvTranspose2d 5x5, stride 2, padding 2", "Conv2d 5x5, stride 2, padding 2");
    let g = rows(&plan.generator);
    assert_eq!(
        g[..5],
        [
            row("main.0", "Linear 100 -> 16384", &[16384]),
            row("main.1", "BatchNorm per unit", &[16384]),
            row("main.2", "ReLU", &[16384]),
            row("main.3", "Reshape", &[4, 4, 1024]),
            row("main.4", up, &[8, 8, 512]),
        ]
    );
    let ups: Vec<_> = g.iter().filter(|r| r.1 == up).map(|r| r.2.clone()).collect();
    assert_eq!(ups, [vec![8, 8, 512], vec![16, 16, 256], vec![32, 32, 128], vec![64, 64, 3]]);
    assert_eq!(g[g.len() - 1].1, "Tanh");
    let d = rows(&plan.discriminator);
    assert_eq!(d[0], row("main.0", down, &[32, 32, 128]));
    assert_eq!(d[1], row("main.1", "LeakyReLU 0.2", &[32, 32, 128]));
    let downs: Vec<_> = d.iter().filter(|r| r.1 == down).map(|r| r.2.clone()).collect();
    assert_eq!(downs, [vec![32, 32, 128], vec![16, 16, 256], vec![8, 8, 512], vec![4, 4, 1024]]);
    assert_eq!(d[d.len() - 2], row("main.12", "Linear 16384 -> 1", &[1]));
    assert_eq!(d.iter().filter(|r| r.1 == "BatchNorm").count(), 3);
    let recipe = preset("paper");
    assert_eq!(recipe.generator.distribution, nn::recipe::LatentDistribution::Uniform);
    let z = recipe.sample_z(&mut Philox::new(1, 0), 50, &Device::Cpu).to_vec();
    assert!(z.iter().all(|z| (-1.0..=1.0).contains(z)) && z.iter().any(|z| z.abs() > 0.9));
}

#[test]
fn the_plan_reads_as_two_aligned_tables() {
    let text = preset("small").summary().expect("valid").to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "Generator: latent vector 100 -> image 28x28x1");
    assert!(lines.iter().any(|l| l.contains("main.0")
        && l.contains("ConvTranspose2d 7x7, stride 1, padding 0")
        && l.contains("7x7x128")));
    assert!(lines.contains(&"Discriminator: image 28x28x1 -> one logit (real or generated)"));
    assert!(
        text.ends_with("GFLOP")
            && text.contains("parameters; a training step on 128 images takes "),
        "{text}"
    );
    // Numbers are right-aligned in one column.
    let table: Vec<usize> =
        lines.iter().skip(1).take_while(|l| !l.is_empty()).map(|l| l.chars().count()).collect();
    assert!(table.len() > 5 && table.iter().all(|&n| n == table[0]), "{text}");
}

#[test]
fn an_embedding_is_a_layer_also_of_the_size_of_the_condition() {
    let appended = |embedding: usize| {
        let keys = format!(
            "base = \"small\"\n[condition]\nkind = \"class\"\nsize = 5\nembedding = {embedding}\n"
        );
        let plan = Recipe::from_toml(&keys).expect("valid").summary().expect("valid");
        (plan.generator[0].kind.clone(), plan.generator[0].parameters)
    };
    assert_eq!(appended(0), ("Condition, 5 appended".to_string(), 0));
    assert_eq!(appended(3), ("Condition, 5 as 3 appended".to_string(), 15));
    assert_eq!(appended(5), ("Condition, 5 as 5 appended".to_string(), 25));
}

#[test]
fn a_linear_layer_takes_flattened_pixels_with_their_deviation() {
    let keys = "base = \"small\"\n[discriminator]\nlayers = [{ layer = \"flatten\" }, { layer = \
                \"minibatch-stddev\", group = 2 }, { layer = \"linear\", units = 1 }]\n";
    let (_, d) =
        Recipe::from_toml(keys).expect("valid").build(&mut Philox::new(1, 0)).expect("valid");
    assert_eq!(d.forward(&Tensor::zeros([3, 28, 28, 1]), Mode::SAMPLE).shape()[..], [3]);
}
