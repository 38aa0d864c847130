//! Errors of metrics and experiments.

use data::DataError;
use nn::NnError;
use nn::recipe::NetworkRole;
use runs::ArtifactError;
use std::path::PathBuf;
use tensor::gpu::GpuError;
use train::TrainError;

/// An error of a metric or an experiment: one line that names the problem and its values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum EvalError {
    /// A checkpoint, its networks, or sampling from them.
    #[error(transparent)]
    Train(Box<TrainError>),
    /// Files that are read or written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A dataset or image file could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Recipe or weights.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// The device failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The progress callback cancelled the work.
    #[error("stopped")]
    Stopped,

    /// A set has too few images.
    #[error("{purpose} needs at least {needed} images: the {set} has {found}")]
    TooFewImages { purpose: String, set: String, needed: usize, found: usize },
    /// There are no images.
    #[error("there are no images to evaluate")]
    NoImages,
    /// Images do not have the shape that a network takes.
    #[error("{images}: the images are {}, the network takes {}", size(found), size(expected))]
    ImageShape { images: String, found: Vec<usize>, expected: [usize; 3] },
    /// Sides are too short for a feature network.
    #[error("images of {height}x{width}: a feature network needs sides of at least {least} pixels")]
    SmallImages { height: usize, width: usize, least: usize },
    /// Rows do not fit the memory.
    #[error("{purpose}: {rows} rows of {width} values do not fit into memory")]
    OutOfMemory { purpose: String, rows: usize, width: usize },

    /// Two sets have features of different widths.
    #[error("the real set has features of {real} values, the generated one of {fake}")]
    FeatureWidths { real: usize, fake: usize },
    /// A feature is NaN or infinite.
    #[error("{set}: a feature of image {image} is {value}")]
    NonFiniteFeature { set: String, image: usize, value: f32 },
    /// Some features are NaN or infinite, or so large that their covariance is.
    #[error("the features are not all finite")]
    NonFiniteFeatures,
    /// Both images and features are too many for eigenvalues of their covariance.
    #[error(
        "the Fréchet distance of {images} images with features of {width} values takes too long"
    )]
    FrechetTooLarge { images: usize, width: usize },
    /// KID without subsets, or with subsets of less than 2 images.
    #[error("the kernel distance needs at least 1 subset of at least 2 images: {count} of {size}")]
    EmptySubsets { count: usize, size: usize },
    /// A metric needs class probabilities, which the features come without.
    #[error("metric {metric} needs features of a network that was trained on classes")]
    NeedsClassProbabilities { metric: &'static str },
    /// A metric needs more of the real images than mean and covariance of their features.
    #[error("metric {metric} needs the features of real images, not only their statistics")]
    NeedsRealImages { metric: &'static str },
    /// A conditional generator without a real set whose conditions it could take.
    #[error("the generator is conditional, and there are no real images with conditions for it")]
    NeedsRealConditions,
    /// A metric needs the training images.
    #[error("metric {metric} needs the training images")]
    NeedsTrainSet { metric: &'static str },

    /// The loss became NaN or infinite.
    #[error("training the {model} diverged in epoch {epoch}")]
    Diverged { model: &'static str, epoch: usize },
    /// A checkpoint was given as a feature network.
    #[error("{path:?} is a checkpoint, not a feature network")]
    CheckpointAsFeatureNetwork { path: PathBuf },
    /// A file is not a valid feature network.
    #[error("{path:?} is not a feature network: {problem}")]
    FeatureNetworkFile { path: PathBuf, problem: String },
    /// A file does not hold the weights of the Inception network.
    #[error("{path:?} does not hold the Inception network of FID: {problem}")]
    InceptionFile { path: PathBuf, problem: String },
    /// A file has the name of the published weights and other contents.
    #[error(
        "the SHA-256 of {path:?} is {found}: it should begin with {expected}, as its name says"
    )]
    InceptionHash { path: PathBuf, expected: String, found: String },
    /// Images that the Inception network does not take.
    #[error("the images are {}: the Inception network takes one channel or three", size(found))]
    InceptionImages { found: Vec<usize> },
    /// A file does not hold mean and covariance of features.
    #[error("{path:?} does not hold mean and covariance of features: {problem}")]
    StatisticsFile { path: PathBuf, problem: String },
    /// A feature network with too small batches or without epochs.
    #[error("a feature network needs at least 2 images a step and 1 epoch: {batch}, {epochs:?}")]
    FeatureTraining { batch: usize, epochs: Option<usize> },
    /// The dataset has no labels.
    #[error("{dataset:?} has no labels to learn features from")]
    NoLabels { dataset: String },
    /// The dataset has one class, or too many.
    #[error("{dataset:?} has {classes} classes: a feature network learns 2 to {most}")]
    ClassCount { dataset: String, classes: usize, most: usize },
    /// The dataset has no attributes that a feature network can learn.
    #[error("{dataset:?} has no binary attributes, and none of 2 to 32 words")]
    NoAttributes { dataset: String },
    /// Training and test split differ in more than their images.
    #[error("the splits of {dataset:?} have different image sizes, classes or attributes")]
    DifferentSplits { dataset: String },

    /// The checkpoint holds a generator alone.
    #[error("the checkpoint has no discriminator")]
    NoDiscriminator,
    /// The discriminator takes a condition, where none is known.
    #[error("the checkpoint's discriminator is conditional")]
    ConditionalDiscriminator,
    /// The discriminator has no hidden activations.
    #[error("the checkpoint's discriminator has no hidden activations")]
    NoHiddenActivations,
    /// The discriminator compares the images of a batch.
    #[error("the discriminator compares the images of a batch, and has no output for a single one")]
    BatchDependentDiscriminator,
    /// The discriminator has no convolution with an activation.
    #[error("the discriminator of recipe {recipe} has no convolution with an activation")]
    NoConvolution { recipe: String },

    /// A sample specification is out of range or does not fit the networks.
    #[error("the image cannot be generated from its specification: {problem}")]
    SampleSpec { problem: String },
    /// A PNG has no provenance.
    #[error("{path:?} has no metadata that say how it was generated")]
    NoProvenance { path: PathBuf },
    /// A PNG's provenance cannot be parsed.
    #[error("the provenance of {path:?} cannot be parsed ({problem})")]
    Provenance { path: PathBuf, problem: String },
    /// An image is smaller than the grid of its provenance.
    #[error("the image does not have the size that its provenance says")]
    CroppedImage,
    /// A reproduced image has another size than the file.
    #[error(
        "the reproduced image is {}x{}, the file's is {}x{}",
        reproduced[0], reproduced[1], file[0], file[1]
    )]
    ReproducedSize { reproduced: [u32; 2], file: [u32; 2] },
    /// The images do not depend on the latents.
    #[error("the images do not depend on the latents")]
    NoLatentGradient,
    /// The gradient of a latent became NaN or infinite.
    #[error("the gradient of a latent is not finite (learning rate {lr})")]
    NonFiniteLatentGradient { lr: f64 },
    /// A factor that does not divide the sides of images.
    #[error(
        "factor {factor} is not at least 2 and a divisor of both sides of {height}x{width} images"
    )]
    ResizeFactor { factor: usize, height: usize, width: usize },
    /// A mask of another size than the image.
    #[error("the mask has {pixels} pixels, the image {height}x{width}")]
    MaskSize { pixels: usize, height: usize, width: usize },
    /// A mask without missing pixels.
    #[error("the mask marks no pixel as missing")]
    EmptyMask,
    /// A mask without known pixels.
    #[error("the mask marks all pixels as missing")]
    FullMask,
    /// An attribute that the model does not know.
    #[error("{term:?} is not an attribute: the model has {}", known.join(", "))]
    UnknownAttribute { term: String, known: Vec<String> },
    /// A text that specifies no exemplars.
    #[error("{text:?} specifies no exemplars")]
    ExemplarSpec { text: String },

    /// A linear probe of fewer than two classes.
    #[error("{dataset} has {classes} classes: a classifier needs labels of two or more")]
    TooFewClasses { dataset: String, classes: usize },
    /// No images, or all, are held out.
    #[error(
        "{validation} of the {images} training images of {dataset} are held out: at least 1 must \
         be, and 1 must be left"
    )]
    ValidationCount { dataset: String, validation: usize, images: usize },
    /// Labels that are not equally many for each class.
    #[error(
        "{labels} labels cannot be equally many for each of the {classes} classes of {dataset}"
    )]
    LabelCount { dataset: String, labels: usize, classes: usize },
    /// A class with too few images that are not held out.
    #[error(
        "{dataset} has {images} images of class {class:?} that are not held out: a draw needs \
         {needed}"
    )]
    SmallClass { dataset: String, class: String, images: usize, needed: usize },
    /// Images without a label, or with one of another class.
    #[error("{dataset}: not all images have a label of the {classes} classes")]
    UnlabeledImages { dataset: String, classes: usize },
    /// Patches that are not smaller than the images.
    #[error("patches of {patch}x{patch} for images of {height}x{width}")]
    PatchSize { patch: usize, height: usize, width: usize },
    /// More centroids than patches, or none.
    #[error("{centroids} centroids of {patches} patches")]
    CentroidCount { centroids: usize, patches: usize },
    /// A supervised baseline without draws, trials or epochs.
    #[error("the supervised baseline needs labels, trials and epochs: {draws}, {trials}, {epochs}")]
    SupervisedTraining { draws: usize, trials: usize, epochs: usize },
    /// A scatter plot without points, with too many, or of incomplete rows.
    #[error(
        "cannot draw {values} values in rows of {width} as points: 1 to {most} rows can be drawn"
    )]
    ScatterRows { values: usize, width: usize, most: usize },
    /// A scatter plot whose classes do not fit its rows.
    #[error("cannot draw {rows} points: there is not one class for each")]
    ScatterClasses { rows: usize },

    /// The checkpoint lacks one of the networks.
    #[error("the checkpoint has no {}", role_name(*role))]
    MissingNetwork { role: NetworkRole },
    /// A network has no layer with weights.
    #[error("the network of recipe {recipe} has no layer with weights")]
    NoWeightedLayer { recipe: String },
    /// A layer's weights cannot be shown as images.
    #[error("the weights of layer {layer} are not images: the layer does not touch pixels")]
    WeightsNotImages { layer: String },
    /// The generator has no layers with feature maps.
    #[error("the generator of recipe {recipe} has no layers with feature maps")]
    NoFeatureMaps { recipe: String },
    /// There is no layer with this name.
    #[error("the generator has no feature maps in layer {name:?}: it has {}", known.join(", "))]
    UnknownLayer { name: String, known: Vec<String> },
    /// No map, or every map, has a positive weight.
    #[error("{positive} maps of layer {layer} have a positive weight: none or all of them")]
    UselessMaps { layer: String, positive: usize },
    /// A discriminator's layer has another number of features.
    #[error("{wanted} features of layer {layer}, which has {channels}")]
    FeatureCount { layer: String, wanted: usize, channels: usize },
    /// The boxes contain no position of the feature maps.
    #[error("no position of layer {layer} has its center in one of the boxes")]
    NoPositionInBoxes { layer: String },
    /// The boxes leave no negative positions in their images.
    #[error("the boxes fill their images: there are no positions without the object")]
    BoxesFillImages,
    /// There are no images without the object.
    #[error("there are no images without the object")]
    NoNegativeImages,
    /// A file of boxes cannot be read.
    #[error("cannot read the boxes of {path:?}: {source}")]
    BoxesFile { path: PathBuf, source: std::io::Error },
    /// A line of a file of boxes is invalid.
    #[error("{path:?}, line {line}: {problem}")]
    Box { path: PathBuf, line: usize, problem: BoxProblem },
    /// A file of boxes is empty.
    #[error("{path:?} has no boxes")]
    NoBoxes { path: PathBuf },
}

/// The problem with a line of a file of boxes.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum BoxProblem {
    /// The line is not five numbers.
    #[error("{0:?} is not sample,x0,y0,x1,y1")]
    Format(String),
    /// There is no sample with this index.
    #[error("sample {sample} is not among the {samples} generated ones")]
    Sample { sample: f64, samples: usize },
    /// The box is empty or not inside the image.
    #[error("the box {corners:?} is empty or not within {width}x{height} pixels")]
    Extent { corners: [f64; 4], width: usize, height: usize },
}

impl From<TrainError> for EvalError {
    fn from(error: TrainError) -> Self {
        Self::Train(Box::new(error))
    }
}

/// A shape as `28x28x1`.
fn size(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

fn role_name(role: NetworkRole) -> &'static str {
    match role {
        NetworkRole::Generator => "generator",
        NetworkRole::Discriminator => "discriminator",
    }
}
