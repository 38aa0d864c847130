//! Grids, single images, the time-lapse and the loss curves.

use crate::assert_error;
use image::{DynamicImage, GenericImageView, GrayImage, Luma, Rgb, RgbImage};
use runs::animation;
use runs::grid::{grid, read_png, save_png, save_png_with, write_images};
use runs::timelapse::{self, Options};
use runs::{ArtifactError, FrameProblem, GridOptions, MetricsRow, plots};
use std::collections::HashSet;
use std::fs;

const PLAIN: GridOptions = GridOptions { columns: 2, padding: 1, scale: 1, background: 255 };

#[test]
fn grid_has_fixed_range_and_padding() {
    // Three 1x2 images in two columns; the fourth cell stays empty.
    let values = [-1.0, 1.0, 0.0, 0.5, -7.0, f32::NAN];
    let image = grid(&values, [3, 1, 2, 1], PLAIN).unwrap();
    let DynamicImage::ImageLuma8(gray) = image else { panic!("gray stays gray") };
    let w = 255;
    #[rustfmt::skip]
    let expected = [
        w, w, w,   w, w,   w,   w,
        w, 0, 255, w, 128, 191, w,
        w, w, w,   w, w,   w,   w,
        w, 0, 0,   w, w,   w,   w,
        w, w, w,   w, w,   w,   w,
    ];
    assert_eq!((gray.dimensions(), gray.as_raw().as_slice()), ((7, 5), &expected[..]));
    // The contrast is not stretched: a single dim image stays dim.
    let dim = grid(&[-0.9, -0.7], [1, 1, 2, 1], GridOptions { padding: 0, ..PLAIN }).unwrap();
    assert_eq!(dim.as_bytes(), [13, 38]);
}

#[test]
fn grid_colors_and_scale() {
    let pixel = [1.0, -1.0, 0.0];
    let options = GridOptions { columns: 1, padding: 0, scale: 3, background: 0 };
    let rgb = grid(&pixel, [1, 1, 1, 3], options).unwrap();
    assert_eq!(rgb, DynamicImage::from(RgbImage::from_pixel(3, 3, Rgb([255, 0, 128]))));
    let rgba =
        grid(&[1.0, -1.0, 0.0, -1.0], [1, 1, 1, 4], GridOptions { padding: 1, ..options }).unwrap();
    assert_eq!(rgba.get_pixel(0, 0).0, [0, 0, 0, 255], "lines are opaque");
    assert_eq!(rgba.get_pixel(2, 2).0, [255, 0, 128, 0]);
    assert_eq!(GridOptions::for_size([28, 28]).scale, 2);
    assert_eq!(GridOptions::for_size([64, 64]).scale, 1);
    assert_eq!(GridOptions::for_size([0, 4096]).scale, 1);
    let wide =
        grid(&[0.0; 4], [4, 1, 1, 1], GridOptions { columns: 99, padding: 0, ..PLAIN }).unwrap();
    assert_eq!(wide.dimensions(), (4, 1));
}

#[test]
fn invalid_image_shapes_are_rejected() {
    let draw = |len: usize, shape: [usize; 4]| {
        grid(&vec![0.0; len], shape, GridOptions { columns: 1, ..PLAIN }).unwrap_err()
    };
    assert!(matches!(draw(2, [1, 1, 1, 2]), ArtifactError::Channels { channels: 2 }));
    for (values, of) in [(0, [0, 4, 4, 1]), (15, [1, 4, 4, 1]), (1, [usize::MAX, 2, 1, 1])] {
        let error = draw(values, of);
        let expected = (values, of);
        assert!(
            matches!(error, ArtifactError::ImageShape { len, shape } if (len, shape) == expected)
        );
    }
    let error = draw(70_000, [70_000, 1, 1, 1]);
    assert!(matches!(error, ArtifactError::GridSize { count: 70_000, size: [1, 1] }));
}

#[test]
fn one_file_per_image() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let paths = write_images(&out, 99, &[-1.0, 1.0, 0.0, 0.0], [2, 1, 2, 1]).unwrap();
    assert_eq!(paths, [out.join("00099.png"), out.join("00100.png")]);
    assert_eq!(
        image::open(&paths[0]).unwrap(),
        DynamicImage::from(GrayImage::from_raw(2, 1, vec![0, 255]).unwrap())
    );
    let blocked = dir.path().join("file");
    fs::write(&blocked, b"").unwrap();
    let error = write_images(&blocked, 0, &[0.0], [1, 1, 1, 1]).unwrap_err();
    assert_error!(error, &blocked, ArtifactError::Write { .. });
    let nowhere = dir.path().join("no/such/folder.png");
    let error = save_png(&nowhere, &DynamicImage::new_luma8(1, 1)).unwrap_err();
    assert_error!(error, &nowhere, ArtifactError::Write { source, .. }
        if source.kind() == std::io::ErrorKind::NotFound);
}

