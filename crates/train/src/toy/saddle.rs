//! The smallest game: x wants f(x, y) = x·y + c/2 · (x² − y²) small, y wants it large, and both learn by gradients.
//!
//! The answer is the saddle (0, 0). With c = 0 the vector of both players' gradients stands at a right angle to the way there, as
//! it does for a GAN near its equilibrium (Mescheder et al. 2018): whether play ends there is decided by the optimiser alone.

use crate::TrainError;

/// The game, and how it is played.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Settings {
    /// Learning rate η of both players, > 0.
    pub lr: f64,
    /// Steps, at least 1.
    pub steps: usize,
    /// Curvature c: 0 is the bilinear game; above 0 each player's own cost is convex, and draws to the saddle.
    pub curvature: f64,
    /// Where both begin.
    pub start: [f64; 2],
    /// β of momentum and Nesterov's, in [0, 1); Gidel's has −β.
    pub momentum: f64,
    /// Adam's β₁, in [0, 1).
    pub beta1: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lr: 0.1, steps: 300, curvature: 0.0, start: [1.0, 1.0], momentum: 0.5, beta1: 0.5 }
    }
}

impl Settings {
    /// # Errors
    /// The setting that is out of range, by the name of its flag.
    pub fn validate(&self) -> Result<(), TrainError> {
        let refuse =
            |flag: &str, problem: &str| Err(TrainError::Setting(format!("--{flag}: {problem}")));
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return refuse("lr", "must be a number greater than 0, such as 0.1");
        }
        if self.steps == 0 {
            return refuse("steps", "must be at least 1");
        }
        if !self.curvature.is_finite() {
            return refuse("curvature", "must be a number, such as 0 or 0.3");
        }
        if !self.start.iter().all(|v| v.is_finite()) || self.start == [0.0; 2] {
            return refuse(
                "start",
                "must be two numbers that are not both 0: there is nothing to see at the saddle itself",
            );
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return refuse("momentum", "must be from 0 to less than 1");
        }
        if !(0.0..1.0).contains(&self.beta1) {
            return refuse("beta1", "must be from 0 to less than 1");
        }
        Ok(())
    }
}

/// A way to learn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Plain gradient descent, both players at once.
    Simultaneous,
    /// Plain gradient descent, one after the other: the second already sees the first one's move.
    Alternating,
    /// Heavy-ball momentum (Polyak 1964, in PyTorch's form), both at once.
    Momentum,
    /// Nesterov's momentum (in PyTorch's form), both at once.
    Nesterov,
    /// Alternating, with momentum −β (Gidel et al. 2019).
    NegativeMomentum,
    /// RMSProp with α = 0.99, both at once.
    RmsProp,
    /// Adam (Kingma & Ba 2015) with β₂ = 0.999, both at once.
    Adam,
    /// Optimistic gradient descent: twice this gradient less the last one (Daskalakis et al. 2018).
    Optimistic,
    /// Optimistic Adam: twice this step of Adam less the last one (Daskalakis et al. 2018, algorithm 1), with β₁ = 0.
    OptimisticAdam,
    /// Extragradient: the gradient where a step would lead, taken from here (Korpelevich 1976).
    Extragradient,
}

impl Method {
    /// All, in the order in which they are drawn.
    pub const ALL: [Self; 10] = [
        Self::Simultaneous,
        Self::Alternating,
        Self::Momentum,
        Self::Nesterov,
        Self::NegativeMomentum,
        Self::RmsProp,
        Self::Adam,
        Self::OptimisticAdam,
        Self::Optimistic,
        Self::Extragradient,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simultaneous => "simultaneous SGD",
            Self::Alternating => "alternating SGD",
            Self::Momentum => "momentum",
            Self::Nesterov => "Nesterov",
            Self::NegativeMomentum => "negative momentum",
            Self::RmsProp => "RMSProp",
            Self::Adam => "Adam",
            Self::Optimistic => "optimistic SGD",
            Self::OptimisticAdam => "optimistic Adam",
            Self::Extragradient => "extragradient",
        }
    }

    /// What makes it go where it goes, in a line.
    pub fn why(self) -> &'static str {
        match self {
            Self::Simultaneous => {
                "both step along the tangent of the circle they are on, and a tangent leads out of it: by √((1−ηc)² + η²) a step"
            }
            Self::Alternating => {
                "who moves second answers the move just made; without curvature x² + y² − ηxy never changes, and the path closes"
            }
            Self::Momentum => {
                "what is remembered are gradients from further back on the circle: they push outwards the more"
            }
            Self::Nesterov => {
                "looks ahead along remembered gradients, which point outwards as momentum's do, only less"
            }
            Self::NegativeMomentum => {
                "takes back a part of the last step: friction, which damps the turning where the players alternate"
            }
            Self::RmsProp => {
                "divides by the size of past gradients: the same direction, and steps of length η however near the saddle is"
            }
            Self::Adam => {
                "as RMSProp, with a little momentum: steps of length η, turned outwards; the path cannot come to rest"
            }
            Self::Optimistic => {
                "adds how the gradient has just changed, as if the next were known: that part points to the saddle"
            }
            Self::OptimisticAdam => {
                "Adam's steps with that correction and β₁ = 0: a β₁ of 0.5 would delay the gradient by the step that it leads"
            }
            Self::Extragradient => {
                "uses the gradient of the place ahead, which has turned towards the saddle"
            }
        }
    }
}

