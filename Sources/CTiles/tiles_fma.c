#include "tile_kernels.h"

#if defined(__x86_64__)
#include "bf16_avx512.h"

#define TARGET AVX512_TARGET
#include "tiles_avx512.inc"

// Products as fp32 multiply-adds, of panels that hold fp32 numbers, or of tiles of bf16 numbers, which are the upper halves of fp32
// numbers and widened into such panels: those of B once for a block, those of A once for all panels of B in it.

enum {
    // Rows of A, columns of B, and the depths of a step.
    PANEL = LOCKSTEP_PANEL_EXTENT,
    // Numbers of a panel in one step.
    STEP = LOCKSTEP_STEP_DEPTH * PANEL,
    // Steps of B that are widened at a time: half an L2 of 1 MiB.
    WIDENED_STEPS = 128,
    // Between widened rows of A: a line more than their numbers, so that they do not all fall into the same sets of a cache.
    ROW = LOCKSTEP_MOST_WIDENED_STEPS * LOCKSTEP_STEP_DEPTH + 16,
};

// A panel of A, and how many numbers it is to the next row, depth and step.
typedef struct {
    const float *base;
    long row, depth, step;
} rows_of_a;

// The sums of 8 rows grow by one depth.
TARGET static inline __attribute__((always_inline)) void add(
    const float *a, long row_distance, const float *b, __m512 sums[BLOCK_ROWS][2]) {
    const __m512 left = _mm512_load_ps(b), right = _mm512_load_ps(b + 16);
#pragma clang loop unroll(full)
    for (int row = 0; row < BLOCK_ROWS; row++) {
        const __m512 x = _mm512_set1_ps(a[row * row_distance]);
        sums[row][0] = _mm512_fmadd_ps(x, left, sums[row][0]);
        sums[row][1] = _mm512_fmadd_ps(x, right, sums[row][1]);
    }
}

// Rows `first` to `first` + 7 of a block of one panel of each operand. Where it fetches the next panel of B, a quarter of it.
TARGET static inline __attribute__((always_inline)) void multiply_rows(
    const lockstep_tile_block *block, int first, rows_of_a from, const float *b, bool fetches) {
    const float *a = from.base + from.row * first;
    const float *next = (const float *)((const uint8_t *)b + block->b_panel) + PANEL * first;
    __m512 sums[BLOCK_ROWS][2];
#pragma clang loop unroll(full)
    for (int row = 0; row < BLOCK_ROWS; row++) sums[row][0] = sums[row][1] = _mm512_setzero_ps();
    for (long step = 0; step < block->steps; step++) {
        fetch_in_step(block, first, step);
        if (fetches) {
#pragma clang loop unroll(full)
            for (int line = 0; line < 2 * BLOCK_ROWS; line++) __builtin_prefetch(next + 16 * line, 0, 2);
            next += STEP;
        }
#pragma clang loop unroll_count(8)
        for (int depth = 0; depth < LOCKSTEP_STEP_DEPTH; depth++) {
            add(a + from.depth * depth, from.row, b + PANEL * depth, sums);
        }
        a += from.step;
        b += STEP;
    }
    store_rows(sums, 0, first, columns_from(0, block), block);
    if (block->columns > 16) store_rows(sums, 1, first, columns_from(16, block), block);
}

TARGET static inline __attribute__((always_inline)) void multiply_panels(
    const lockstep_tile_block *block, rows_of_a a, const float *b) {
    for (int first = 0; first < block->rows; first += BLOCK_ROWS) {
        if (block->fetches_b) multiply_rows(block, first, a, b, true);
        else multiply_rows(block, first, a, b, false);
    }
}

// Subnormal numbers count as zero, as in the instructions for bf16; and they would be slow. Returns what to set back.
TARGET static inline unsigned begin_flushing(void) {
    const unsigned mode = _mm_getcsr(), subnormal_operands_are_zero = 1 << 6;
    _mm_setcsr(mode | _MM_FLUSH_ZERO_ON | subnormal_operands_are_zero);
    return mode;
}

