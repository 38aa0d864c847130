//! Results of the filters on a few pixels, and invalid input.

use resample::{ResampleError, ResizeFilter, resample};

#[test]
fn box_filter_takes_the_mean() {
    let mut out = [0; 2];
    resample(&[0, 10, 100, 200, 20, 30, 120, 220], [2, 4], &mut out, [1, 2], 1, ResizeFilter::Box)
        .unwrap();
    assert_eq!(out, [15, 160]);
}

#[test]
fn equal_size_copies_and_nearest_repeats() {
    let pixels = [1, 2, 3, 4, 5, 6];
    for (channels, size) in [(1, [2, 3]), (3, [1, 2])] {
        let mut same = [0; 6];
        resample(&pixels, size, &mut same, size, channels, ResizeFilter::Lanczos3).unwrap();
        assert_eq!(same, pixels);
        let mut twice = [0; 12];
        resample(
            &pixels,
            size,
            &mut twice,
            [size[0], 2 * size[1]],
            channels,
            ResizeFilter::Nearest,
        )
        .unwrap();
        let repeated: Vec<u8> =
            pixels.chunks(channels).flat_map(|pixel| [pixel, pixel].concat()).collect();
        assert_eq!(twice[..], repeated);
    }
}

#[test]
fn transparent_pixels_add_no_color() {
    // Opaque red next to fully transparent green.
    let mut out = [9; 4];
    resample(&[200, 0, 0, 255, 0, 200, 0, 0], [1, 2], &mut out, [1, 1], 4, ResizeFilter::Box)
        .unwrap();
    assert!(
        (199..=200).contains(&out[0]) && out[1] == 0 && (127..=128).contains(&out[3]),
        "{out:?}"
    );
}

#[test]
fn wrong_lengths_are_errors() {
    let error = resample(&[0; 5], [2, 3], &mut [0; 1], [1, 1], 1, ResizeFilter::Box).unwrap_err();
    let wanted =
        ResampleError::Lengths { pixels: 5, out: 1, from: [2, 3], to: [1, 1], channels: 1 };
    assert_eq!(error, wanted);
    assert!(resample(&[], [0, 3], &mut [0; 1], [1, 1], 1, ResizeFilter::Box).is_err());
}
