//! Conversion of tensor layouts between this crate (channels last) and PyTorch state dicts.

use tensor::{Device, HostTensor, Tensor};

/// The permutation between this crate's layout (channels last) and PyTorch's (channels first).
#[derive(Clone, Debug)]
pub struct Layout {
    /// The shape in this crate.
    inner: Vec<usize>,
    /// The shape in this crate, with an image's units split into height, width and channels.
    axes: Vec<usize>,
    /// For each PyTorch axis, its index in `axes`.
    order: Vec<usize>,
    /// The shape in PyTorch.
    outer: Vec<usize>,
}

impl Layout {
    /// The identity: the same layout on both sides.
    pub(crate) fn plain(shape: &[usize]) -> Self {
        Self {
            inner: shape.into(),
            axes: shape.into(),
            order: (0..shape.len()).collect(),
            outer: shape.into(),
        }
    }

    /// A convolution kernel: `[kh, kw, a, b]` here, `[b, a, kh, kw]` in PyTorch. This holds for
    /// OIHW of a convolution and IOHW of a transposed one alike, because the weight of the latter
    /// is that of the convolution which maps its output back.
    pub(crate) fn kernel([kh, kw, a, b]: [usize; 4]) -> Self {
        Self {
            inner: vec![kh, kw, a, b],
            axes: vec![kh, kw, a, b],
            order: vec![3, 2, 0, 1],
            outer: vec![b, a, kh, kw],
        }
    }

    /// A matrix: `[in, out]` here, `[out, in]` in PyTorch.
    pub(crate) fn matrix(inputs: usize, outputs: usize) -> Self {
        Self {
            inner: vec![inputs, outputs],
            axes: vec![inputs, outputs],
            order: vec![1, 0],
            outer: vec![outputs, inputs],
        }
    }

    /// A matrix whose inputs are the flattened `[H, W, C]` here and `[C, H, W]` in PyTorch.
    pub(crate) fn matrix_from_image([h, w, c]: [usize; 3], outputs: usize) -> Self {
        Self {
            inner: vec![h * w * c, outputs],
            axes: vec![h, w, c, outputs],
            order: vec![3, 2, 0, 1],
            outer: vec![outputs, h * w * c],
        }
    }

    /// A matrix whose outputs are the flattened `[H, W, C]` here and `[C, H, W]` in PyTorch.
    pub(crate) fn matrix_to_image(inputs: usize, [h, w, c]: [usize; 3]) -> Self {
        Self {
            inner: vec![inputs, h * w * c],
            axes: vec![inputs, h, w, c],
            order: vec![3, 1, 2, 0],
            outer: vec![h * w * c, inputs],
        }
    }

    /// A vector over the units of the flattened `[H, W, C]` here and `[C, H, W]` in PyTorch.
    pub(crate) fn units([h, w, c]: [usize; 3]) -> Self {
        Self {
            inner: vec![h * w * c],
            axes: vec![h, w, c],
            order: vec![2, 0, 1],
            outer: vec![h * w * c],
        }
    }

    /// Images: `[.., H, W, C]` here and `[.., C, H, W]` in PyTorch, with at most one leading axis.
    pub(crate) fn image(shape: &[usize]) -> Self {
        let first = shape.len() - 3;
        let order: Vec<usize> = (0..first).chain([first + 2, first, first + 1]).collect();
        let outer = order.iter().map(|&axis| shape[axis]).collect();
        Self { inner: shape.into(), axes: shape.into(), order, outer }
    }

    /// The same permutation with another shape in PyTorch.
    pub(crate) fn with_outer_shape(self, outer: &[usize]) -> Self {
        debug_assert_eq!(outer.iter().product::<usize>(), self.outer.iter().product::<usize>());
        Self { outer: outer.into(), ..self }
    }

    /// The image of a vector's [`units`](Self::units).
    pub(crate) fn units_image(&self) -> Option<[usize; 3]> {
        (self.inner.len() == 1).then(|| self.axes[..].try_into().ok()).flatten()
    }

    /// The shape in this crate.
    pub(crate) fn inner(&self) -> &[usize] {
        &self.inner
    }

    /// The shape in a state dict.
    pub(crate) fn outer(&self) -> &[usize] {
        &self.outer
    }

    /// Returns the elements in the order of a state dict.
    pub(crate) fn export(&self, value: &Tensor) -> Vec<f32> {
        value.to_device(&Device::Cpu).reshape(&self.axes[..]).permute(&self.order).to_vec()
    }

    /// Returns the state dict entry for `value`.
    pub(crate) fn to_host(&self, value: &Tensor) -> HostTensor {
        HostTensor::f32(&self.outer[..], self.export(value))
    }

    /// Returns the tensor of a state dict's elements, whose count must match the shape.
    pub(crate) fn import(&self, data: &[f32]) -> Tensor {
        let permuted: Vec<usize> = self.order.iter().map(|&a| self.axes[a]).collect();
        let mut inverse = vec![0; self.order.len()];
        self.order.iter().enumerate().for_each(|(i, &a)| inverse[a] = i);
        Tensor::from_slice(data, &permuted[..]).permute(&inverse).reshape(&self.inner[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(n: usize) -> Vec<f32> {
        (0..n).map(|i| i as f32).collect()
    }

    #[test]
    fn every_layout_comes_back() {
        for layout in [
            Layout::plain(&[3, 2]),
            Layout::plain(&[]),
            Layout::kernel([2, 3, 4, 5]),
            Layout::matrix(4, 3),
            Layout::matrix_from_image([2, 3, 4], 5),
            Layout::matrix_to_image(5, [2, 3, 4]),
            Layout::units([2, 3, 4]),
            Layout::image(&[2, 3, 4]),
            Layout::image(&[5, 2, 3, 4]),
            Layout::plain(&[6]).with_outer_shape(&[1, 6, 1, 1]),
        ] {
            let data = counting(layout.outer().iter().product());
            let value = layout.import(&data);
            assert_eq!(value.shape()[..], layout.inner[..], "{layout:?}");
            assert_eq!(layout.export(&value), data, "{layout:?}");
        }
    }

    #[test]
    fn units_of_an_image_go_channel_first() {
        let layout = Layout::units([1, 2, 3]);
        // (w, c) here: 00 01 02 10 11 12; (c, w) in PyTorch.
        assert_eq!(
            layout.export(&Tensor::from_slice(&counting(6), [6])),
            [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
        );
        let rows =
            Layout::matrix_to_image(1, [1, 2, 3]).export(&Tensor::from_slice(&counting(6), [1, 6]));
        assert_eq!(rows, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        let columns = Layout::matrix_from_image([1, 2, 3], 1)
            .export(&Tensor::from_slice(&counting(6), [6, 1]));
        assert_eq!(columns, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    }
}
