//! The GPU back end beside the CPU's and beside PyTorch. Where there is no adapter every test
//! reports itself as ignored; with `DCGAN_REQUIRE_GPU=1` that is a failure. `DCGAN_TEST_GPU=1`
//! names an adapter by its number; software renderers will do.

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
            ("every_gradient_of_the_table", common::gradients::every_gradient_of_the_table),
            ("every_kernel_family_equals_the_cpu", parity::every_kernel_family_equals_the_cpu),
            ("training_equals_the_cpu", parity::training_equals_the_cpu),
            ("random_convolutions_equal_the_cpu", parity::random_convolutions_equal_the_cpu),
            ("random_products_equal_the_cpu", parity::random_products_equal_the_cpu),
            ("random_pairs_and_sums_equal_the_cpu", parity::random_pairs_and_sums_equal_the_cpu),
            ("random_normalisations_equal_the_cpu", parity::random_normalisations_equal_the_cpu),
            ("special_numbers_equal_the_cpu", parity::special_numbers_equal_the_cpu),
            ("the_check_of_convolutions_passes", parity::the_check_of_convolutions_passes),
            ("a_copy_beyond_a_row_of_workgroups", parity::a_copy_beyond_a_row_of_workgroups),
            (
                "a_picture_has_the_same_bits_in_any_company",
                parity::a_picture_has_the_same_bits_in_any_company,
            ),
            ("the_random_words_are_the_cpus", parity::the_random_words_are_the_cpus),
        ],
        &[
            ("twice_the_same_bits", runtime::twice_the_same_bits),
            ("a_steady_step_makes_nothing_new", runtime::a_steady_step_makes_nothing_new),
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
                "a_guard_keeps_optimisers_from_bad_gradients",
                runtime::a_guard_keeps_optimisers_from_bad_gradients,
            ),
        ],
    );
}
