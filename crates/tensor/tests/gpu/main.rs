//! The GPU back end compared with the CPU and with PyTorch. Without an adapter every test is
//! reported as ignored; with `DCGAN_REQUIRE_GPU=1` that is a failure. `DCGAN_TEST_GPU=1` selects an
//! adapter by its number; software renderers are accepted.

#[path = "../common/adapter.rs"]
mod adapter;
#[path = "../common/mod.rs"]
mod common;
mod parity;
mod runtime;

fn main() {
    adapter::run(
        &[
            (
                "every_operation_equals_pytorch_in_float64",
                common::golden::every_operation_equals_pytorch_in_float64,
            ),
            ("every_gradient_is_right", common::gradients::every_gradient_is_right),
            ("every_kernel_family_equals_the_cpu", parity::every_kernel_family_equals_the_cpu),
            ("training_equals_the_cpu", parity::training_equals_the_cpu),
            ("random_convolutions_equal_the_cpu", parity::random_convolutions_equal_the_cpu),
            ("random_products_equal_the_cpu", parity::random_products_equal_the_cpu),
            ("random_pairs_and_sums_equal_the_cpu", parity::random_pairs_and_sums_equal_the_cpu),
            ("random_normalizations_equal_the_cpu", parity::random_normalizations_equal_the_cpu),
            ("special_values_equal_the_cpu", parity::special_values_equal_the_cpu),
            ("the_self_test_passes", parity::the_self_test_passes),
            ("a_copy_beyond_a_row_of_workgroups", parity::a_copy_beyond_a_row_of_workgroups),
            ("results_do_not_depend_on_the_batch", parity::results_do_not_depend_on_the_batch),
            ("random_words_equal_the_cpu", parity::random_words_equal_the_cpu),
        ],
        &[
            ("twice_the_same_bits", runtime::twice_the_same_bits),
            ("a_steady_step_allocates_nothing", runtime::a_steady_step_allocates_nothing),
            ("buffers_are_written_in_order", runtime::buffers_are_written_in_order),
            ("a_lost_device_says_so", runtime::a_lost_device_says_so),
            (
                "a_tensor_beyond_the_binding_limit_is_refused",
                runtime::a_tensor_beyond_the_binding_limit_is_refused,
            ),
            ("unchecked_kernels_leave_nothing_out", parity::unchecked_kernels_leave_nothing_out),
            ("every_tile_gives_the_same_bits", parity::every_tile_gives_the_same_bits),
            ("mixed_precision_is_near", parity::mixed_precision_is_near),
            (
                "updates_are_skipped_after_a_non_finite_gradient",
                runtime::updates_are_skipped_after_a_non_finite_gradient,
            ),
        ],
    );
}
