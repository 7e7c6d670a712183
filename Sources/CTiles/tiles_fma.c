#include "tiles_avx512.h"

#if defined(__x86_64__)

// Products of tiles as fp32 multiply-adds: bf16 numbers are the upper halves of fp32 numbers. Those of A are widened once for all
// panels of B, those of B a few steps at a time into what L1 holds; of 16 pairs the even depths first, then the odd ones.

enum {
    // Of A, in an L2 of 1 MiB or more.
    CHUNK_STEPS = 32,
    // Of B, in L1. On Emerald Rapids two to eight were alike, one took 5 % longer.
    SEGMENT_STEPS = 4,
    // Between rows of A: a line more than their numbers, so that they do not all fall into the same sets of a cache.
    ROW = CHUNK_STEPS * LOCKSTEP_STEP_DEPTH + 16,
};

typedef struct {
    _Alignas(64) float a[LOCKSTEP_PANEL_EXTENT][ROW];
    _Alignas(64) float b[SEGMENT_STEPS * LOCKSTEP_STEP_DEPTH][LOCKSTEP_PANEL_EXTENT];
    block_sums sums;
} workspace;

AVX512_TARGET static inline __m512 even_depths(__m512i pairs) { return (__m512)_mm512_slli_epi32(pairs, 16); }

AVX512_TARGET static inline __m512 odd_depths(__m512i pairs) {
    return (__m512)_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xFFFF0000));
}

AVX512_TARGET static inline void widen_a(
    const uint8_t *a, const lockstep_tile_block *block, long steps, long to_step, workspace *work) {
    for (int row = 0; row < block->rows; row++) {
        float *to = work->a[row] + LOCKSTEP_STEP_DEPTH * to_step;
        for (long step = 0; step < steps; step++, to += LOCKSTEP_STEP_DEPTH) {
            const __m512i pairs = _mm512_loadu_si512(a + block->a_stride * row + block->a_step * step);
            _mm512_store_ps(to, even_depths(pairs));
            _mm512_store_ps(to + PAIRS, odd_depths(pairs));
        }
    }
}

// The sums of 8 rows grow by one depth.
AVX512_TARGET static inline __attribute__((always_inline)) void add(
    const float *a, __m512 left, __m512 right, __m512 sums[BLOCK_ROWS][2]) {
#pragma clang loop unroll(full)
    for (int row = 0; row < BLOCK_ROWS; row++) {
        const __m512 x = _mm512_set1_ps(a[row * ROW]);
        sums[row][0] = _mm512_fmadd_ps(x, left, sums[row][0]);
        sums[row][1] = _mm512_fmadd_ps(x, right, sums[row][1]);
    }
}

// And by one step. The first rows widen B for those that follow.
AVX512_TARGET static inline __attribute__((always_inline)) void add_step(
    const float *a, const uint8_t *b, float (*wide)[LOCKSTEP_PANEL_EXTENT], bool widens, __m512 sums[BLOCK_ROWS][2]) {
#pragma clang loop unroll_count(4)
    for (int pair = 0; pair < PAIRS; pair++) {
        float *even = wide[2 * pair], *odd = wide[2 * pair + 1];
        if (widens) {
            const __m512i left = _mm512_load_si512(b + 64 * pair);
            const __m512i right = _mm512_load_si512(b + LOCKSTEP_TILE_BYTES + 64 * pair);
            _mm512_store_ps(even, even_depths(left));
            _mm512_store_ps(even + 16, even_depths(right));
            _mm512_store_ps(odd, odd_depths(left));
            _mm512_store_ps(odd + 16, odd_depths(right));
            add(a + pair, even_depths(left), even_depths(right), sums);
            add(a + PAIRS + pair, odd_depths(left), odd_depths(right), sums);
        } else {
            add(a + pair, _mm512_load_ps(even), _mm512_load_ps(even + 16), sums);
            add(a + PAIRS + pair, _mm512_load_ps(odd), _mm512_load_ps(odd + 16), sums);
        }
    }
}

// A few steps of a panel.
typedef struct {
    // Of A in the workspace, and of all steps.
    long a_step, step;
    const uint8_t *b;
    long b_step;
    long steps;
    // Whether there are sums of others yet, and whether others follow.
    bool is_first, is_last;
    bool fetches_b;
} segment;