/// Where a method led.
#[derive(Clone, PartialEq, Debug)]
pub struct Trajectory {
    /// The method.
    pub method: Method,
    /// The start and the point after each step; not finite where play ran off to infinity.
    pub points: Vec<[f64; 2]>,
}

impl Trajectory {
    /// Distance from the saddle after `step` steps (after the last, where there are fewer).
    pub fn distance(&self, step: usize) -> f64 {
        self.points.get(step).or(self.points.last()).map_or(f64::NAN, |[x, y]| x.hypot(*y))
    }

    /// Distance from the saddle after the last step.
    pub fn end(&self) -> f64 {
        self.distance(self.points.len())
    }

    /// By how much a step multiplies the distance: the geometric mean over the second half.
    pub fn factor(&self) -> f64 {
        let last = self.points.len().saturating_sub(1);
        let half = last / 2;
        (self.end() / self.distance(half)).powf(1.0 / (last - half).max(1) as f64)
    }
}

/// Plays the game by every method.
///
/// # Errors
/// As [`Settings::validate`].
pub fn play(settings: &Settings) -> Result<Vec<Trajectory>, TrainError> {
    settings.validate()?;
    Ok(Method::ALL.into_iter().map(|method| trajectory(method, settings)).collect())
}

fn trajectory(method: Method, settings: &Settings) -> Trajectory {
    let mut player = Player::new(settings);
    let mut points = vec![settings.start];
    points.extend((0..settings.steps).map(|_| player.step(method, settings)));
    Trajectory { method, points }
}

type Pair = [f64; 2];

fn zip(a: Pair, b: Pair, f: impl Fn(f64, f64) -> f64) -> Pair {
    [f(a[0], b[0]), f(a[1], b[1])]
}

/// What x descends and what y descends: (∂f/∂x, −∂f/∂y).
fn gradient([x, y]: Pair, c: f64) -> Pair {
    [y + c * x, -x + c * y]
}

/// Both players' places and what their optimisers remember.
struct Player {
    at: Pair,
    velocity: Pair,
    square: Pair,
    last: Option<Pair>,
    steps: i32,
}

impl Player {
    fn new(settings: &Settings) -> Self {
        Self { at: settings.start, velocity: [0.0; 2], square: [0.0; 2], last: None, steps: 0 }
    }

    fn step(&mut self, method: Method, s: &Settings) -> Pair {
        self.steps += 1;
        let g = gradient(self.at, s.curvature);
        let moved = match method {
            Method::Simultaneous => g,
            Method::Momentum => self.remember(g, s.momentum),
            Method::Nesterov => zip(g, self.remember(g, s.momentum), |g, v| g + s.momentum * v),
            Method::Alternating => self.in_turn(g, 0.0, s),
            Method::NegativeMomentum => self.in_turn(g, -s.momentum, s),
            Method::RmsProp => {
                self.square = zip(self.square, g, |v, g| 0.99 * v + 0.01 * g * g);
                zip(g, self.square, |g, v| g / (v.sqrt() + 1e-8))
            }
            Method::Adam => self.adam(g, s.beta1),
            Method::Optimistic => self.optimism(g),
            Method::OptimisticAdam => {
                let step = self.adam(g, 0.0);
                self.optimism(step)
            }
            Method::Extragradient => gradient(zip(self.at, g, |w, g| w - s.lr * g), s.curvature),
        };
        self.at = zip(self.at, moved, |w, d| w - s.lr * d);
        self.at
    }

    fn remember(&mut self, g: Pair, beta: f64) -> Pair {
        self.velocity = zip(self.velocity, g, |v, g| beta * v + g);
        self.velocity
    }

    /// y's gradient is taken where x has already moved to.
    fn in_turn(&mut self, g: Pair, beta: f64, s: &Settings) -> Pair {
        let first = beta * self.velocity[0] + g[0];
        let second = gradient([self.at[0] - s.lr * first, self.at[1]], s.curvature)[1];
        self.velocity = [first, beta * self.velocity[1] + second];
        self.velocity
    }

    fn adam(&mut self, g: Pair, beta1: f64) -> Pair {
        const BETA2: f64 = 0.999;
        self.velocity = zip(self.velocity, g, |m, g| beta1 * m + (1.0 - beta1) * g);
        self.square = zip(self.square, g, |v, g| BETA2 * v + (1.0 - BETA2) * g * g);
        let (first, second) = (1.0 - beta1.powi(self.steps), 1.0 - BETA2.powi(self.steps));
        zip(self.velocity, self.square, |m, v| m / first / ((v / second).sqrt() + 1e-8))
    }

    /// The first step has no last one, and is plain.
    fn optimism(&mut self, g: Pair) -> Pair {
        let last = self.last.replace(g).unwrap_or(g);
        zip(g, last, |g, last| 2.0 * g - last)
    }
}
