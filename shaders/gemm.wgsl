// C[m, n] = Σ_k A[m, k] · B[k, n] by tiles, for matrix products and for the three convolutions,
// whose A is gathered from the images (no patch matrix). The third axis of the grid counts the
// matrices of a batch times the parts of k, or the stride phases of an input gradient.
//
// Each element of C is one chain of fused multiply-adds over ascending k of its part, whatever the
// tile, so the choice of the tile changes no bit. `sum_parts` adds the parts in order.
//
// A workgroup computes BM × BN elements; each of its TX × TY threads RM × RN blocks of 4 × 4
// elements. Both operands pass through shared memory as [k][m] and [k][n], BK deep, with one unused
// vector after each k against bank conflicts; the next tile is fetched into registers while this
// one is multiplied.
//
// HALF: the tiles are rounded to half precision, gradients after scaling by a power of two so that
// small ones do not underflow; sums stay in single precision.
//#if HALF
enable f16;
//#end
//#include grid

//#if SUM_PARTS
struct Params { count: u32, parts: u32, len: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(256)
fn sum_parts(${BUILTINS}) {
    let i = group_number(group, groups) * 256u + lane;
    if (i < params.count) {
        let base = i / params.len * params.parts * params.len + i % params.len;
        var sum = parts[base];
        for (var part = 1u; part < params.parts; part += 1u) {
            sum += parts[base + part * params.len];
        }
        result[i] = sum;
    }
}
//#else
//#include operands

const BM: u32 = ${BM}u;
const BN: u32 = ${BN}u;
const BK: u32 = ${BK}u;
const LINE_A: u32 = BM / 4u + 1u;
const LINE_B: u32 = BN / 4u + 1u;
const TX: u32 = ${TX}u;
const THREADS: u32 = ${THREADS}u;

// Four elements as the tiles store them.
//#if HALF
alias Four = vec4<f16>;

fn rounded(x: vec4<f32>, scale: f32) -> Four {
    return halved(x, scale);
}
//#else
alias Four = vec4<f32>;

fn rounded(x: vec4<f32>, scale: f32) -> Four {
    return x;
}
//#end

var<workgroup> tile_a: array<Four, ${BK} * (${BM} / 4 + 1)>;
var<workgroup> tile_b: array<Four, ${BK} * (${BN} / 4 + 1)>;

@compute @workgroup_size(THREADS)
fn main(${BUILTINS}) {
    let tile = group_number(group, groups);
    if (tile >= params.tiles) {
        return;
    }
    let z = group.z;
    let first_m = tile / params.tiles_n * BM;
    let first_n = tile % params.tiles_n * BN;
    let tx = lane % TX;
    let ty = lane / TX;
//#if INPUT_GRAD
    let reach = taps(z);
    taps_across = reach.y;
    let begin = 0u;
    let end = reach.x * reach.y * params.cout;
//#else
    let begin = z % params.parts * params.chunk;
    let end = min(begin + params.chunk, params.k);
//#end

    // This thread fetches four elements of each tile, or, if the operand is contiguous along k, a
    // block of 4 × 4. Threads beyond the last block fetch nothing. B's blocks begin with other
    // threads than A's, so few threads fetch both.
//#for l LOADS_A
//#if ALONG_K_A
    let block_a_${l} = lane + ${l}u * THREADS;
    let ma_${l} = block_a_${l} / (BK / 4u) * 4u;
    let ka_${l} = block_a_${l} % (BK / 4u) * 4u;
    let has_a_${l} = block_a_${l} < BM * BK / 16u;
//#for i 4
    let row_${l}_${i} = row_of(select(NONE, first_m + ma_${l} + ${i}u, has_a_${l}), z);
    var fetched_a_${l}_${i}: vec4<f32>;
//#end
//#else
    let ma_${l} = (lane + ${l}u * THREADS) % (BM / 4u) * 4u;
    let ka_${l} = (lane + ${l}u * THREADS) / (BM / 4u);
    let row_${l} = row_of(first_m + ma_${l}, z);
//#if !VEC_A
    let row1_${l} = row_of(first_m + ma_${l} + 1u, z);
    let row2_${l} = row_of(first_m + ma_${l} + 2u, z);
    let row3_${l} = row_of(first_m + ma_${l} + 3u, z);
//#end
    var fetched_a_${l}: vec4<f32>;
//#end
//#end
//#for l LOADS_B
//#if ALONG_K_B
    let block_b_${l} = (lane + THREADS / 2u) % THREADS + ${l}u * THREADS;
    let nb_${l} = block_b_${l} / (BK / 4u) * 4u;
    let kb_${l} = block_b_${l} % (BK / 4u) * 4u;
    let has_b_${l} = block_b_${l} < BN * BK / 16u;
//#for i 4
    let column_${l}_${i} = select(NONE, first_n + nb_${l} + ${i}u, has_b_${l});
    var fetched_b_${l}_${i}: vec4<f32>;
//#end
//#else
    let nb_${l} = (lane + ${l}u * THREADS) % (BN / 4u) * 4u;
    let kb_${l} = (lane + ${l}u * THREADS) / (BN / 4u);
    var fetched_b_${l}: vec4<f32>;
//#end
//#end

//#for r RM
//#for i 4
//#for s RN
    var sum_${r}_${i}_${s} = vec4<f32>();
//#end
//#end
//#end

    var next = begin;
    loop {
//#if WHOLE_TAPS
        tile_tap = divide(next);
        tile_start = next;
//#end
        // Fetches the tile at `next`; past the end it is all zeros and not used.
//#for l LOADS_A
//#if ALONG_K_A
//#for i 4
//#if VEC_A
        fetched_a_${l}_${i} = four_a(row_${l}_${i}, next + ka_${l}, end);
//#else
        fetched_a_${l}_${i} = vec4<f32>(
            one_a(row_${l}_${i}, next + ka_${l}, end),
            one_a(row_${l}_${i}, next + ka_${l} + 1u, end),
            one_a(row_${l}_${i}, next + ka_${l} + 2u, end),
            one_a(row_${l}_${i}, next + ka_${l} + 3u, end));
//#end
//#end
//#else
//#if VEC_A
        fetched_a_${l} = four_a(row_${l}, next + ka_${l}, end);
//#else
        fetched_a_${l} = vec4<f32>(
            one_a(row_${l}, next + ka_${l}, end), one_a(row1_${l}, next + ka_${l}, end),
            one_a(row2_${l}, next + ka_${l}, end), one_a(row3_${l}, next + ka_${l}, end));
//#end
//#end
//#end
//#for l LOADS_B
//#if ALONG_K_B
//#for i 4
//#if VEC_B
        fetched_b_${l}_${i} = four_b(next + kb_${l}, column_${l}_${i}, end, z);
//#else
        fetched_b_${l}_${i} = vec4<f32>(
            one_b(next + kb_${l}, column_${l}_${i}, end, z),
            one_b(next + kb_${l} + 1u, column_${l}_${i}, end, z),
            one_b(next + kb_${l} + 2u, column_${l}_${i}, end, z),
            one_b(next + kb_${l} + 3u, column_${l}_${i}, end, z));
//#end
//#end
//#else
//#if VEC_B
        fetched_b_${l} = four_b(next + kb_${l}, first_n + nb_${l}, end, z);
//#else
        fetched_b_${l} = vec4<f32>(
            one_b(next + kb_${l}, first_n + nb_${l}, end, z),
            one_b(next + kb_${l}, first_n + nb_${l} + 1u, end, z),
            one_b(next + kb_${l}, first_n + nb_${l} + 2u, end, z),
            one_b(next + kb_${l}, first_n + nb_${l} + 3u, end, z));
//#end
//#end
//#end

        // Multiplies the previous tile (there is none in the first round, whose sums stay zero).
        if (next > begin) {
            for (var kk = 0u; kk < BK; kk += 1u) {
//#for r RM
                let a_${r} = vec4<f32>(tile_a[kk * LINE_A + ${r}u * (BM / 4u / ${RM}u) + ty]);
//#end
//#for s RN
                let b_${s} = vec4<f32>(tile_b[kk * LINE_B + ${s}u * (BN / 4u / ${RN}u) + tx]);
//#end
//#for r RM
//#for i 4
//#for s RN
                sum_${r}_${i}_${s} = fma(vec4<f32>(a_${r}[${i}]), b_${s}, sum_${r}_${i}_${s});
//#end
//#end
//#end
            }
        }
        if (next >= end) {
            break;
        }
        workgroupBarrier();
        // Threads write whole vectors: a write to a part of a vector may be a read-modify-write,
        // which would race.
//#for l LOADS_A
//#if ALONG_K_A
        if (has_a_${l}) {
//#for i 4
            tile_a[(ka_${l} + ${i}u) * LINE_A + ma_${l} / 4u] = rounded(
                vec4<f32>(fetched_a_${l}_0[${i}], fetched_a_${l}_1[${i}], fetched_a_${l}_2[${i}],
                    fetched_a_${l}_3[${i}]), params.scale_a);
//#end
        }
//#else
        tile_a[ka_${l} * LINE_A + ma_${l} / 4u] = rounded(fetched_a_${l}, params.scale_a);
//#end
//#end
//#for l LOADS_B
//#if ALONG_K_B
        if (has_b_${l}) {
//#for i 4
            tile_b[(kb_${l} + ${i}u) * LINE_B + nb_${l} / 4u] = rounded(
                vec4<f32>(fetched_b_${l}_0[${i}], fetched_b_${l}_1[${i}], fetched_b_${l}_2[${i}],
                    fetched_b_${l}_3[${i}]), params.scale_b);
//#end
        }
//#else
        tile_b[kb_${l} * LINE_B + nb_${l} / 4u] = rounded(fetched_b_${l}, params.scale_b);
//#end
//#end
        workgroupBarrier();
        next += BK;
    }

//#for r RM
//#for i 4
//#for s RN
    store(first_m + ${r}u * (BM / ${RM}u) + ty * 4u + ${i}u,
        first_n + ${s}u * (BN / ${RN}u) + tx * 4u, z, sum_${r}_${i}_${s});
//#end
//#end
//#end
}
//#end
