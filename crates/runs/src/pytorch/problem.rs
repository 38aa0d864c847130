//! Why a file of PyTorch is not read.

use pickle::PickleError;

/// Why a file of PyTorch is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum PyTorchProblem {
    /// A damaged pickle.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// A pickle of more than 64 MiB, which is no list of tensors.
    #[error("its pickle has more than {limit} bytes")]
    PickleSize { limit: u64 },
    /// A damaged zip archive.
    #[error("its zip archive: {0}")]
    Zip(String),
    /// A zip archive without the pickle.
    #[error("it is a zip archive without a data.pkl, which torch.save writes")]
    NoPickle,
    /// An archive that another program packed again.
    #[error("its entry {entry:?} is compressed or encrypted, and torch.save only stores")]
    Compressed { entry: String },
    /// A pickle of another program.
    #[error("it is a Python pickle, but not one of torch.save")]
    NotTorch,
    /// A legacy file of another version.
    #[error("its format has version {0}, and 1001 is read")]
    Version(i64),
    /// The tar format of PyTorch before 0.1.10.
    #[error("it is a tar archive, the format of PyTorch before 0.1.10, which is not read")]
    Tar,
    /// A file of a big-endian machine.
    #[error("it is from a big-endian machine, which is not read")]
    BigEndian,
    /// A program for TorchScript.
    #[error("it is a TorchScript program, not a state dict")]
    TorchScript,
    /// A pickled `nn.Module` or another object.
    #[error("the whole file is {found}, not a state dict; nothing in it is called")]
    Object { found: String },
    /// A dict without tensors.
    #[error("it holds no tensor{}", first_text(.first))]
    NoTensors { first: Option<String> },
    /// A tensor that is not inside its storage, or whose description is malformed.
    #[error("tensor {name:?}: {problem}")]
    Tensor { name: String, problem: String },
    /// Tensors that overlap or repeat values beyond all measure.
    #[error("its tensors have {total} bytes in a file of {bytes}")]
    Expansion { total: u64, bytes: u64 },
    /// A storage that does not have its length.
    #[error("storage {key:?}: {problem}")]
    Storage { key: String, problem: String },
}

fn first_text(first: &Option<String>) -> String {
    first.as_ref().map_or_else(String::new, |first| format!(": {first}"))
}
