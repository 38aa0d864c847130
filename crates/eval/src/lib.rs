//! Metrics and experiments on trained networks: the room where they go. Nothing is here yet; what a checkpoint's networks draw is
//! reached through `train::Sampler`.

#![forbid(unsafe_code)]
