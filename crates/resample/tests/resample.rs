//! What each filter makes of a few pixels, and what is refused.

use resample::{Filter, resample};

#[test]
fn a_box_is_the_mean_of_what_it_covers() {
    let mut out = [0; 2];
    resample(&[0, 10, 100, 200, 20, 30, 120, 220], [2, 4], &mut out, [1, 2], 1, Filter::Box)
        .unwrap();
    assert_eq!(out, [15, 160]);
}

#[test]
fn the_same_size_is_a_copy_and_nearest_repeats() {
    let pixels = [1, 2, 3, 4, 5, 6];
    for (channels, size) in [(1, [2, 3]), (3, [1, 2])] {
        let mut same = [0; 6];
        resample(&pixels, size, &mut same, size, channels, Filter::Lanczos3).unwrap();
        assert_eq!(same, pixels);
        let mut twice = [0; 12];
        resample(&pixels, size, &mut twice, [size[0], 2 * size[1]], channels, Filter::Nearest)
            .unwrap();
        let repeated: Vec<u8> =
            pixels.chunks(channels).flat_map(|pixel| [pixel, pixel].concat()).collect();
        assert_eq!(twice[..], repeated);
    }
}

#[test]
fn transparent_pixels_lend_no_colour() {
    // Red, and a green that cannot be seen.
    let mut out = [9; 4];
    resample(&[200, 0, 0, 255, 0, 200, 0, 0], [1, 2], &mut out, [1, 1], 4, Filter::Box).unwrap();
    assert!(
        (199..=200).contains(&out[0]) && out[1] == 0 && (127..=128).contains(&out[3]),
        "{out:?}"
    );
}

#[test]
fn wrong_lengths_are_said() {
    let error = resample(&[0; 5], [2, 3], &mut [0; 1], [1, 1], 1, Filter::Box).unwrap_err();
    assert_eq!(error, "cannot resize: 5 and 1 bytes for [2, 3] and [1, 1] pixels of 1 channels");
    assert!(resample(&[], [0, 3], &mut [0; 1], [1, 1], 1, Filter::Box).is_err());
}
