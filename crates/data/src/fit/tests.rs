use super::*;
use imaging::ResizeFilter;

fn decoded(width: u32, height: u32, channels: u8, pixels: Vec<u8>) -> DecodedImage<'static> {
    assert_eq!(pixels.len(), (width * height) as usize * usize::from(channels));
    DecodedImage { width, height, channels, pixels: Cow::Owned(pixels) }
}

fn fitted(image: &DecodedImage<'_>, preprocess: &Preprocess) -> Vec<u8> {
    let mut out = vec![99; preprocess.image_len()];
    fit_image(image, preprocess, &mut out).unwrap();
    out
}

fn counting(width: u32, height: u32, channels: u8) -> DecodedImage<'static> {
    let bytes = width * height * u32::from(channels);
    decoded(width, height, channels, (0..bytes).map(|i| (i * 37 % 251) as u8).collect())
}

const ALL: [Fit; 3] = [Fit::Crop, Fit::Pad, Fit::Stretch];

#[test]
fn the_right_size_passes_through_exactly() {
    for channels in [1, 3, 4] {
        for fit in ALL {
            let source = counting(7, 5, channels);
            let preprocess =
                Preprocess { fit, background: [9; 3], ..Preprocess::new([5, 7], channels) };
            assert_eq!(fitted(&source, &preprocess), *source.pixels);
        }
    }
}

#[test]
fn crop_takes_the_center_of_the_target_shape() {
    // 6×2 → 2×2: columns 2 and 3, unchanged.
    let wide = decoded(6, 2, 1, (0..12).collect());
    assert_eq!(fitted(&wide, &Preprocess::new([2, 2], 1)), [2, 3, 8, 9]);
    // 2×5 (width × height) → rows 1 and 2 of 5 (the odd row is cut at the bottom).
    let tall = decoded(2, 5, 1, (0..10).collect());
    assert_eq!(fitted(&tall, &Preprocess::new([2, 2], 1)), [2, 3, 4, 5]);
    // A non-square target: 4×4 → 2 rows × 4 columns.
    let square = decoded(4, 4, 1, (0..16).collect());
    assert_eq!(fitted(&square, &Preprocess::new([2, 4], 1)), (4..12).collect::<Vec<u8>>());
}

#[test]
fn geometry_of_every_fit_stays_inside() {
    for (h, w) in [(1, 1), (1, 500), (500, 1), (3, 2), (64, 63), (178, 218)] {
        for (height, width) in [(1, 1), (64, 64), (2, 9), (300, 7)] {
            for fit in ALL {
                let (source, target) = geometry(fit, [h, w], [height, width]);
                let inside = |r: Rect, h: usize, w: usize| {
                    r.width >= 1 && r.height >= 1 && r.x + r.width <= w && r.y + r.height <= h
                };
                assert!(
                    inside(source, h, w) && inside(target, height, width),
                    "{fit:?} {h}×{w} → {height}×{width}"
                );
                if fit == Fit::Pad && h <= height && w <= width {
                    assert_eq!((target.width, target.height), (w, h), "never enlarged");
                }
                if fit != Fit::Pad {
                    assert_eq!(target, Rect { x: 0, y: 0, width, height });
                }
            }
        }
    }
}

#[test]
fn pad_centers_without_enlarging() {
    let source = decoded(2, 1, 1, vec![7, 8]);
    let preprocess =
        Preprocess { fit: Fit::Pad, background: [50; 3], ..Preprocess::new([3, 4], 1) };
    assert_eq!(fitted(&source, &preprocess), [50, 50, 50, 50, 50, 7, 8, 50, 50, 50, 50, 50]);
}

#[test]
fn pad_scales_down_what_is_larger() {
    // 8 wide, 4 high, white → 4×4: a band of two rows.
    let source = decoded(8, 4, 3, vec![255; 96]);
    let preprocess =
        Preprocess { fit: Fit::Pad, background: [1, 2, 3], ..Preprocess::new([4, 4], 3) };
    let image = fitted(&source, &preprocess);
    let (edge, band) = ([1, 2, 3].repeat(4), vec![255; 24]);
    assert_eq!(image, [edge.clone(), band, edge].concat());
}

