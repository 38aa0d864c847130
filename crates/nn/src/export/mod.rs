//! Networks as programs for others: an ONNX graph ([`onnx`]) and Python code for PyTorch
//! ([`pytorch`]). Each layer writes its own part, in its file of [`layers`](crate::layers).

mod form;
pub mod onnx;
pub mod pytorch;

pub(crate) use form::{AxesStep, Form};

/// The name of a type without its path.
pub(crate) fn type_name<T: ?Sized>() -> &'static str {
    std::any::type_name::<T>().rsplit("::").next().unwrap_or_default()
}
