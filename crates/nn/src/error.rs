//! The error type: failures caused by files, recipes or other input, not by programming errors.

/// An error of this crate, as one line that names the item and its value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum NnError {
    /// A state dict lacks a tensor of this shape, in PyTorch's layout.
    #[error("tensor \"{name}\" {shape:?} is missing")]
    MissingTensor { name: String, shape: Vec<usize> },
    /// A state dict holds a tensor that the network does not have; it has the `known` ones.
    #[error("tensor \"{name}\" {shape:?} does not belong to this network")]
    UnexpectedTensor { name: String, shape: Vec<usize>, known: Vec<String> },
    /// A tensor has another shape than the network's, in PyTorch's layout.
    #[error("tensor \"{name}\" has shape {found:?} where the network has {expected:?}")]
    WrongShape { name: String, expected: Vec<usize>, found: Vec<usize> },
    /// A tensor has the wrong element type or number of elements, or a value that it cannot have.
    #[error("tensor \"{name}\" {problem}")]
    BadTensor { name: String, problem: TensorProblem },
    /// A tensor holds NaN or infinity, or held a float64 that float32 cannot.
    #[error(
        "tensor \"{name}\" holds {value} (element {index}); weights must be finite float32 values"
    )]
    NonFiniteTensor { name: String, value: f32, index: usize },
    /// A tensor holds a value that half precision cannot.
    #[error("tensor \"{name}\" holds {value} (element {index}), beyond half precision (65504)")]
    BeyondHalf { name: String, value: f32, index: usize },
    /// A layer of this type cannot be written in another format, ONNX or PyTorch.
    #[error("layer \"{layer}\" ({kind}) has no translation to {format}")]
    Untranslatable { layer: String, kind: &'static str, format: &'static str },
    /// A layer of this name and type is no plain operation on each sample.
    #[error("layer \"{layer}\" ({kind}) is no operation on each image alone")]
    NoInferenceLayer { layer: String, kind: &'static str },
    /// No preset has this name.
    #[error("unknown recipe \"{name}\"")]
    UnknownRecipe { name: String },
    /// No preset has the tensors of a state dict, at any size.
    #[error("no recipe has these tensors; the nearest is {nearest}: {difference}")]
    NoRecipe { nearest: String, difference: Box<NnError> },
    /// A recipe is not TOML.
    #[error("the recipe is not valid TOML: line {line}: {message}")]
    Syntax { line: usize, message: String },
    /// A recipe has a section or key that is not one of the `known`, such as `optimizer.lr`.
    #[error("unknown key \"{key}\" in the recipe")]
    UnknownKey { key: String, known: Vec<String> },
    /// A recipe lacks a key.
    #[error("the recipe lacks the key \"{key}\"")]
    MissingKey { key: String },
    /// A recipe's value is of the wrong type, out of range, or not possible with other values.
    #[error("recipe key \"{key}\" = {value}: {problem}")]
    BadValue { key: String, value: String, problem: ValueProblem },
    /// No network can be built for this image size. `nearest` has the valid sizes below, if there
    /// is one, and above.
    #[error(
        "image size {}x{} is not supported: each side must be a base resolution of 4 to 15 pixels, \
         doubled at least once; nearest supported sizes: {}",
        size[0],
        size[1],
        nearest.iter().map(|[h, w]| format!("{h}x{w}")).collect::<Vec<_>>().join(", ")
    )]
    ImageSize { size: [usize; 2], nearest: Vec<[usize; 2]> },
}

/// Why a tensor of a state dict cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum TensorProblem {
    /// Its elements have another type.
    #[error("holds {found} where {expected} belongs")]
    Type { found: &'static str, expected: &'static str },
    /// Its elements do not fill its shape.
    #[error("has {elements} elements for shape {shape:?}")]
    Elements { elements: usize, shape: Vec<usize> },
    /// An element is negative where a variance belongs.
    #[error("holds {value} (element {index}) where a variance is 0 or more")]
    Variance { value: f32, index: usize },
    /// The tensor is negative where a count belongs.
    #[error("is {0}, not a count")]
    Count(i64),
}

/// Why a recipe's value is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueProblem {
    /// The key takes no such value, whatever the others are: another type, an unknown name, or the
    /// choice of the other network.
    #[error("{0}")]
    Invalid(String),
    /// The value is out of the range that the text describes.
    #[error("{0}")]
    OutOfRange(String),
    /// The value needs another value of the key or section `other`, or excludes the one it has.
    #[error("{reason}")]
    Combination {
        /// The key or section.
        other: String,
        /// Why the two do not go together.
        reason: String,
    },
    /// A layer does not take its input, or its keys make no sense.
    #[error("{0}")]
    Layer(String),
    /// The listed layers of a network make samples of another shape.
    #[error("the {network} ends with {found:?} where {} is wanted", shape_text(wanted))]
    LastLayer {
        /// `generator` or `discriminator`.
        network: &'static str,
        /// The shape of a sample after the last layer.
        found: Vec<usize>,
        /// The shape that the image or the loss needs.
        wanted: Vec<usize>,
    },
    /// The network would be too large.
    #[error("{0}")]
    TooLarge(String),
}

fn shape_text(shape: &[usize]) -> String {
    if shape.is_empty() { "1 element".into() } else { format!("{shape:?}") }
}