#[test]
fn pad_of_four_channels_is_transparent() {
    let source = decoded(1, 1, 3, vec![10, 20, 30]);
    let preprocess =
        Preprocess { fit: Fit::Pad, background: [1, 2, 3], ..Preprocess::new([1, 3], 4) };
    assert_eq!(fitted(&source, &preprocess), [1, 2, 3, 0, 10, 20, 30, 255, 1, 2, 3, 0]);
}

#[test]
fn alpha_is_composited_exactly() {
    let pixels = vec![200, 100, 0, 255, 200, 100, 0, 0, 200, 100, 0, 128, 200, 100, 0, 1];
    let source = decoded(4, 1, 4, pixels.clone());
    let on = Preprocess { background: [10, 20, 30], ..Preprocess::new([1, 4], 3) };
    // 128: (200·128 + 10·127) / 255 = 105.4, (100·128 + 20·127) / 255 = 60.2, 30·127 / 255 = 14.9.
    // 1: (200 + 2540) / 255 = 10.7, (100 + 5080) / 255 = 20.3, 7620 / 255 = 29.9.
    let wanted = [200, 100, 0, 10, 20, 30, 105, 60, 15, 11, 20, 30];
    assert_eq!(fitted(&source, &on), wanted);
    assert_eq!(fitted(&source, &Preprocess { channels: 4, ..on.clone() }), pixels, "alpha is kept");
    let gray = fitted(&source, &Preprocess { channels: 1, ..on });
    let luma_of = |p: &[u8]| luma([p[0], p[1], p[2]]);
    assert_eq!(gray, wanted.chunks(3).map(luma_of).collect::<Vec<_>>());
}

#[test]
fn gray_with_alpha_converts_to_every_channel_count() {
    let source = decoded(2, 1, 2, vec![100, 255, 100, 0]);
    let to = |channels| {
        fitted(&source, &Preprocess { background: [9, 9, 9], ..Preprocess::new([1, 2], channels) })
    };
    assert_eq!(to(1), [100, 9]);
    assert_eq!(to(3), [100, 100, 100, 9, 9, 9]);
    assert_eq!(to(4), [100, 100, 100, 255, 100, 100, 100, 0]);
}

#[test]
fn luma_is_that_of_rec_601() {
    // As Pillow's convert("L").
    for (rgb, wanted) in
        [([255, 0, 0], 76), ([0, 255, 0], 150), ([0, 0, 255], 29), ([12, 200, 97], 132)]
    {
        assert_eq!(luma(rgb), wanted, "{rgb:?}");
    }
    for gray in 0..=255 {
        assert_eq!(luma([gray; 3]), gray);
    }
    let source = decoded(1, 1, 1, vec![77]);
    assert_eq!(fitted(&source, &Preprocess::new([1, 1], 3)), [77; 3]);
}

#[test]
fn scaling_down_is_antialiased() {
    // A checkerboard of single pixels must become its mean, not one of its colors.
    let board = (0..64 * 64).map(|i| if (i / 64 + i % 64) % 2 == 0 { 255 } else { 0 }).collect();
    let image = fitted(&decoded(64, 64, 1, board), &Preprocess::new([8, 8], 1));
    assert!(image.iter().all(|&v| (118..=138).contains(&v)), "{image:?}");
}

#[test]
fn colors_of_transparent_pixels_do_not_bleed() {
    // Left half opaque red, right half transparent green: no green may appear.
    let row = [[255, 0, 0, 255].repeat(8), [0, 255, 0, 0].repeat(8)].concat();
    let source = decoded(16, 16, 4, row.repeat(16));
    for pixel in fitted(&source, &Preprocess::new([4, 4], 4)).chunks(4) {
        assert!(pixel[3] == 0 || pixel[1] == 0, "{pixel:?}");
    }
}

#[test]
fn a_crop_comes_first_and_is_centered() {
    // 6×4 (width × height): the 2×2 in the middle, unchanged.
    let source = decoded(6, 4, 1, (0..24).collect());
    let cut = Preprocess { crop: Some([2, 2]), ..Preprocess::new([2, 2], 1) };
    assert_eq!(fitted(&source, &cut), [8, 9, 14, 15]);
    // A side that is smaller than the crop is kept whole: 3 of 6 columns, all 4 rows, of which 3
    // are left.
    let cut = Preprocess { crop: Some([100, 3]), ..Preprocess::new([3, 3], 1) };
    assert_eq!(fitted(&source, &cut), [1, 2, 3, 7, 8, 9, 13, 14, 15]);
    // CelebA: 108 of 178×218 gives the same pixels as cropping first and fitting then.
    let face = counting(178, 218, 3);
    let inner =
        (55..163).flat_map(|y| face.pixels[(y * 178 + 35) * 3..][..108 * 3].to_vec()).collect();
    for fit in ALL {
        let plain = Preprocess { fit, ..Preprocess::new([64, 64], 3) };
        let cut = Preprocess { crop: Some([108, 108]), ..plain.clone() };
        assert_eq!(
            fitted(&face, &cut),
            fitted(&decoded(108, 108, 3, Vec::clone(&inner)), &plain),
            "{fit:?}"
        );
    }
}

