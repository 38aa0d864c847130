//! The simplest two-player game: x minimizes f(x, y) = x·y + c/2 · (x² − y²), y maximizes it, both
//! by gradient steps.
//!
//! The equilibrium is the saddle (0, 0). With c = 0 the vector of both gradients is perpendicular
//! to the direction of the saddle, as for a GAN near its equilibrium (Mescheder et al. 2018):
//! whether the iterates converge depends on the optimizer alone.
//!
//! ```
//! use train::toy::saddle::{Method, SaddleSettings, simulate};
//!
//! let settings = SaddleSettings { lr: 0.1, steps: 300, ..SaddleSettings::default() };
//! for trajectory in simulate(&settings).unwrap() {
//!     match trajectory.method {
//!         Method::Simultaneous => assert!(trajectory.end() > 6.0),
//!         Method::Extragradient => assert!(trajectory.end() < 0.4),
//!         _ => {}
//!     }
//! }
//! ```

use crate::TrainError;

/// The game and the parameters of the update rules.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SaddleSettings {
    /// Learning rate η of both variables, > 0.
    pub lr: f64,
    /// Steps, at least 1.
    pub steps: usize,
    /// Curvature c: 0 is the bilinear game; above 0 each variable's own cost is convex and attracts
    /// to the saddle.
    pub curvature: f64,
    /// The initial point.
    pub start: [f64; 2],
    /// β of momentum and Nesterov momentum, in [0, 1); negative momentum has −β.
    pub momentum: f64,
    /// Adam's β₁, in [0, 1).
    pub beta1: f64,
}

impl Default for SaddleSettings {
    fn default() -> Self {
        Self { lr: 0.1, steps: 300, curvature: 0.0, start: [1.0, 1.0], momentum: 0.5, beta1: 0.5 }
    }
}

impl SaddleSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// Returns [`TrainError::Saddle`] with the setting that is out of range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let invalid = |setting, range| Err(TrainError::Saddle { setting, range });
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return invalid("lr", "greater than 0");
        }
        if self.steps == 0 {
            return invalid("steps", "at least 1");
        }
        if !self.curvature.is_finite() {
            return invalid("curvature", "finite");
        }
        if !self.start.iter().all(|v| v.is_finite()) || self.start == [0.0; 2] {
            return invalid("start", "two finite values that are not both 0");
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return invalid("momentum", "from 0 to less than 1");
        }
        if !(0.0..1.0).contains(&self.beta1) {
            return invalid("beta1", "from 0 to less than 1");
        }
        Ok(())
    }
}

/// An update rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Gradient descent, both variables at the same time.
    Simultaneous,
    /// Gradient descent, one variable after the other: the second gradient is taken after the first
    /// update.
    Alternating,
    /// Heavy-ball momentum (Polyak 1964, in PyTorch's form), simultaneous.
    Momentum,
    /// Nesterov momentum (in PyTorch's form), simultaneous.
    Nesterov,
    /// Alternating, with momentum −β (Gidel et al. 2019).
    NegativeMomentum,
    /// RMSProp with α = 0.99, simultaneous.
    RmsProp,
    /// Adam (Kingma & Ba 2015) with β₂ = 0.999, simultaneous.
    Adam,
    /// Optimistic gradient descent: twice this gradient minus the previous one (Daskalakis et al.
    /// 2018).
    Optimistic,
    /// Optimistic Adam: twice this step of Adam minus the previous one (Daskalakis et al. 2018,
    /// algorithm 1), with β₁ = 0.
    OptimisticAdam,
    /// Extragradient: a step with the gradient at the point that a plain step leads to (Korpelevich
    /// 1976).
    Extragradient,
}

impl Method {
    /// All update rules, in the order in which they are drawn.
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

    /// The update rule's name in plots and reports.
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

    /// The reason for its behavior, in one line.
    pub fn why(self) -> &'static str {
        match self {
            Self::Simultaneous => {
                "each step is tangent to the circle around the saddle and leads out of it, \
                 by √((1−ηc)² + η²) per step"
            }
            Self::Alternating => {
                "the second update responds to the first; without curvature x² + y² − ηxy is \
                 invariant, and the path is closed"
            }
            Self::Momentum => {
                "accumulated gradients come from earlier points of the circle and \
                 push further outwards"
            }
            Self::Nesterov => {
                "looks ahead along the accumulated gradients, which push outwards \
                 as with momentum, but less"
            }
            Self::NegativeMomentum => {
                "reverts a part of the previous step: friction, which damps the \
                 rotation of alternating updates"
            }
            Self::RmsProp => {
                "divides by the size of past gradients: the same direction, with \
                 steps of length η at any distance"
            }
            Self::Adam => {
                "as RMSProp with momentum: steps of length η, rotated outwards; the path \
                 cannot converge"
            }
            Self::Optimistic => {
                "adds the last change of the gradient, a prediction of the next one, \
                 which points to the saddle"
            }
            Self::OptimisticAdam => {
                "Adam's steps with that correction and β₁ = 0; β₁ = 0.5 would delay \
                 the gradient by the predicted step"
            }
            Self::Extragradient => {
                "uses the gradient at the next point, which is rotated towards the saddle"
            }
        }
    }
}

