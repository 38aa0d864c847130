use super::*;
use std::borrow::Cow;

/// A detector with fixed results.
struct Always(Vec<(i32, i32, u32, f64)>);

impl Detector for Always {
    fn detect(&mut self, _: &ImageData) -> Vec<rustface::FaceInfo> {
        self.0.iter().map(|&(x, y, side, score)| info(x, y, side, score)).collect()
    }
    fn set_window_size(&mut self, _: u32) {}
    fn set_slide_window_step(&mut self, _: u32, _: u32) {}
    fn set_min_face_size(&mut self, _: u32) {}
    fn set_max_face_size(&mut self, _: u32) {}
    fn set_pyramid_scale_factor(&mut self, _: f32) {}
    fn set_score_thresh(&mut self, _: f64) {}
}

fn info(x: i32, y: i32, side: u32, score: f64) -> rustface::FaceInfo {
    let mut info = rustface::FaceInfo::new();
    let bbox = info.bbox_mut();
    bbox.set_x(x);
    bbox.set_y(y);
    bbox.set_width(side);
    bbox.set_height(side);
    info.set_score(score);
    info
}

fn gradient(width: u32, height: u32) -> DecodedImage<'static> {
    let pixels =
        (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 9])).collect();
    DecodedImage { width, height, channels: 3, pixels: Cow::Owned(pixels) }
}

#[test]
fn squares_lie_inside_with_as_much_margin_as_there_is() {
    let found = |x: f64, y: f64, side: f64| Detection { x, y, side, score: 9.0 };
    assert_eq!(square(found(40.0, 50.0, 20.0), [200, 100], 0.0), [40, 50, 20]);
    assert_eq!(square(found(40.0, 50.0, 20.0), [200, 100], 0.5), [30, 40, 40]);
    // At an edge the box is moved, and where it does not fit it is made smaller.
    assert_eq!(square(found(-5.0, 90.0, 20.0), [200, 100], 0.5), [0, 60, 40]);
    assert_eq!(square(found(40.0, 50.0, 90.0), [200, 100], 0.5), [35, 0, 100]);
    assert_eq!(square(found(0.0, 0.0, 500.0), [1, 7], 10.0)[2], 1);
}

#[test]
fn boxes_are_scaled_back_sorted_and_sifted() {
    let options = FaceOptions { min_size: 80, min_score: 5.0, margin: 0.0 };
    // Faces of 80 pixels are searched at half the size.
    let mut detector =
        Always(vec![(60, 5, 40, 6.0), (10, 20, 45, 9.0), (0, 0, 39, 9.0), (0, 0, 50, 4.9)]);
    let image = gradient(250, 200);
    let found = cut_out(&image, &mut detector, options).unwrap();
    let cuts: Vec<[u32; 3]> = found.iter().map(|face| face.cut).collect();
    assert_eq!(cuts, [[20, 40, 90], [120, 10, 80]]);
    let face = image::load_from_memory(&found[1].png).unwrap().into_rgb8();
    assert_eq!(
        (face.dimensions(), face.get_pixel(0, 0).0, face.get_pixel(79, 79).0),
        ((80, 80), [120, 10, 9], [199, 89, 9])
    );
    assert!(
        cut_out(&gradient(38, 500), &mut detector, options).unwrap().is_empty(),
        "too small to look at"
    );
}

#[test]
fn the_built_in_model_is_read_and_finds_no_face_in_a_gradient() {
    let model = model::read(None).unwrap();
    let options = FaceOptions::default();
    let mut detector = detector(&model, options);
    for (width, height) in [(256, 200), (48, 48), (20, 400), (1, 1)] {
        assert!(
            cut_out(&gradient(width, height), detector.as_mut(), options).unwrap().is_empty(),
            "{width}×{height}"
        );
    }
}
