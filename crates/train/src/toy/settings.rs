//! What is trained on what, and by which tricks.

use super::Mixture;
use crate::TrainError;
use nn::OptimizerKind;
use nn::loss::GanLoss;

/// A mixture by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// [`Mixture::ring`].
    Ring,
    /// [`Mixture::grid`].
    Grid,
}

impl Target {
    /// The mixture.
    pub fn mixture(self) -> Mixture {
        match self {
            Self::Ring => Mixture::ring(),
            Self::Grid => Mixture::grid(),
        }
    }
}

/// Everything that decides how a run goes. Tricks are off where their number is 0 or there is none.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// What is learned.
    pub target: Target,
    /// Seed of weights, latents and data.
    pub seed: u64,
    /// Steps, at least 1; each is `d_steps` of D and `g_steps` of G.
    pub steps: u64,
    /// Points per batch, at least 2.
    pub batch: usize,
    /// Units of each of the two hidden layers of both networks, at least 1.
    pub width: usize,
    /// Length of the latent vector, drawn from N(0, 1), at least 1.
    pub latent: usize,
    /// How both networks move along their gradients.
    pub rule: OptimizerKind,
    /// G's learning rate, > 0.
    pub lr: f64,
    /// D's learning rate, > 0.
    pub lr_d: f64,
    /// Updates of D per step, each on fresh batches.
    pub d_steps: u32,
    /// Updates of G per step, each on fresh latents.
    pub g_steps: u32,
    /// What the networks minimise.
    pub objective: GanLoss,
    /// Whether each logit is compared with the mean of the other kind (Jolicoeur-Martineau 2019).
    pub relativistic: bool,
    /// λ of the gradient penalty between real and generated points (Gulrajani et al. 2017).
    pub gp: f64,
    /// γ of R1, half of which multiplies the penalty on real points (Mescheder et al. 2018).
    pub r1: f64,
    /// Bound on all of D's weights (Arjovsky et al. 2017).
    pub clip: f64,
    /// The range of D's targets for real points, in [0, 1] (one-sided smoothing, Salimans et al. 2016).
    pub smooth: Option<[f64; 2]>,
    /// Weight, in G's loss, of matching D's mean last hidden features (Salimans et al. 2016), beside the objective.
    pub feature_matching: f64,
    /// Kernels B and dimensions C of minibatch discrimination before D's last layer (Salimans et al. 2016).
    pub minibatch_discrimination: Option<[usize; 2]>,
    /// Minibatch standard deviation before D's last layer, in groups of 4 (Karras et al. 2018).
    pub minibatch_stddev: bool,
    /// Spectral norm of all of D's layers (Miyato et al. 2018).
    pub spectral_norm: bool,
    /// Batch normalisation of the hidden layers of G.
    pub batch_norm_g: bool,
    /// Batch normalisation of the hidden layers of D; real and generated points in batches of their own.
    pub batch_norm_d: bool,
    /// Standard deviation of Gaussian noise on all that D sees, falling linearly to 0 at the last step (Sønderby et al. 2017).
    pub noise: f64,
    /// Decay of an average of G's weights to sample with, in [0, 1).
    pub ema: f64,
    /// Points that D judges together (PacGAN, Lin et al. 2018); 1 judges each alone.
    pub pack: usize,
}