AVX512_TARGET static inline __attribute__((always_inline)) void add_segment(
    const lockstep_tile_block *block, segment of, workspace *work) {
    for (int first = 0; first < block->rows; first += BLOCK_ROWS) {
        float(*rows)[LOCKSTEP_PANEL_EXTENT] = work->sums.rows + first;
        __m512 sums[BLOCK_ROWS][2];
#pragma clang loop unroll(full)
        for (int row = 0; row < BLOCK_ROWS; row++) {
            sums[row][0] = of.is_first ? _mm512_setzero_ps() : _mm512_load_ps(rows[row]);
            sums[row][1] = of.is_first ? _mm512_setzero_ps() : _mm512_load_ps(rows[row] + 16);
        }
        for (long step = 0; step < of.steps; step++) {
            for (long row = of.step + step; row < BLOCK_ROWS; row += block->steps) fetch_row(block, first + row);
            if (block->fetch) fetch_lines(block->fetch, 1);
            const uint8_t *b = of.b + of.b_step * step;
            for (int line = 0; of.fetches_b && line < BLOCK_ROWS; line++) {
                __builtin_prefetch(b + block->b_panel + 64 * (first + line), 0, 2);
            }
            const float *a = work->a[first] + LOCKSTEP_STEP_DEPTH * (of.a_step + step);
            float(*wide)[LOCKSTEP_PANEL_EXTENT] = work->b + LOCKSTEP_STEP_DEPTH * step;
            if (first == 0) add_step(a, b, wide, true, sums);
            else add_step(a, b, wide, false, sums);
        }
        if (of.is_last) {
            store_rows(sums, 0, first, columns_from(0, block), block);
            if (block->columns > 16) store_rows(sums, 1, first, columns_from(16, block), block);
            continue;
        }
#pragma clang loop unroll(full)
        for (int row = 0; row < BLOCK_ROWS; row++) {
            _mm512_store_ps(rows[row], sums[row][0]);
            _mm512_store_ps(rows[row] + 16, sums[row][1]);
        }
    }
}

// One panel, for which A is widened again where the workspace cannot hold it all.
AVX512_TARGET static inline __attribute__((always_inline)) void multiply_panel(
    const lockstep_tile_block *block, bool split, bool is_first, workspace *work) {
    const long chunk = split ? CHUNK_STEPS / 2 : CHUNK_STEPS;
    segment part = {.b_step = (split ? 4 : 2) * LOCKSTEP_TILE_BYTES, .is_first = true};
    // Without depths there is a segment, too, of no steps.
    for (long first = 0; first == 0 || first < block->steps; first += chunk) {
        const long left = block->steps - first, steps = left < chunk ? left : chunk;
        if (is_first || block->steps > chunk) {
            const uint8_t *a = (const uint8_t *)block->a + block->a_step * first;
            widen_a(a, block, steps, 0, work);
            if (split) widen_a(a + 2 * LOCKSTEP_TILE_BYTES, block, steps, chunk, work);
        }
        for (long step = 0; step == 0 || step < steps; step += SEGMENT_STEPS) {
            part.a_step = step;
            part.step = first + step;
            part.b = (const uint8_t *)block->b + part.b_step * part.step;
            part.steps = steps - step < SEGMENT_STEPS ? steps - step : SEGMENT_STEPS;
            if (split) {
                segment rest = part;
                rest.a_step += chunk;
                add_segment(block, rest, work);
                part.is_first = false;
                rest = part;
                rest.b += 2 * LOCKSTEP_TILE_BYTES;
                add_segment(block, rest, work);
            }
            part.is_last = part.step + part.steps == block->steps;
            part.fetches_b = block->fetches_b;
            add_segment(block, part, work);
            part.is_first = part.fetches_b = false;
        }
    }
}

AVX512_TARGET static inline __attribute__((always_inline)) void multiply(const lockstep_tile_block *block, bool split) {
    // Subnormal numbers count as zero, as in the instructions for bf16; and they would be slow.
    const unsigned mode = _mm_getcsr(), subnormal_operands_are_zero = 1 << 6;
    _mm_setcsr(mode | _MM_FLUSH_ZERO_ON | subnormal_operands_are_zero);
    workspace work;
    for (int panel = 0; panel * LOCKSTEP_PANEL_EXTENT < block->columns; panel++) {
        const lockstep_tile_block part = panel_of(block, panel);
        multiply_panel(&part, split, panel == 0, &work);
    }
    _mm_setcsr(mode);
}

AVX512_TARGET void fma_multiply(const lockstep_tile_block *block) { multiply(block, false); }

AVX512_TARGET void fma_multiply_split(const lockstep_tile_block *block) { multiply(block, true); }
#endif
