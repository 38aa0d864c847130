//! Copies between shapes, there and back.

use super::{config, indices, pair, position, random, wide};
use proptest::prelude::*;
use tensor::concat;

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn movements(
        shape in proptest::collection::vec(1usize..=6, 1..=5),
        keys in proptest::collection::vec(any::<u32>(), 5),
        axis in 0usize..5, cuts in (0usize..=6, 0usize..=6),
        pad in [pair(0..=2), pair(0..=2)], seed in any::<u32>(),
    ) {
        let x = random(u64::from(seed), &shape);
        let xs = x.to_vec();
        let mut order: Vec<usize> = (0..shape.len()).collect();
        order.sort_by_key(|&i| keys[i]);
        let moved = x.permute(&order);
        for (index, value) in indices(&moved.shape()[..]).zip(moved.to_vec()) {
            let mut source = vec![0; shape.len()];
            order.iter().zip(&index).for_each(|(&a, &i)| source[a] = i);
            prop_assert_eq!(value, xs[position(&source, &shape)]);
        }
        let mut inverse = vec![0; order.len()];
        order.iter().enumerate().for_each(|(i, &a)| inverse[a] = i);
        prop_assert_eq!(moved.permute(&inverse).to_vec(), xs.clone());

        let axis = axis % shape.len();
        let [low, high] =
            [cuts.0.min(cuts.1), cuts.0.max(cuts.1)].map(|cut| cut.min(shape[axis]));
        let parts = [(0, low), (low, high), (high, shape[axis])]
            .map(|(start, end)| x.narrow(axis, start, end - start));
        for (index, value) in indices(&parts[1].shape()[..]).zip(parts[1].to_vec()) {
            let mut source = index;
            source[axis] += low;
            prop_assert_eq!(value, xs[position(&source, &shape)]);
        }
        prop_assert_eq!(concat(&[&parts[0], &parts[1], &parts[2]], axis).to_vec(), xs.clone());
        let back = parts[1].pad_with_zeros(axis, low, shape[axis]);
        for (index, value) in indices(&shape).zip(back.to_vec()) {
            let inside = (low..high).contains(&index[axis]);
            prop_assert_eq!(value, if inside { xs[position(&index, &shape)] } else { 0.0 });
        }

        if let [n, h, w, c] = shape[..] {
            let padded = x.pad2d(pad);
            let [tall, broad] = [h + pad[0][0] + pad[0][1], w + pad[1][0] + pad[1][1]];
            prop_assert_eq!(&padded.shape()[..], &[n, tall, broad, c][..]);
            let inside = padded.narrow(1, pad[0][0], h).narrow(2, pad[1][0], w);
            prop_assert_eq!(inside.to_vec(), xs.clone());
            let total = |t: &tensor::Tensor| wide(t).iter().map(|v| v.abs()).sum::<f64>();
            let outside = total(&padded) - total(&x);
            prop_assert!(outside.abs() < 1e-9, "the border holds zeros");
        }
        let rows: Vec<usize> = keys.iter().map(|&k| k as usize % shape[0]).collect();
        let width = xs.len() / shape[0];
        let expected: Vec<f32> =
            rows.iter().flat_map(|r| xs[r * width..(r + 1) * width].to_vec()).collect();
        prop_assert_eq!(x.index_select(&rows).to_vec(), expected);
    }
}