TARGET void fma_multiply_fp32(const lockstep_tile_block *block) {
    const unsigned mode = begin_flushing();
    for (int row = 0; row < block->rows; row += PANEL) {
        const lockstep_tile_block rows = rows_of(block, row);
        const rows_of_a packed = {rows.a, 1, PANEL, STEP}, as_it_is = {rows.a, block->a_stride / 4, 1, block->a_step / 4};
        for (int column = 0; column < block->columns; column += PANEL) {
            const lockstep_tile_block panels = columns_of(&rows, column);
            if (block->a_stride == sizeof(float)) multiply_panels(&panels, packed, panels.b);
            else multiply_panels(&panels, as_it_is, panels.b);
        }
    }
    _mm_setcsr(mode);
}

TARGET static inline void widen_a(const lockstep_tile_block *block, float to[PANEL][ROW]) {
    for (int row = 0; row < block->rows; row++) {
        const uint8_t *from = (const uint8_t *)block->a + block->a_stride * row;
        for (long step = 0; step < block->steps; step++, from += block->a_step) {
            float *numbers = to[row] + LOCKSTEP_STEP_DEPTH * step;
            for (int half = 0; half < 2; half++) {
                const __m256i bf16 = _mm256_loadu_si256((const __m256i *)from + half);
                const __m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16);
                _mm512_store_si512(numbers + 16 * half, wide);
            }
        }
    }
}

// Of a panel of B. A pair is (even depth, odd depth).
TARGET static inline void widen_b(const uint8_t *b, long steps, float *to) {
    const __m512i odd = _mm512_set1_epi32((int)0xFFFF0000);
    for (long pair = 0; pair < PAIRS * steps; pair++, to += 2 * PANEL) {
        const uint8_t *from = b + 2 * LOCKSTEP_TILE_BYTES * (pair / PAIRS) + 64 * (pair % PAIRS);
        for (int half = 0; half < 2; half++) {
            const __m512i pairs = _mm512_load_si512(from + LOCKSTEP_TILE_BYTES * half);
            _mm512_store_si512(to + 16 * half, _mm512_slli_epi32(pairs, 16));
            _mm512_store_si512(to + PANEL + 16 * half, _mm512_and_si512(pairs, odd));
        }
    }
}

typedef struct {
    _Alignas(64) float a[PANEL][ROW];
    _Alignas(64) float b[WIDENED_STEPS][STEP];
} workspace;

// As many panels of B as the workspace holds.
TARGET static void multiply_widened(const lockstep_tile_block *block, workspace *work) {
    for (int column = 0; column < block->columns; column += PANEL) {
        const uint8_t *b = (const uint8_t *)block->b + column / PANEL * block->b_panel;
        widen_b(b, block->steps, work->b[column / PANEL * block->steps]);
    }
    for (int row = 0; row < block->rows; row += PANEL) {
        const lockstep_tile_block rows = rows_of(block, row);
        widen_a(&rows, work->a);
        for (int column = 0; column < block->columns; column += PANEL) {
            lockstep_tile_block panels = columns_of(&rows, column);
            // All of B is in a cache.
            panels.fetches_b = false;
            const rows_of_a a = {work->a[0], ROW, 1, LOCKSTEP_STEP_DEPTH};
            multiply_panels(&panels, a, work->b[column / PANEL * block->steps]);
        }
    }
}

TARGET void fma_multiply(const lockstep_tile_block *block) {
    const unsigned mode = begin_flushing();
    workspace work;
    const long steps = block->steps < 1 ? 1 : block->steps;
    const int columns = (int)(WIDENED_STEPS / steps) * PANEL;
    for (int column = 0; column < block->columns; column += columns) {
        lockstep_tile_block part = columns_of(block, column);
        const int left = block->columns - column;
        part.columns = left < columns ? left : columns;
        multiply_widened(&part, &work);
    }
    _mm_setcsr(mode);
}
#endif
