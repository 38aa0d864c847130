//! The geometry of a strided convolution, shared by it and its two derivatives.

/// Input size, kernel, stride and padding of a two-dimensional convolution, from which the output
/// size follows. The same geometry describes the convolution, its input gradient (which is the
/// transposed convolution) and its weight gradient.
///
/// ```
/// use tensor::ConvGeom;
/// // The DCGAN's layers: 4×4 kernels of stride 2 halve the image.
/// assert_eq!(ConvGeom::square([64, 64], 4, 2, 1).output(), [32, 32]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ConvGeom {
    /// Height and width of the convolution's input, in pixels.
    pub input: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// The stride of the window, down and across.
    pub stride: [usize; 2],
    /// Zero padding: `[[top, bottom], [left, right]]`.
    pub pad: [[usize; 2]; 2],
}

impl ConvGeom {
    /// A geometry with a square kernel, and the same stride and padding on every side.
    pub fn square(input: [usize; 2], kernel: usize, stride: usize, pad: usize) -> Self {
        Self { input, kernel: [kernel; 2], stride: [stride; 2], pad: [[pad; 2]; 2] }
    }

    /// Height and width of the output: ⌊(input + padding − kernel) / stride⌋ + 1 (Dumoulin &
    /// Visin 2016, relationship 6); `None` if the kernel is larger than the padded input, or kernel
    /// or stride is 0.
    pub fn try_output(&self) -> Option<[usize; 2]> {
        let side = |i: usize| {
            let padded = self.input[i].checked_add(self.pad[i][0])?.checked_add(self.pad[i][1])?;
            let valid = self.kernel[i] > 0 && self.stride[i] > 0 && self.kernel[i] <= padded;
            valid.then(|| (padded - self.kernel[i]) / self.stride[i] + 1)
        };
        Some([side(0)?, side(1)?])
    }

    /// [`try_output`](Self::try_output) of a valid geometry.
    ///
    /// # Panics
    /// Panics if there is none.
    #[track_caller]
    pub fn output(&self) -> [usize; 2] {
        self.try_output().unwrap_or_else(|| {
            panic!("conv2d: kernel larger than the padded input, or a zero, in {self:?}")
        })
    }

    /// The geometry whose input gradient is the transposed convolution from `input` pixels with
    /// this kernel, stride, padding and `output_padding`: its `input` is (input − 1)·stride +
    /// kernel − padding + output_padding.
    ///
    /// # Errors
    /// Returns one line if `output_padding ≥ stride` (the size would be that of a larger input)
    /// or no pixel is left.
    pub fn transposed(
        input: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [[usize; 2]; 2],
        output_padding: [usize; 2],
    ) -> Result<Self, String> {
        let mut output = [0; 2];
        for i in 0..2 {
            if stride[i] == 0 || kernel[i] == 0 || input[i] == 0 {
                return Err(format!(
                    "conv_transpose2d: input {input:?}, kernel {kernel:?} and stride {stride:?} \
                     must not contain a 0"
                ));
            }
            if output_padding[i] >= stride[i] {
                return Err(format!(
                    "conv_transpose2d: output_padding {output_padding:?} must be smaller than \
                     stride {stride:?}"
                ));
            }
            let grown = (input[i] - 1)
                .saturating_mul(stride[i])
                .saturating_add(kernel[i])
                .saturating_add(output_padding[i]);
            let cropped = grown.checked_sub(pad[i][0].saturating_add(pad[i][1]));
            output[i] = cropped.filter(|&o| o > 0).ok_or_else(|| {
                format!(
                    "conv_transpose2d: padding {pad:?} leaves nothing of {input:?} pixels with \
                     kernel {kernel:?}"
                )
            })?;
        }
        let geom = Self { input: output, kernel, stride, pad };
        match geom.try_output() {
            Some(out) if out == input => Ok(geom),
            other => {
                Err(format!("conv_transpose2d: {geom:?} maps back to {other:?}, not {input:?}"))
            }
        }
    }

    /// Whether the kernel covers the whole unpadded input once, so the convolution is a matrix
    /// product.
    pub(crate) fn is_dense(&self) -> bool {
        self.kernel == self.input && self.pad == [[0; 2]; 2]
    }
}

/// The sizes of one call of a convolution or of its derivatives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvParams {
    pub geom: ConvGeom,
    pub batch: usize,
    pub cin: usize,
    pub cout: usize,
}

/// The operand of a product that is the gradient of a loss. A mean over a batch makes gradients
/// small, so mixed precision scales this operand before rounding it to half precision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LossScaledOperand {
    Neither,
    First,
    Second,
}
