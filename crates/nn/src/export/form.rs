//! The order of the elements of an exported network's samples.

use crate::layers::num_elements;

/// The samples between two layers of an exported network, where images are `[N, C, H, W]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Form {
    /// The shape of a sample in this crate: `[H, W, C]`, `[F]` or `[]`.
    pub shape: Vec<usize>,
    /// The image whose pixels, in PyTorch's order C, H, W, the elements of the vector are; `None`
    /// if they are in the order of this crate, or if the two are the same.
    units: Option<[usize; 3]>,
}

/// A change of the axes behind the batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AxesStep {
    /// Row-major, to these axes.
    Reshape(Vec<usize>),
    /// These axes of the old shape, the batch included, in their new order.
    Permute(Vec<usize>),
}

impl Form {
    /// Samples of this shape in the order of this crate.
    pub fn new(shape: &[usize]) -> Self {
        Self { shape: shape.into(), units: None }
    }

    /// Height, width and channels, if the samples are images.
    pub fn image(&self) -> Option<[usize; 3]> {
        self.shape[..].try_into().ok()
    }

    /// The channels of an image or the length of a vector.
    pub fn channels(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Images of this shape, or vectors in the order of this crate, with the last axis changed.
    pub fn with_channels(&self, channels: usize) -> Self {
        let mut shape = self.shape.clone();
        shape.pop();
        shape.push(channels);
        Self::new(&shape)
    }

    /// A vector in the order C, H, W of an image, or in that of this crate.
    pub fn vector(len: usize, units: Option<[usize; 3]>) -> Self {
        Self { shape: vec![len], units: units.and_then(distinct) }
    }

    /// Puts a vector's elements in the order C, H, W of `image`, or in that of this crate; images
    /// are left as they are.
    pub fn order_units(&mut self, image: Option<[usize; 3]>) -> Vec<AxesStep> {
        let wanted = image.and_then(distinct);
        if self.shape.len() == 3 || wanted == self.units {
            return Vec::new();
        }
        let len = num_elements(&self.shape);
        let mut steps = Vec::new();
        if let Some([h, w, c]) = self.units {
            steps.push(AxesStep::Reshape(vec![c, h, w]));
            steps.push(AxesStep::Permute(vec![0, 2, 3, 1]));
            steps.push(AxesStep::Reshape(vec![len]));
        }
        if let Some([h, w, c]) = wanted {
            steps.push(AxesStep::Reshape(vec![h, w, c]));
            steps.push(AxesStep::Permute(vec![0, 3, 1, 2]));
            steps.push(AxesStep::Reshape(vec![len]));
        }
        self.units = wanted;
        steps
    }

    /// The reshape to `axes`: an image, a vector, or no axes. `None` for any other shape.
    pub fn reshape(&mut self, axes: &[usize]) -> Option<Vec<AxesStep>> {
        let mut steps = Vec::new();
        if self.shape == axes {
            return Some(steps);
        }
        if let Some(image) = self.image() {
            let len = num_elements(&image);
            steps.push(AxesStep::Reshape(vec![len]));
            *self = Self::vector(len, Some(image));
        }
        match *axes {
            [h, w, c] if distinct([h, w, c]) == self.units => {
                steps.push(AxesStep::Reshape(vec![c, h, w]))
            }
            [h, w, c] => {
                steps.extend(self.order_units(None));
                if let Some(image) = distinct([h, w, c]) {
                    steps.push(AxesStep::Reshape(image.into()));
                    steps.push(AxesStep::Permute(vec![0, 3, 1, 2]));
                } else {
                    steps.push(AxesStep::Reshape(vec![c, h, w]));
                }
            }
            // A vector stays one, its order included.
            [_] if self.shape == axes => return Some(steps),
            [_] | [] => steps.push(AxesStep::Reshape(axes.into())),
            _ => return None,
        }
        self.shape = axes.into();
        self.units = None;
        Some(steps)
    }
}

/// The image, unless its pixels are in the same order here and in PyTorch.
fn distinct(image: [usize; 3]) -> Option<[usize; 3]> {
    let [h, w, c] = image;
    (h * w > 1 && c > 1).then_some(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    use AxesStep::{Permute, Reshape};

    #[test]
    fn units_are_put_in_order_only_where_the_orders_differ() {
        let mut form = Form::new(&[2, 3, 4]);
        assert_eq!(form.reshape(&[24]).unwrap(), [Reshape(vec![24])]);
        assert_eq!(form, Form { shape: vec![24], units: Some([2, 3, 4]) });
        assert_eq!(form.order_units(Some([2, 3, 4])), []);
        let back = form.clone().reshape(&[2, 3, 4]).unwrap();
        assert_eq!(back, [Reshape(vec![4, 2, 3])]);
        let own = [Reshape(vec![4, 2, 3]), Permute(vec![0, 2, 3, 1]), Reshape(vec![24])];
        assert_eq!(form.order_units(None), own);
        let image = [Reshape(vec![2, 3, 4]), Permute(vec![0, 3, 1, 2])];
        assert_eq!(form.reshape(&[2, 3, 4]).unwrap(), image);
        assert_eq!(form.image(), Some([2, 3, 4]));

        // One channel, or one pixel: the orders are the same.
        for shape in [[5, 2, 1], [1, 1, 10]] {
            let [h, w, c] = shape;
            let mut form = Form::new(&shape);
            assert_eq!(form.reshape(&[10]).unwrap(), [Reshape(vec![10])]);
            assert_eq!(form, Form::new(&[10]));
            assert_eq!(form.reshape(&shape).unwrap(), [Reshape(vec![c, h, w])]);
        }

        let mut form = Form::new(&[1, 1, 1]);
        assert_eq!(form.reshape(&[]).unwrap(), [Reshape(vec![1]), Reshape(vec![])]);
        assert_eq!(Form::new(&[6]).reshape(&[2, 3]), None);
    }
}
