//! The rows: flags, each compared with the run without any.

/// Rows of docs/options.md, by section.
pub const OPTIONS: &[(&str, &[&str])] = &[
    (
        "Losses",
        &[
            "--loss minimax",
            "--loss least-squares",
            "--loss hinge",
            "--loss wasserstein --clip-weights 0.01",
            "--loss wasserstein --gradient-penalty 10 --norm-d layer",
            "--relativistic",
            "--r1 1 --norm-d none",
            "--r1 1 --r1-every 8 --norm-d none",
            "--feature-matching 1",
            "--feature-matching 1 --feature-norm l1",
            "--historical-averaging 0.01",
            "--semi-supervised --condition class --condition-g none --condition-d none",
            "--d-steps 2",
            "--g-steps 2",
            "--update-order g-first",
            "--resample-z",
        ],
    ),
    (
        "Discriminator inputs and targets",
        &[
            "--labels-real 0.9",
            "--labels-real 0.9,1 --labels-fake 0,0.1",
            "--label-flip 0.05",
            "--swap-labels",
            "--noise 0.1",
            "--noise 0.1 --noise-decay 1000",
            "--noise-layers 0.1",
            "--dropout-d 0.3",
            "--dropout-g 0.3",
            "--augment color,translation,cutout",
            "--augment translation",
            "--augment flip",
            "--minibatch-stddev 4",
            "--minibatch-discrimination 100,5",
            "--set discriminator.minibatch_discrimination={kernels=100,dims=5,form=\"mean\"}",
            "--set discriminator.minibatch_discrimination={kernels=100,dims=5,form=\"code\"}",
        ],
    ),
    (
        "Networks",
        &[
            "--norm-g virtual-batch",
            "--norm-g instance",
            "--norm-g layer",
            "--norm-d instance",
            "--norm-d layer",
            "--norm-d none --parametrization-d spectral-norm",
            "--norm-d none --parametrization-d spectral-norm --loss hinge",
            "--parametrization-d spectral-norm",
            "--parametrization-g spectral-norm",
            "--norm-d none --parametrization-d weight-norm",
            "--norm-g none --parametrization-g weight-norm",
            "--attention-g 14",
            "--attention-d 14",
            "--init orthogonal",
            "--init glorot",
        ],
    ),
    (
        "Optimizers",
        &[
            "--optimizer adamw --weight-decay 0.01",
            "--optimizer rmsprop --beta2 0.99",
            "--optimizer sgd --lr 0.02 --momentum 0.9",
            "--optimizer sgd --lr 0.02 --momentum 0.9 --nesterov",
            "--lr-d 4e-4",
            "--lr-d 1e-4",
            "--beta1 0",
            "--schedule linear,from=0.5",
            "--schedule cosine",
            "--schedule constant,warmup=200",
            "--clip-gradient 1",
            "--ema 0.999",
        ],
    ),
    (
        "Conditions",
        &[
            "--condition class",
            "--condition class --embedding 32",
            "--condition class --condition-g every-layer --condition-d every-layer",
            "--condition class --condition-d projection --norm-d none --parametrization-d \
             spectral-norm",
            "--condition class --condition-d auxiliary",
        ],
    ),
];

/// The paper's guidelines (Radford et al. 2016, section 3), each reversed.
pub const REVERSED: &[(&str, &[&str])] = &[(
    "The paper's guidelines reversed",
    &[
        "--upsample nearest",
        "--downsample max-pool",
        "--upsample nearest --downsample max-pool",
        "--norm-g none",
        "--norm-d none",
        "--norm-g none --norm-d none",
        "--set generator.norm_everywhere=true --set discriminator.norm_everywhere=true",
        "--head global-average",
        "--set discriminator.slope=0",
        "--set generator.activation=\"tanh\"",
        "--lr 1e-3",
        "--beta1 0.9",
        "--init normal --set init.std=0.1",
        "--recipe gans-in-action-dense",
    ],
)];

/// Rows of docs/toy.md: flags of `dcgan toy grid`.
pub const GRID: &[&str] = &[
    "--minibatch-discrimination 16,4,mean",
    "--pack 2",
    "--minibatch-stddev 4",
    "--r1 1",
    "--loss wasserstein --gradient-penalty 0.1",
    "--parametrization-d spectral-norm",
    "--noise 0.3",
    "--norm-g batch",
    "--relativistic",
    "--loss least-squares",
    "--loss hinge",
    "--loss minimax",
    "--labels-real 0.9",
    "--feature-matching 1",
    "--ema 0.999",
    "--d-steps 2",
    "--norm-d batch",
    "--lr-d 2e-3",
    "--beta1 0",
    "--beta1 0.9",
    "--optimizer rmsprop",
    "--optimizer sgd --lr 0.05",
    "--g-steps 2",
    "--loss wasserstein --clip-weights 0.01",
];

/// All of docs/options.md, in the order of the page.
pub fn all() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().chain(REVERSED).flat_map(|(_, rows)| rows.iter().copied())
}
