//! Networks as programs for others: an ONNX graph ([`onnx`]) and Python code for PyTorch
//! ([`pytorch`]). Each layer writes its own part, in its file of [`layers`](crate::layers).

mod form;
pub mod onnx;
pub mod pytorch;

pub(crate) use form::{AxesStep, Form};