#[test]
fn a_larger_shorter_side_shows_less() {
    // The shorter side 8 becomes 4, and the 2×2 in the middle is taken: the 4×4 in the middle of
    // 12×8.
    let source = counting(12, 8, 1);
    let middle = (2..6).flat_map(|y| source.pixels[y * 12 + 4..][..4].to_vec()).collect();
    let less = Preprocess { min_side: Some(4), ..Preprocess::new([2, 2], 1) };
    assert_eq!(
        fitted(&source, &less),
        fitted(&decoded(4, 4, 1, middle), &Preprocess::new([2, 2], 1))
    );
    // The target's own side equals the plain crop.
    for (w, h) in [(12, 8), (5, 9), (64, 64), (3, 500), (2, 2)] {
        let source = counting(w, h, 3);
        let plain = Preprocess::new([6, 6], 3);
        assert_eq!(
            fitted(&source, &Preprocess { min_side: Some(6), ..plain.clone() }),
            fitted(&source, &plain),
            "{w}×{h}"
        );
    }
}

#[test]
fn every_placement_stays_inside() {
    for (h, w) in [(1, 1), (1, 500), (500, 1), (3, 2), (64, 63), (178, 218)] {
        for size in [[1, 1], [64, 64], [2, 9]] {
            for crop in [None, Some([1, 1]), Some([108, 108]), Some([3, 400])] {
                for min_side in [None, Some(64), Some(300)] {
                    let preprocess = Preprocess { crop, min_side, ..Preprocess::new(size, 1) };
                    preprocess.validate().unwrap();
                    let (source, _) = placement(&preprocess, [h, w]);
                    let inside = source.width >= 1
                        && source.height >= 1
                        && source.x + source.width <= w
                        && source.y + source.height <= h;
                    assert!(inside, "{h}×{w}, {preprocess:?}: {source:?}");
                }
            }
        }
    }
}

#[test]
fn filters_do_what_their_names_say() {
    let by = |filter, source: &DecodedImage<'_>, side| {
        fitted(source, &Preprocess { filter, ..Preprocess::new([side, side], 1) })
    };
    // Two colors, enlarged: only one filter adds no other color.
    let board = decoded(2, 2, 1, vec![0, 255, 255, 0]);
    let colors = |filter| by(filter, &board, 4).iter().filter(|&&v| v != 0 && v != 255).count();
    assert_eq!(
        by(ResizeFilter::Nearest, &board, 4),
        [0, 0, 255, 255, 0, 0, 255, 255, 255, 255, 0, 0, 255, 255, 0, 0]
    );
    assert!(
        [ResizeFilter::Bilinear, ResizeFilter::Bicubic, ResizeFilter::Lanczos3]
            .into_iter()
            .all(|filter| colors(filter) > 0)
    );
    // Halved: the box filter takes the mean of four pixels.
    let small = decoded(4, 4, 1, vec![0, 4, 100, 100, 8, 12, 100, 100, 1, 1, 7, 9, 1, 1, 9, 7]);
    assert_eq!(by(ResizeFilter::Box, &small, 2), [6, 100, 1, 8]);
    let fine = (0..64 * 64).map(|i| if (i / 64 + i % 64) % 2 == 0 { 255 } else { 0 }).collect();
    let fine = decoded(64, 64, 1, fine);
    for filter in
        [ResizeFilter::Lanczos3, ResizeFilter::Bicubic, ResizeFilter::Bilinear, ResizeFilter::Box]
    {
        assert!(
            by(filter, &fine, 8).iter().all(|&v| (118..=138).contains(&v)),
            "{filter:?} is antialiased"
        );
    }
    assert!(by(ResizeFilter::Nearest, &fine, 8).iter().all(|&v| v == 0 || v == 255));
}
