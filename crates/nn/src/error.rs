//! The error type: failures caused by files, recipes or other input, not by programming errors.

/// An error of this crate, as one line that names the item, its value and the remedy.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NnError {
    /// A state dict lacks a tensor.
    #[error("tensor \"{name}\" {shape:?} is missing; were these weights made by another recipe?")]
    MissingTensor {
        /// The tensor's name.
        name: String,
        /// The shape it should have, in PyTorch's layout.
        shape: Vec<usize>,
    },
    /// A state dict holds a tensor that the network does not have.
    #[error(
        "tensor \"{name}\" {shape:?} does not belong to this network{hint}; were these weights made by another recipe?"
    )]
    UnexpectedTensor {
        /// The tensor's name.
        name: String,
        /// The shape it has.
        shape: Vec<usize>,
        /// `, which has "x"` if a name is similar, else empty.
        hint: String,
    },
    /// A tensor has another shape than the network's.
    #[error(
        "tensor \"{name}\" has shape {found:?} where the network has {expected:?}; were these weights made by another recipe?"
    )]
    WrongShape {
        /// The tensor's name.
        name: String,
        /// The network's shape, in PyTorch's layout.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
    },
    /// A tensor has the wrong element type, or its element count does not match its shape.
    #[error("tensor \"{name}\" {problem}; the file is damaged or not a state dict")]
    BadTensor {
        /// The tensor's name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No preset has this name.
    #[error("unknown recipe \"{name}\"{hint} (there are {known})")]
    UnknownRecipe {
        /// The requested name.
        name: String,
        /// `, did you mean "x"?` if a name is similar, else empty.
        hint: String,
        /// All names.
        known: String,
    },
    /// A recipe is not TOML.
    #[error("the recipe is not valid TOML: line {line}: {message}")]
    Syntax {
        /// Line number, from 1.
        line: usize,
        /// The parser's message.
        message: String,
    },
    /// A recipe has an unknown key.
    #[error("unknown key \"{key}\" in the recipe{hint}")]
    UnknownKey {
        /// Section and key.
        key: String,
        /// `, did you mean "x"?` if a key is similar, else the list of known keys.
        hint: String,
    },
    /// A recipe lacks a key.
    #[error(
        "the recipe lacks the key \"{key}\"; add it, or start from a preset with base = \"small\""
    )]
    MissingKey {
        /// Section and key.
        key: String,
    },
    /// A recipe's value is of the wrong type or out of range.
    #[error("recipe key \"{key}\" = {value}: {problem}")]
    BadValue {
        /// Section and key.
        key: String,
        /// The value.
        value: String,
        /// What is wrong, and which values are valid.
        problem: String,
    },
    /// No network can be built for this image size.
    #[error(
        "image size {}x{} cannot be made: each side must be a seed of 4 to 15 pixels, doubled at least once; nearest sizes that can: {}",
        size[0], size[1], nearest.iter().map(|[h, w]| format!("{h}x{w}")).collect::<Vec<_>>().join(", ")
    )]
    ImageSize {
        /// The requested height and width.
        size: [usize; 2],
        /// The nearest valid sizes: the one below, if there is one, and the one above.
        nearest: Vec<[usize; 2]>,
    },
}

/// `, did you mean "x"?` for the name most similar to `name`, or an empty string if none is
/// similar.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |n| format!(", did you mean \"{n}\"?"))
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
