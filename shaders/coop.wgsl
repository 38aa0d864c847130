// The convolutions of `gemm.wgsl` in mixed precision by cooperative matrices: a workgroup is one
// subgroup, which keeps 4 × 4 blocks of BLOCK × BLOCK results in registers. Operands are gathered
// as in `gemm.wgsl` and rounded into shared memory as [k][m] and [k][n].
enable f16;
enable wgpu_cooperative_matrix;
//#include grid
//#include operands

const TILE: u32 = 4u * ${BLOCK}u;
const BK: u32 = 16u;
const THREADS: u32 = 32u;
// Lines are 8 elements longer than the tile: fewer bank conflicts, and every block stays aligned.
const LINE: u32 = TILE + 8u;

var<workgroup> tile_a: array<f16, 16 * (4 * ${BLOCK} + 8)>;
var<workgroup> tile_b: array<f16, 16 * (4 * ${BLOCK} + 8)>;
var<workgroup> tile_c: array<f32, ${BLOCK} * 4 * ${BLOCK}>;

@compute @workgroup_size(32)
fn main(${BUILTINS}) {
    // Workgroups beyond the last tile have no rows and store nothing. They must not return early,
    // which not every compiler accepts as uniform control flow before a barrier.
    let tile = group_number(group, groups);
    let z = group.z;
    let first_m = tile / params.tiles_n * TILE;
    let first_n = tile % params.tiles_n * TILE;
//#if INPUT_GRAD
    let reach = taps(z);
    taps_across = reach.y;
    let begin = 0u;
    let end = reach.x * reach.y * params.cout;
//#else
    let begin = z % params.parts * params.chunk;
    let end = min(begin + params.chunk, params.k);
//#end

//#for l LOADS
//#if ALONG_K_A
    let ma_${l} = (lane + ${l}u * THREADS) / (BK / 4u);
    let ka_${l} = (lane + ${l}u * THREADS) % (BK / 4u) * 4u;
    let row_${l} = row_of(first_m + ma_${l}, z);
//#else
    let ma_${l} = (lane + ${l}u * THREADS) % (TILE / 4u) * 4u;
    let ka_${l} = (lane + ${l}u * THREADS) / (TILE / 4u);
    let row_${l} = row_of(first_m + ma_${l}, z);
//#if !VEC_A
    let row1_${l} = row_of(first_m + ma_${l} + 1u, z);
    let row2_${l} = row_of(first_m + ma_${l} + 2u, z);
    let row3_${l} = row_of(first_m + ma_${l} + 3u, z);
//#end
//#end
//#if ALONG_K_B
    let nb_${l} = (lane + ${l}u * THREADS) / (BK / 4u);
    let kb_${l} = (lane + ${l}u * THREADS) % (BK / 4u) * 4u;
//#else
    let nb_${l} = (lane + ${l}u * THREADS) % (TILE / 4u) * 4u;
    let kb_${l} = (lane + ${l}u * THREADS) / (TILE / 4u);
//#end
//#end
//#for r 4
//#for s 4
    var sum_${r}_${s} = coop_mat${BLOCK}x${BLOCK}<f32, C>();
//#end
//#end

    for (var next = begin; next < end; next += BK) {
//#if WHOLE_TAPS
        tile_tap = divide(next);
        tile_start = next;
//#end
        workgroupBarrier();
//#for l LOADS
        {
//#if VEC_A
            let four = halved(four_a(row_${l}, next + ka_${l}, end), params.scale_a);
//#else
//#if ALONG_K_A
            let four = halved(vec4<f32>(
                one_a(row_${l}, next + ka_${l}, end), one_a(row_${l}, next + ka_${l} + 1u, end),
                one_a(row_${l}, next + ka_${l} + 2u, end),
                one_a(row_${l}, next + ka_${l} + 3u, end)), params.scale_a);
//#else
            let four = halved(vec4<f32>(
                one_a(row_${l}, next + ka_${l}, end), one_a(row1_${l}, next + ka_${l}, end),
                one_a(row2_${l}, next + ka_${l}, end),
                one_a(row3_${l}, next + ka_${l}, end)), params.scale_a);
//#end
//#end
//#for i 4
//#if ALONG_K_A
            tile_a[(ka_${l} + ${i}u) * LINE + ma_${l}] = four[${i}];
//#else
            tile_a[ka_${l} * LINE + ma_${l} + ${i}u] = four[${i}];
//#end
//#end
        }
        {
//#if VEC_B
            let four = halved(four_b(next + kb_${l}, first_n + nb_${l}, end, z), params.scale_b);
//#else
//#if ALONG_K_B
            let four = halved(vec4<f32>(
                one_b(next + kb_${l}, first_n + nb_${l}, end, z),
                one_b(next + kb_${l} + 1u, first_n + nb_${l}, end, z),
                one_b(next + kb_${l} + 2u, first_n + nb_${l}, end, z),
                one_b(next + kb_${l} + 3u, first_n + nb_${l}, end, z)), params.scale_b);
//#else
            let four = halved(vec4<f32>(
                one_b(next + kb_${l}, first_n + nb_${l}, end, z),
                one_b(next + kb_${l}, first_n + nb_${l} + 1u, end, z),
                one_b(next + kb_${l}, first_n + nb_${l} + 2u, end, z),
                one_b(next + kb_${l}, first_n + nb_${l} + 3u, end, z)), params.scale_b);
//#end
//#end
//#for i 4
//#if ALONG_K_B
            tile_b[(kb_${l} + ${i}u) * LINE + nb_${l}] = four[${i}];
//#else
            tile_b[kb_${l} * LINE + nb_${l} + ${i}u] = four[${i}];
//#end
//#end
        }
//#end
        workgroupBarrier();
//#for d DEEP
        {
            let from_k = ${d}u * ${BLOCK}u * LINE;
//#for s 4
            let b_${s} = coopLoadT<coop_mat${BLOCK}x${BLOCK}<f16, B>>(
                &tile_b[from_k + ${s}u * ${BLOCK}u], LINE);
//#end
//#for r 4
            let a_${r} = coopLoad<coop_mat${BLOCK}x${BLOCK}<f16, A>>(
                &tile_a[from_k + ${r}u * ${BLOCK}u], LINE);
//#for s 4
            sum_${r}_${s} = coopMultiplyAdd(a_${r}, b_${s}, sum_${r}_${s});
//#end
//#end
        }
//#end
    }

    // Results pass through shared memory, a row of blocks at a time, since a cooperative matrix
    // cannot be stored partly at an edge.
//#for r 4
    workgroupBarrier();
//#for s 4
    coopStoreT(sum_${r}_${s}, &tile_c[${s}u * ${BLOCK}u], TILE);
//#end
    workgroupBarrier();
    for (var unit = lane; unit < ${BLOCK}u * TILE / 4u; unit += THREADS) {
        let m = unit / (TILE / 4u);
        let n = unit % (TILE / 4u) * 4u;
        let at = m * TILE + n;
        let four = vec4<f32>(tile_c[at], tile_c[at + 1u], tile_c[at + 2u], tile_c[at + 3u]);
        store(first_m + ${r}u * ${BLOCK}u + m, first_n + n, z, four);
    }
//#end
}