impl Settings {
    /// The laboratory's plain GAN: non-saturating, Adam with the DCGAN's β₁, all tricks off.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            seed: 0,
            steps: 20_000,
            batch: 128,
            width: 128,
            latent: 2,
            rule: Self::adam(0.5),
            lr: 1e-3,
            lr_d: 1e-3,
            d_steps: 1,
            g_steps: 1,
            objective: GanLoss::NonSaturating,
            relativistic: false,
            gp: 0.0,
            r1: 0.0,
            clip: 0.0,
            smooth: None,
            feature_matching: 0.0,
            minibatch_discrimination: None,
            minibatch_stddev: false,
            spectral_norm: false,
            batch_norm_g: false,
            batch_norm_d: false,
            noise: 0.0,
            ema: 0.0,
            pack: 1,
        }
    }

    /// Adam with this β₁ and β₂ = 0.999.
    pub fn adam(beta1: f64) -> OptimizerKind {
        OptimizerKind::Adam { beta1, beta2: 0.999, eps: 1e-8, decoupled: false }
    }

    /// Whether D's logit of a point depends on the others of its batch (packs aside).
    pub(super) fn sees_batch(&self) -> bool {
        self.minibatch_discrimination.is_some() || self.minibatch_stddev
    }

    /// # Errors
    /// A setting out of range, or settings that make no sense together, by the names of their flags, with the reason.
    pub fn validate(&self) -> Result<(), TrainError> {
        let problem = self.out_of_range().or_else(|| self.uneven()).or_else(|| self.conflict());
        problem.map_or(Ok(()), |problem| Err(TrainError::Setting(problem)))
    }

    fn out_of_range(&self) -> Option<String> {
        let [kernels, dims] = self.minibatch_discrimination.unwrap_or([1, 1]);
        let counts = [
            ("steps", self.steps, 1),
            ("batch", self.batch as u64, 2),
            ("width", self.width as u64, 1),
            ("latent", self.latent as u64, 1),
            ("d-steps", self.d_steps.into(), 1),
            ("g-steps", self.g_steps.into(), 1),
            ("pack", self.pack as u64, 1),
            ("minibatch-discrimination", kernels.min(dims) as u64, 1),
        ];
        let few = counts.into_iter().find(|(_, value, least)| value < least);
        let few = few
            .map(|(flag, value, least)| format!("--{flag} {value}: it must be at least {least}"));
        let wrong = |rates: &[(&str, f64)], range: &str, fits: fn(f64) -> bool| {
            let wrong = rates.iter().find(|(_, value)| !(value.is_finite() && fits(*value)));
            wrong.map(|(flag, value)| format!("--{flag} {value}: it must be {range}"))
        };
        let beta1 = if let OptimizerKind::Adam { beta1, .. } = self.rule { beta1 } else { 0.0 };
        let [low, high] = self.smooth.unwrap_or([1.0; 2]);
        let weights = [
            ("gp", self.gp),
            ("r1", self.r1),
            ("clip", self.clip),
            ("feature-matching", self.feature_matching),
            ("noise", self.noise),
        ];
        few.or_else(|| {
            wrong(&[("lr", self.lr), ("lr-d", self.lr_d)], "a number greater than 0", |v| v > 0.0)
        })
        .or_else(|| {
            wrong(&[("beta1", beta1), ("ema", self.ema)], "from 0 to less than 1", |v| {
                (0.0..1.0).contains(&v)
            })
        })
        .or_else(|| wrong(&weights, "a number from 0", |v| v >= 0.0))
        .or_else(|| {
            wrong(&[("smooth", low), ("smooth", high)], "from 0 to 1", |v| (0.0..=1.0).contains(&v))
        })
        .or_else(|| {
            (low > high).then(|| format!("--smooth {low},{high}: the lower end comes first"))
        })
    }

    /// Batches that cannot be divided as asked.
    fn uneven(&self) -> Option<String> {
        let (batch, pack) = (self.batch, self.pack);
        if !batch.is_multiple_of(pack) {
            let nearest = (batch / pack).max(1) * pack;
            return Some(format!(
                "--pack {pack}: a batch of {batch} is no whole number of packs; take --batch {nearest}"
            ));
        }
        let company = self.batch_norm_d || self.sees_batch();
        (company && batch / pack < 2)
            .then(|| format!("--pack {pack} makes one pack of a batch of {batch}: batch norm and minibatch layers need several"))
    }

    /// Combinations that make no sense.
    fn conflict(&self) -> Option<String> {
        let wasserstein = self.objective == GanLoss::Wasserstein;
        let penalty = if self.gp > 0.0 { "--gp" } else { "--r1" };
        let penalised = self.gp > 0.0 || self.r1 > 0.0;
        let bounded = penalised || self.clip > 0.0 || self.spectral_norm;
        let name = self.objective_name();
        let rules: [(bool, String); 9] = [
            (
                wasserstein && !bounded,
                "--objective wasserstein: nothing bounds the critic; add --gp 10, --clip 0.01, --r1 or --spectral-norm".into(),
            ),
            (
                wasserstein && self.relativistic,
                "--relativistic with --objective wasserstein: means compared are relativistic already; leave one out".into(),
            ),
            (
                self.smooth.is_some() && !self.objective.takes_targets(),
                format!("--smooth with --objective {name}: it has margins or differences and no labels to smooth; leave one out"),
            ),
            (
                self.gp > 0.0 && self.r1 > 0.0,
                "--gp with --r1: one asks for slope 1, the other for slope 0 where points are real; choose one".into(),
            ),
            (
                self.clip > 0.0 && (self.gp > 0.0 || self.spectral_norm),
                "--clip with --gp or --spectral-norm: each bounds D's slope in its own way; choose one".into(),
            ),
            (
                penalised && self.batch_norm_d,
                format!("{penalty} with --batch-norm of D: a point's slope then depends on the others; take --batch-norm g"),
            ),
            (
                penalised && self.minibatch_discrimination.is_some(),
                format!("{penalty} with --minibatch-discrimination: a point's slope then depends on the others; choose one"),
            ),
            (
                self.spectral_norm && self.batch_norm_d,
                "--spectral-norm with --batch-norm of D: batch norm stretches what spectral norm has bounded; take --batch-norm g"
                    .into(),
            ),
            (
                self.minibatch_discrimination.is_some() && self.minibatch_stddev,
                "--minibatch-discrimination with --minibatch-stddev: both tell D how much a batch varies; choose one".into(),
            ),
        ];
        rules.into_iter().find_map(|(broken, reason)| broken.then_some(reason))
    }

    /// The objective, as its flag has it.
    pub fn objective_name(&self) -> &'static str {
        match self.objective {
            GanLoss::Minimax => "minimax",
            GanLoss::NonSaturating => "non-saturating",
            GanLoss::LeastSquares => "least-squares",
            GanLoss::Hinge => "hinge",
            GanLoss::Wasserstein => "wasserstein",
        }
    }
}
