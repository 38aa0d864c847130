//! With `batch_invariant` the bits of an image do not depend on its batch; without it, the
//! algorithm may.

use tensor::rng::Philox;
use tensor::{
    ConvGeom, Tensor, WeightCache, batch_invariant, conv_transpose2d, conv_transpose2d_cached,
    conv2d, conv2d_input_grad,
};

#[test]
fn results_do_not_depend_on_the_batch() {
    let geom = ConvGeom::square([32; 2], 4, 2, 1);
    let mut rng = Philox::new(5, 0);
    let (x, dy) = (rng.normal([16, 32, 32, 64], 0.0, 1.0), rng.normal([16, 16, 16, 64], 0.0, 1.0));
    let w = rng.normal([4, 4, 64, 64], 0.0, 0.1);
    for (name, operand, f) in [
        ("conv2d", &x, conv2d as fn(&Tensor, &Tensor, &ConvGeom) -> Tensor),
        ("conv2d_input_grad", &dy, conv2d_input_grad as fn(&Tensor, &Tensor, &ConvGeom) -> Tensor),
    ] {
        let all = batch_invariant(|| f(operand, &w, &geom)).to_vec();
        for count in [1, 3] {
            let few = batch_invariant(|| f(&operand.narrow(0, 0, count), &w, &geom)).to_vec();
            assert!(all[..few.len()] == few[..], "{name}, {count} of 16");
        }
        // A faster algorithm gives close but different results, which shows that the scope had an
        // effect and has ended.
        let auto = f(operand, &w, &geom).to_vec();
        let scale = all.iter().fold(0f32, |m, v| m.max(v.abs()));
        let error = all.iter().zip(&auto).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / scale;
        assert!(error < 1e-5, "{name}: {error}");
        let winograd = tensor::numerics_version().starts_with("winograd-")
            && matches!(tensor::isa(), tensor::Isa::Avx512 | tensor::Isa::Avx2);
        assert_eq!(error > 0.0, winograd, "{name}");
    }
}

/// One cache with weights of the same values in alternating shapes and geometries: each call has
/// the bits of a call without a cache.
#[test]
fn a_cache_distinguishes_shapes_and_geometries() {
    let mut rng = Philox::new(6, 0);
    let w = rng.normal([2, 2, 8, 32], 0.0, 0.1);
    let cache = WeightCache::default();
    for (shape, stride) in [
        ([2, 2, 8, 32], 2),
        ([2, 2, 32, 8], 2),
        ([2, 2, 8, 32], 2),
        ([2, 2, 8, 32], 1),
        ([4, 4, 2, 32], 2),
    ] {
        let w = w.reshape(shape);
        // From one pixel the window covers the whole output, which has another layout.
        for side in [3, 1] {
            let x = rng.normal([2, side, side, shape[3]], 0.0, 1.0);
            let (stride, none) = ([stride; 2], [[0; 2]; 2]);
            let with =
                batch_invariant(|| conv_transpose2d_cached(&x, &w, &cache, stride, none, [0; 2]));
            let without = batch_invariant(|| conv_transpose2d(&x, &w, stride, none, [0; 2]));
            assert!(
                with.shape() == without.shape() && with.to_vec() == without.to_vec(),
                "{shape:?}, {side}"
            );
        }
    }
}
