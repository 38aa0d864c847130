//! The golden cases of layers, losses, optimizers and augmentation on a GPU. Without an adapter
//! they are reported as ignored.

#[path = "../../../tensor/tests/common/adapter.rs"]
mod adapter;
#[path = "../losses/cases.rs"]
mod cases;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/stabilizers.rs"]
mod table;

fn main() {
    adapter::run(
        &[
            ("layers_match_pytorch", table::layers_match_pytorch),
            ("objectives", cases::objectives),
            ("penalties", cases::penalties),
            ("features_and_classes", cases::features_and_classes),
            ("optimizers", cases::optimizers),
            ("clipping", cases::clipping),
            ("histories", cases::histories),
            ("augmentation", cases::augmentation),
        ],
        &[],
    );
}