/// The iterates of an update rule.
#[derive(Clone, PartialEq, Debug)]
pub struct Trajectory {
    /// The update rule.
    pub method: Method,
    /// The initial point and the point after each step; NaN or infinite after divergence.
    pub points: Vec<[f64; 2]>,
}

impl Trajectory {
    /// Distance from the saddle after `step` steps, or after the last step.
    pub fn distance(&self, step: usize) -> f64 {
        self.points.get(step).or(self.points.last()).map_or(f64::NAN, |[x, y]| x.hypot(*y))
    }

    /// Distance from the saddle after the last step.
    pub fn end(&self) -> f64 {
        self.distance(self.points.len())
    }

    /// Factor of the distance per step: the geometric mean over the second half.
    pub fn factor(&self) -> f64 {
        let last = self.points.len().saturating_sub(1);
        let half = last / 2;
        (self.end() / self.distance(half)).powf(1.0 / (last - half).max(1) as f64)
    }
}

/// Simulates the game under every update rule.
///
/// # Errors
/// Returns the errors of [`SaddleSettings::validate`].
pub fn simulate(settings: &SaddleSettings) -> Result<Vec<Trajectory>, TrainError> {
    settings.validate()?;
    Ok(Method::ALL.into_iter().map(|method| trajectory(method, settings)).collect())
}

fn trajectory(method: Method, settings: &SaddleSettings) -> Trajectory {
    let mut rule = UpdateRule::new(settings);
    let mut points = vec![settings.start];
    points.extend((0..settings.steps).map(|_| rule.step(method, settings)));
    Trajectory { method, points }
}

type Point = [f64; 2];

fn zip(a: Point, b: Point, f: impl Fn(f64, f64) -> f64) -> Point {
    [f(a[0], b[0]), f(a[1], b[1])]
}

/// The descent directions of x and y: (∂f/∂x, −∂f/∂y).
fn gradient([x, y]: Point, c: f64) -> Point {
    [y + c * x, -x + c * y]
}

/// The current point and the optimizer state of both variables.
struct UpdateRule {
    at: Point,
    velocity: Point,
    square: Point,
    last: Option<Point>,
    steps: i32,
}

impl UpdateRule {
    fn new(settings: &SaddleSettings) -> Self {
        Self { at: settings.start, velocity: [0.0; 2], square: [0.0; 2], last: None, steps: 0 }
    }

    fn step(&mut self, method: Method, s: &SaddleSettings) -> Point {
        self.steps += 1;
        let g = gradient(self.at, s.curvature);
        let moved = match method {
            Method::Simultaneous => g,
            Method::Momentum => self.accumulate(g, s.momentum),
            Method::Nesterov => zip(g, self.accumulate(g, s.momentum), |g, v| g + s.momentum * v),
            Method::Alternating => self.alternating_update(g, 0.0, s),
            Method::NegativeMomentum => self.alternating_update(g, -s.momentum, s),
            Method::RmsProp => {
                self.square = zip(self.square, g, |v, g| 0.99 * v + 0.01 * g * g);
                zip(g, self.square, |g, v| g / (v.sqrt() + 1e-8))
            }
            Method::Adam => self.adam(g, s.beta1),
            Method::Optimistic => self.extrapolate(g),
            Method::OptimisticAdam => {
                let step = self.adam(g, 0.0);
                self.extrapolate(step)
            }
            Method::Extragradient => gradient(zip(self.at, g, |w, g| w - s.lr * g), s.curvature),
        };
        self.at = zip(self.at, moved, |w, d| w - s.lr * d);
        self.at
    }

    fn accumulate(&mut self, g: Point, beta: f64) -> Point {
        self.velocity = zip(self.velocity, g, |v, g| beta * v + g);
        self.velocity
    }

    /// Takes y's gradient at the updated x.
    fn alternating_update(&mut self, g: Point, beta: f64, s: &SaddleSettings) -> Point {
        let first = beta * self.velocity[0] + g[0];
        let second = gradient([self.at[0] - s.lr * first, self.at[1]], s.curvature)[1];
        self.velocity = [first, beta * self.velocity[1] + second];
        self.velocity
    }

    fn adam(&mut self, g: Point, beta1: f64) -> Point {
        const BETA2: f64 = 0.999;
        self.velocity = zip(self.velocity, g, |m, g| beta1 * m + (1.0 - beta1) * g);
        self.square = zip(self.square, g, |v, g| BETA2 * v + (1.0 - BETA2) * g * g);
        let (first, second) = (1.0 - beta1.powi(self.steps), 1.0 - BETA2.powi(self.steps));
        zip(self.velocity, self.square, |m, v| m / first / ((v / second).sqrt() + 1e-8))
    }

    /// Twice this direction minus the previous one; the first step has no previous one and is
    /// plain.
    fn extrapolate(&mut self, g: Point) -> Point {
        let last = self.last.replace(g).unwrap_or(g);
        zip(g, last, |g, last| 2.0 * g - last)
    }
}
