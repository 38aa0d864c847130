//! The Inception network of the Fréchet inception distance (FID): Inception v3 (Szegedy et al.
//! 2016) with the weights that its authors published in December 2015, as pytorch-fid and
//! torch-fidelity read it. Features of these weights alone give values that may be called FID, KID
//! and inception score.
//!
//! It differs from Inception v3 of torchvision: average pooling does not count pixels outside the
//! image, the last block has a maximum instead, and there are 1008 classes. The class probabilities
//! are of logits without the classifier's bias, as in the published inception score (Salimans et
//! al. 2016) and in torch-fidelity.
//!
//! The weights are not part of this program. docs/eval.md says where they are.

mod network;
mod resize;
mod weights;

pub use resize::InputScaling;

use crate::EvalError;
use crate::features::Features;
use network::{CLASSES, FEATURES, Layers, SIDE};
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::path::Path;
use tensor::{Device, Tensor};
use weights::Weights;

/// Images in a forward pass.
const BATCH: usize = 16;
/// The smallest forward pass. Whether a convolution runs by Winograd depends on the batch only
/// below this size, so that an image has the same features in any batch of at least as many.
const LEAST: usize = 8;
/// The first digits of the SHA-256 of the published weights, which are part of their file names.
pub const PUBLISHED: &str = "6726825d";

/// The Inception network with the weights of a file.
pub struct Inception {
    layers: Layers,
    scaling: InputScaling,
    /// The SHA-256 of the file, in hexadecimal.
    sha256: String,
}

impl Inception {
    /// Reads a state dict with torchvision's names, a file of `torch.save` or safetensors, to
    /// compute on `device`: `pt_inception-2015-12-05-6726825d.pth` of pytorch-fid or
    /// `weights-inception-2015-12-05-6726825d.pth` of torch-fidelity.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, if a tensor is missing, has another shape, is
    /// not finite or is none of the network's; and if the file has the name of the published
    /// weights, but another SHA-256.
    pub fn load(path: &Path, scaling: InputScaling, device: &Device) -> Result<Self, EvalError> {
        let sha256 = weights::sha256(path)?;
        let claims =
            path.file_name().is_some_and(|name| name.to_string_lossy().contains(PUBLISHED));
        if claims && !sha256.starts_with(PUBLISHED) {
            return Err(EvalError::InceptionHash {
                path: path.into(),
                expected: PUBLISHED.into(),
                found: sha256,
            });
        }
        let mut weights = Weights::open(path)?;
        let layers = Layers::new(&mut |name, shape| weights.take(name, shape), device)?;
        weights.finish()?;
        Ok(Self { layers, scaling, sha256 })
    }

    /// The network with the tensors that `values` returns for their names and shapes: for
    /// measurements, and for tests without a file.
    ///
    /// # Panics
    /// Panics if a tensor does not have as many values as its shape.
    #[track_caller]
    pub fn from_fn(
        mut values: impl FnMut(&str, &[usize]) -> Vec<f32>,
        scaling: InputScaling,
        device: &Device,
    ) -> Self {
        let mut digest = Sha256::new();
        let mut source = |name: &str, shape: &[usize]| {
            let values = values(name, shape);
            let count: usize = shape.iter().product();
            assert_eq!(values.len(), count, "Inception: values of {name}");
            values.iter().for_each(|value| digest.update(value.to_le_bytes()));
            Ok::<_, Infallible>(values)
        };
        let Ok(layers) = Layers::new(&mut source, device);
        Self { layers, scaling, sha256: weights::hexadecimal(digest) }
    }

    /// Whether the weights are the published ones, by their SHA-256. Otherwise values must not be
    /// called FID, KID or inception score.
    pub fn is_published(&self) -> bool {
        self.sha256.starts_with(PUBLISHED)
    }

    /// The network's name, the first 32 bits of its file's SHA-256, and how images are resized
    /// unless as pytorch-fid does.
    pub fn id(&self) -> String {
        let hash: String = self.sha256.chars().take(PUBLISHED.len()).collect();
        let name = match self.is_published() {
            true => "inception-2015-12-05",
            false => "inception with other weights",
        };
        let suffix = match self.scaling {
            InputScaling::PytorchFid => "",
            InputScaling::CleanFid => ", clean-fid resizing",
        };
        format!("{name} {hash}{suffix}")
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        self.layers.device()
    }

    /// Features `[N, 2048]` and class probabilities `[N, 1008]` of images `[N, H, W, C]` in [−1, 1]
    /// of any size. They are first rounded to 8 bits, as an image file would be.
    ///
    /// # Errors
    /// Returns an error if the images have neither one nor three channels, or the device fails.
    pub fn extract(&self, images: &Tensor) -> Result<(Features, Features), EvalError> {
        let shape = images.shape();
        if shape.rank() != 4 || ![1, 3].contains(&shape[3]) || shape[1] * shape[2] == 0 {
            let found = shape.get(1..).unwrap_or_default().to_vec();
            return Err(EvalError::InceptionImages { found });
        }
        let count = shape[0];
        let (mut features, mut classes) = (Vec::new(), Vec::new());
        for start in (0..count).step_by(BATCH) {
            let part = images.narrow(0, start, BATCH.min(count - start));
            let [own, logits] = self.forward(&self.scaling.apply(&part));
            own.append_to(&mut features);
            logits.softmax(1).append_to(&mut classes);
            self.device().check()?;
        }
        Ok((Features::new(FEATURES, features), Features::new(CLASSES, classes)))
    }

    /// The features `[N, 2048]` and the logits `[N, 1008]` without bias of images
    /// `[N, 299, 299, 3]` as the network takes them.
    ///
    /// # Panics
    /// Panics if the images have another shape.
    #[track_caller]
    fn forward(&self, images: &Tensor) -> [Tensor; 2] {
        let count = images.shape()[0];
        assert_eq!(images.shape()[..], [count, SIDE, SIDE, 3], "Inception: images");
        let images = images.to_device(self.device());
        if count >= LEAST {
            return self.layers.forward(&images);
        }
        self.layers
            .forward(&images.pad_with_zeros(0, 0, LEAST))
            .map(|rows| rows.narrow(0, 0, count))
    }
}