#[test]
fn png_texts_roundtrip() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.png");
    let long = "°".repeat(5000);
    let image = DynamicImage::from(RgbImage::from_fn(5, 3, |x, y| Rgb([x as u8, y as u8, 200])));
    save_png_with(&path, &image, &[("Software", "dcgan".into()), ("dcgan", long.clone())]).unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 1000, "a long text is compressed");
    let (read, texts) = read_png(&path).unwrap();
    assert_eq!(
        (&read, texts.len(), &texts["dcgan"], &texts["Software"][..]),
        (&image, 2, &long, "dcgan")
    );
    for (name, image) in
        [("gray", DynamicImage::new_luma8(2, 2)), ("rgba", DynamicImage::new_rgba8(2, 2))]
    {
        let path = dir.path().join(name);
        save_png(&path, &image).unwrap();
        let (read, texts) = read_png(&path).unwrap();
        assert_eq!((read, texts.len()), (image, 1));
        assert!(imaging::is_signed(&fs::read(&path).unwrap()), "{texts:?}");
    }
    save_png_with(&path, &image, &[]).unwrap();
    assert!(!imaging::is_signed(&fs::read(&path).unwrap()));
    let error = save_png(&path, &DynamicImage::new_luma16(1, 1)).unwrap_err();
    assert_error!(error, &path, ArtifactError::Encode { reason, .. } if reason.contains("L16"));
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert_error!(read_png(&path).unwrap_err(), &path, ArtifactError::Png { .. });
}

#[test]
fn animation_shows_every_frame() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gif");
    let images: Vec<DynamicImage> =
        (0..3u8).map(|i| GrayImage::from_pixel(4, 2, Luma([i * 100])).into()).collect();
    animation::write(&path, &images, 7).unwrap();
    assert!(imaging::is_signed(&fs::read(&path).unwrap()));
    let shown = frames(&path);
    assert_eq!(
        shown.iter().map(|(delay, pixels)| (*delay, pixels[0])).collect::<Vec<_>>(),
        [(7, 0), (7, 100), (7, 200)]
    );
    let sizes = [DynamicImage::new_luma8(1, 1), DynamicImage::new_luma8(2, 1)];
    for (frames, problem) in [(&[][..], FrameProblem::None), (&sizes, FrameProblem::SeveralSizes)] {
        let error = animation::write(&path, frames, 7).unwrap_err();
        assert!(matches!(error, ArtifactError::Frames { reason, .. } if reason == problem));
    }
}

fn frames(path: &std::path::Path) -> Vec<(u16, Vec<u8>)> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(fs::File::open(path).unwrap()).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        frames.push((frame.delay, frame.buffer.to_vec()));
    }
    frames
}

#[test]
fn timelapse_is_in_step_order() {
    let dir = tempfile::tempdir().unwrap();
    let samples = dir.path().join("samples");
    fs::create_dir(&samples).unwrap();
    let path = dir.path().join("timelapse.gif");
    // Steps past eight digits and out of order by name.
    let steps = [0u64, 100, 200, 300, 400, 123_456_789];
    for (i, step) in steps.iter().enumerate() {
        let ramp = GrayImage::from_fn(16, 16, |x, y| Luma([(x + 16 * y) as u8 ^ i as u8]));
        save_png(&samples.join(format!("step-{step:08}.png")), &ramp.into()).unwrap();
    }
    fs::write(samples.join("step-00000250.png"), b"garbage").unwrap();
    fs::write(samples.join("notes.png"), b"not a grid").unwrap();
    let made = timelapse::write(&path, &samples, Options::default()).unwrap();
    assert_eq!(made.steps, steps);
    assert_eq!(made.skipped[0].0, samples.join("step-00000250.png"));
    let shown = frames(&path);
    assert_eq!(shown.iter().map(|frame| frame.0).collect::<Vec<_>>(), [12, 12, 12, 12, 12, 200]);
    for (i, (_, pixels)) in shown.iter().enumerate() {
        let grays: Vec<u8> = pixels.chunks_exact(4).map(|pixel| pixel[0]).collect();
        let expected: Vec<u8> = (0..=255u8).map(|value| value ^ i as u8).collect();
        assert_eq!(grays, expected, "all 256 grays survive, frame {i}");
    }
    fs::remove_file(samples.join("step-00000250.png")).unwrap();
    let few =
        timelapse::write(&path, &samples, Options { frames: 3, ..Options::default() }).unwrap();
    assert_eq!(few.steps, [0, 200, 123_456_789], "the first and last are among the chosen");
    assert_eq!(frames(&path).len(), 3);
    let one =
        timelapse::write(&path, &samples, Options { frames: 0, ..Options::default() }).unwrap();
    assert_eq!(one.steps, [123_456_789]);
}

