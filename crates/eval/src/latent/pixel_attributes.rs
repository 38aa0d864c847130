//! Attributes that any picture has, for networks without a model of their own: light or dark, and colours.

use super::attribute_query::Scores;
use tensor::Tensor;

/// Scores by pixels: by how much a picture is above the median of reference pictures.
pub struct PixelAttributes {
    names: Vec<String>,
    medians: Vec<f32>,
}

impl PixelAttributes {
    /// Of reference pictures, `[N, H, W, C]` in [−1, 1]: `light` (the mean) and `contrast` (the standard deviation), in colour also `warm` (red − blue) and
    /// `green` (green − half of red and blue).
    pub fn new(reference: &Tensor) -> Self {
        let mut names = vec!["light".to_owned(), "contrast".to_owned()];
        if reference.shape()[3] >= 3 {
            names.extend(["warm".to_owned(), "green".to_owned()]);
        }
        let rows = measured(reference);
        let median = |k: usize| {
            let mut column: Vec<f32> = rows.iter().map(|row| row[k]).collect();
            column.sort_by(f32::total_cmp);
            column.get(column.len() / 2).copied().unwrap_or(0.0)
        };
        let medians = (0..names.len()).map(median).collect();
        Self { names, medians }
    }

    /// What is measured.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The scores of pictures of the reference's shape.
    pub fn score(&self, images: &Tensor) -> Scores {
        let rows = measured(images);
        Scores::new(
            self.names.len(),
            rows.iter().flat_map(|row| row.iter().zip(&self.medians).map(|(x, m)| x - m)).collect(),
        )
    }
}

fn measured(images: &Tensor) -> Vec<Vec<f32>> {
    let [_, h, w, c] = [0, 1, 2, 3].map(|axis| images.shape()[axis]);
    let colours = if c == 4 { 3 } else { c };
    let picture = |pixels: &[f32]| {
        let sums = pixels.chunks_exact(c).fold([0.0f64; 4], |mut sums, pixel| {
            for (sum, value) in sums.iter_mut().zip(&pixel[..colours]) {
                *sum += f64::from(*value);
            }
            sums[3] += pixel[..colours].iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
            sums
        });
        let pixels = (h * w).max(1) as f64;
        let [red, green, blue, squares] = sums.map(|sum| sum / pixels);
        let light = (red + green + blue) / colours as f64;
        let contrast = (squares / colours as f64 - light * light).max(0.0).sqrt();
        let all = [light, contrast, red - blue, green - (red + blue) / 2.0];
        all[..if colours == 3 { 4 } else { 2 }].iter().map(|x| *x as f32).collect()
    };
    images.to_vec().chunks_exact((h * w * c).max(1)).map(picture).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_measured_against_the_median() {
        let grey = Tensor::from_slice(&[-1.0, -0.5, 0.5, 0.5, 0.0, 1.0], [3, 1, 2, 1]);
        let scores = PixelAttributes::new(&grey);
        assert_eq!(scores.names(), ["light", "contrast"]);
        let rows: Vec<Vec<f32>> = scores.score(&grey).rows().map(<[f32]>::to_vec).collect();
        // Means -0.75, 0.5, 0.5; deviations 0.25, 0, 0.5.
        assert_eq!(rows, [[-1.25, 0.0], [0.0, -0.25], [0.0, 0.25]]);
        let colour =
            Tensor::from_slice(&[1.0, -1.0, 0.0, 0.0, 1.0, -1.0, -1.0, 0.5, 0.0], [3, 1, 1, 3]);
        let scores = PixelAttributes::new(&colour);
        let rows: Vec<Vec<f32>> = scores.score(&colour).rows().map(<[f32]>::to_vec).collect();
        assert_eq!(scores.names(), ["light", "contrast", "warm", "green"]);
        assert_eq!(
            rows.iter().map(|row| [row[2], row[3]]).collect::<Vec<_>>(),
            [[0.0, -2.5], [0.0, 0.5], [-2.0, 0.0]]
        );
    }
}
