//! Attributes computed from pixels (brightness, contrast, colors), for generators without an
//! attribute classifier.

use super::attribute_query::Scores;
use tensor::Tensor;

/// Pixel attributes, scored by their difference from the median of reference images.
pub struct PixelAttributes {
    names: Vec<String>,
    medians: Vec<f32>,
}

impl PixelAttributes {
    /// Takes the medians of reference images `[N, H, W, C]` in [−1, 1]: of `light` (the mean) and
    /// `contrast` (the standard deviation), in color also of `warm` (red − blue) and `green`
    /// (green − half of red and blue).
    pub fn new(reference: &Tensor) -> Self {
        let mut names = vec!["light".to_owned(), "contrast".to_owned()];
        if reference.shape()[3] >= 3 {
            names.extend(["warm".to_owned(), "green".to_owned()]);
        }
        let rows = attributes(reference);
        let median = |k: usize| {
            let mut column: Vec<f32> = rows.iter().map(|row| row[k]).collect();
            column.sort_by(f32::total_cmp);
            column.get(column.len() / 2).copied().unwrap_or(0.0)
        };
        let medians = (0..names.len()).map(median).collect();
        Self { names, medians }
    }

    /// The names of the attributes.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The scores of images of the reference's shape.
    pub fn score(&self, images: &Tensor) -> Scores {
        let rows = attributes(images);
        Scores::new(
            self.names.len(),
            rows.iter().flat_map(|row| row.iter().zip(&self.medians).map(|(x, m)| x - m)).collect(),
        )
    }
}

/// The attributes of each image.
fn attributes(images: &Tensor) -> Vec<Vec<f32>> {
    let [_, h, w, c] = [0, 1, 2, 3].map(|axis| images.shape()[axis]);
    let colors = if c == 4 { 3 } else { c };
    let image = |pixels: &[f32]| {
        let sums = pixels.chunks_exact(c).fold([0.0f64; 4], |mut sums, pixel| {
            for (sum, value) in sums.iter_mut().zip(&pixel[..colors]) {
                *sum += f64::from(*value);
            }
            sums[3] += pixel[..colors].iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
            sums
        });
        let pixels = (h * w).max(1) as f64;
        let [red, green, blue, squares] = sums.map(|sum| sum / pixels);
        let light = (red + green + blue) / colors as f64;
        let contrast = (squares / colors as f64 - light * light).max(0.0).sqrt();
        let all = [light, contrast, red - blue, green - (red + blue) / 2.0];
        all[..if colors == 3 { 4 } else { 2 }].iter().map(|x| *x as f32).collect()
    };
    images.to_vec().chunks_exact((h * w * c).max(1)).map(image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_relative_to_the_median() {
        let gray = Tensor::from_slice(&[-1.0, -0.5, 0.5, 0.5, 0.0, 1.0], [3, 1, 2, 1]);
        let scores = PixelAttributes::new(&gray);
        assert_eq!(scores.names(), ["light", "contrast"]);
        let rows: Vec<Vec<f32>> = scores.score(&gray).rows().map(<[f32]>::to_vec).collect();
        // Means -0.75, 0.5, 0.5; deviations 0.25, 0, 0.5.
        assert_eq!(rows, [[-1.25, 0.0], [0.0, -0.25], [0.0, 0.25]]);
        let color =
            Tensor::from_slice(&[1.0, -1.0, 0.0, 0.0, 1.0, -1.0, -1.0, 0.5, 0.0], [3, 1, 1, 3]);
        let scores = PixelAttributes::new(&color);
        let rows: Vec<Vec<f32>> = scores.score(&color).rows().map(<[f32]>::to_vec).collect();
        assert_eq!(scores.names(), ["light", "contrast", "warm", "green"]);
        assert_eq!(
            rows.iter().map(|row| [row[2], row[3]]).collect::<Vec<_>>(),
            [[0.0, -2.5], [0.0, 0.5], [-2.0, 0.0]]
        );
    }
}
