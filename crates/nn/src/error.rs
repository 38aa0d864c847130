//! The error type: failures caused by files, recipes or other input, not by programming errors.

/// An error of this crate, as one line that names the item, its value and the remedy.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum NnError {
    /// A state dict lacks a tensor of this shape, in PyTorch's layout.
    #[error("tensor \"{name}\" {shape:?} is missing; were these weights made by another recipe?")]
    MissingTensor { name: String, shape: Vec<usize> },
    /// A state dict holds a tensor that the network does not have.
    #[error(
        "tensor \"{name}\" {shape:?} does not belong to this network{}; were these weights \
         made by another recipe?",
        suggest(similar, ", which has ", "")
    )]
    UnexpectedTensor { name: String, shape: Vec<usize>, similar: Option<String> },
    /// A tensor has another shape than the network's, in PyTorch's layout.
    #[error(
        "tensor \"{name}\" has shape {found:?} where the network has {expected:?}; were these \
         weights made by another recipe?"
    )]
    WrongShape { name: String, expected: Vec<usize>, found: Vec<usize> },
    /// A tensor has the wrong element type, or its element count does not match its shape.
    #[error("tensor \"{name}\" {problem}; the file is damaged or not a state dict")]
    BadTensor { name: String, problem: String },
    /// A tensor holds NaN or infinity, or held a float64 that float32 cannot.
    #[error(
        "tensor \"{name}\" holds {value} (element {index}); weights must be finite float32 values"
    )]
    NonFiniteTensor { name: String, value: f32, index: usize },
    /// No preset has this name.
    #[error("unknown recipe \"{name}\"{} (there are {})", did_you_mean(similar), known.join(", "))]
    UnknownRecipe { name: String, similar: Option<String>, known: Vec<String> },
    /// A recipe is not TOML.
    #[error("the recipe is not valid TOML: line {line}: {message}")]
    Syntax { line: usize, message: String },
    /// A recipe has an unknown key.
    #[error("unknown key \"{key}\" in the recipe{}", did_you_mean(similar))]
    UnknownKey { key: String, similar: Option<String> },
    /// A recipe lacks a key.
    #[error(
        "the recipe lacks the key \"{key}\"; add it, or start from a preset with base = \"small\""
    )]
    MissingKey { key: String },
    /// A recipe's value is of the wrong type or out of range.
    #[error("recipe key \"{key}\" = {value}: {problem}")]
    BadValue { key: String, value: String, problem: String },
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

fn did_you_mean(similar: &Option<String>) -> String {
    suggest(similar, ", did you mean ", "?")
}

fn suggest(similar: &Option<String>, before: &str, after: &str) -> String {
    similar.as_ref().map_or_else(String::new, |name| format!("{before}\"{name}\"{after}"))
}

/// Returns the name most similar to `name`, if any is similar enough.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|k| (strsim::jaro_winkler(&name, k), k))
        .filter(|(likeness, _)| *likeness >= 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}