#[test]
fn timelapse_of_color_grids_of_several_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("timelapse.gif");
    let photo =
        RgbImage::from_fn(64, 48, |x, y| Rgb([(x * 4) as u8, (y * 5) as u8, ((x + y) * 2) as u8]));
    save_png(&dir.path().join("step-1.png"), &DynamicImage::new_rgba8(10, 10)).unwrap();
    save_png(&dir.path().join("step-2.png"), &photo.clone().into()).unwrap();
    timelapse::write(&path, dir.path(), Options::default()).unwrap();
    let shown = frames(&path);
    assert_eq!(shown.len(), 2);
    assert!(
        shown[0].1.iter().all(|&value| value == 255),
        "transparent is laid on white and resized"
    );
    let error: f64 = shown[1]
        .1
        .chunks_exact(4)
        .zip(photo.pixels())
        .flat_map(|(shown, pixel)| (0..3).map(move |c| f64::from(shown[c].abs_diff(pixel.0[c]))))
        .sum::<f64>()
        / (64.0 * 48.0 * 3.0);
    assert!(error < 6.0, "256 colors miss by {error} on average");
}

#[test]
fn timelapse_without_grids_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("step-1.png"), b"garbage").unwrap();
    let path = dir.path().join("timelapse.gif");
    let error = timelapse::write(&path, dir.path(), Options::default()).unwrap_err();
    assert!(matches!(&error, ArtifactError::NoSamples { dir: named } if named == dir.path()));
    assert!(!path.exists());
}

fn rows(count: u64) -> Vec<MetricsRow> {
    let noise =
        |step: u64, salt: u64| ((step * 7919 + salt * 104_729) % 1000) as f64 / 1000.0 - 0.5;
    (1..=count)
        .map(|step| {
            let t = step as f64 / count as f64;
            MetricsRow {
                step: step * 5,
                d_loss: 1.4 - 0.6 * t + 0.3 * noise(step, 1),
                g_loss: 0.8 + 1.5 * t + 0.8 * noise(step, 2),
                d_real: 0.5 + 0.25 * t + 0.1 * noise(step, 3),
                d_fake: 0.5 - 0.25 * t + 0.1 * noise(step, 4),
                ..MetricsRow::default()
            }
        })
        .collect()
}

/// The number of pixels near a color.
fn count(image: &DynamicImage, color: [u8; 3]) -> usize {
    image
        .to_rgb8()
        .pixels()
        .filter(|pixel| pixel.0.iter().zip(color).all(|(&a, b)| a.abs_diff(b) < 12))
        .count()
}

#[test]
fn loss_curves_are_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("loss.png");
    plots::losses::write(&path, &rows(1500)).unwrap();
    let image = image::open(&path).unwrap();
    if let Some(keep) = std::env::var_os("DCGAN_TEST_KEEP_PLOT") {
        fs::copy(&path, keep).unwrap();
    }
    assert_eq!(image.dimensions(), (1000, 800));
    for curve in [[31, 119, 180], [214, 98, 10]] {
        let (upper, lower) = (image.crop_imm(0, 0, 1000, 440), image.crop_imm(0, 440, 1000, 360));
        assert!(
            count(&upper, curve) > 500 && count(&lower, curve) > 500,
            "{curve:?} is missing in a panel"
        );
    }
    assert!(count(&image, [0, 0, 0]) > 500, "numbers and axes are drawn");
}

#[test]
fn loss_curves_of_unusual_runs() {
    assert!(matches!(plots::losses::draw(&[]), Err(ArtifactError::NoRows { .. })));
    let blank = |value: f64| MetricsRow {
        step: 7,
        d_loss: value,
        g_loss: value,
        d_real: value,
        d_fake: value,
        ..MetricsRow::default()
    };
    for rows in [
        rows(1),
        vec![blank(f64::NAN)],
        vec![blank(0.0); 3],
        vec![blank(-5.0), blank(f64::INFINITY), blank(1e300), blank(-1e300)],
        vec![MetricsRow { step: u64::MAX, ..blank(1.0) }, blank(1.0)],
    ] {
        plots::losses::draw(&rows).unwrap();
    }
    let single = plots::losses::draw(&rows(1)).unwrap();
    let empty = plots::losses::draw(&[blank(f64::NAN)]).unwrap();
    let colors: HashSet<_> = single.to_rgb8().pixels().map(|pixel| pixel.0).collect();
    assert!(colors.len() > 10);
    assert!(
        count(&single, [31, 119, 180]) > count(&empty, [31, 119, 180]) + 20,
        "one row is drawn as a dot"
    );
}
