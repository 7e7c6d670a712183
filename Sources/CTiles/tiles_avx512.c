#include "tile_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define TARGET AVX512BF16_TARGET
TARGET static inline __m256i bf16_of(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }
#include "tiles_avx512.inc"

TARGET static inline __m512bh pairs(const uint8_t *from) { return (__m512bh)_mm512_load_si512(from); }

TARGET static inline __m512bh broadcast(const uint8_t *from) {
    int32_t pair;
    memcpy(&pair, from, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

// The sums grow by 32 depths of 8 rows of A, `stride` bytes apart, and two tiles of B.
TARGET static inline void dot(const uint8_t *a, long stride, const uint8_t *b, __m512 sums[BLOCK_ROWS][2]) {
#pragma clang loop unroll_count(4)
    for (int pair = 0; pair < PAIRS; pair++) {
        const __m512bh left = pairs(b + 64 * pair), right = pairs(b + LOCKSTEP_TILE_BYTES + 64 * pair);
#pragma clang loop unroll(full)
        for (int row = 0; row < BLOCK_ROWS; row++) {
            const __m512bh x = broadcast(a + stride * row + 4 * pair);
            sums[row][0] = _mm512_dpbf16_ps(sums[row][0], left, x);
            sums[row][1] = _mm512_dpbf16_ps(sums[row][1], right, x);
        }
    }
}

// Rows `first` to `first` + 7 of the block.
TARGET static inline __attribute__((always_inline)) void multiply_rows(
    const lockstep_tile_block *block, int first, bool split, bool fetches, long stride, long a_step) {
    const uint8_t *a = (const uint8_t *)block->a + stride * first, *b = block->b;
    // A quarter of a step of the next panel in each step of each quarter of the rows.
    const uint8_t *next = b + block->b_panel + first * 64;
    __m512 sums[BLOCK_ROWS][2];
#pragma clang loop unroll(full)
    for (int row = 0; row < BLOCK_ROWS; row++) sums[row][0] = sums[row][1] = _mm512_setzero_ps();
    for (long step = 0; step < block->steps; step++) {
        fetch_in_step(block, first, step);
        if (split) {
            dot(a + 2048, stride, b, sums);
            dot(a, stride, b, sums);
            dot(a, stride, b + 2048, sums);
            b += 4096;
        } else {
            dot(a, stride, b, sums);
            b += 2048;
        }
        if (fetches) {
#pragma clang loop unroll(full)
            for (int line = 0; line < BLOCK_ROWS; line++) __builtin_prefetch(next + 64 * line, 0, 2);
            next += 2048;
        }
        a += a_step;
    }
    store_rows(sums, 0, first, columns_from(0, block), block);
    if (block->columns > 16) store_rows(sums, 1, first, columns_from(16, block), block);
}

TARGET void avx512_multiply(const lockstep_tile_block *block) {
    // Tiles have code of their own, with addresses that are known.
    const bool is_packed = block->a_stride == 64 && block->a_step == 2 * LOCKSTEP_TILE_BYTES;
    for (int first = 0; first < block->rows; first += BLOCK_ROWS) {
        const bool fetches = block->fetches_b;
        if (is_packed && fetches) multiply_rows(block, first, false, true, 64, 2 * LOCKSTEP_TILE_BYTES);
        else if (is_packed) multiply_rows(block, first, false, false, 64, 2 * LOCKSTEP_TILE_BYTES);
        else if (fetches) multiply_rows(block, first, false, true, block->a_stride, block->a_step);
        else multiply_rows(block, first, false, false, block->a_stride, block->a_step);
    }
}

TARGET void avx512_multiply_split(const lockstep_tile_block *block) {
    for (int first = 0; first < block->rows; first += BLOCK_ROWS) {
        multiply_rows(block, first, true, false, 64, 4 * LOCKSTEP_TILE_BYTES);
    }
}

TARGET void avx512_prefetch(const lockstep_tile_block *block) {
    for (int row = 0; row < block->rows; row++) fetch_row(block, row);
}

TARGET void avx512_store(const block_sums *sums, const lockstep_tile_block *block) {
    const __m512 alpha = _mm512_set1_ps(block->alpha);
    for (int column = 0; column < block->columns; column += 16) {
        const __mmask16 mask = columns_from(column, block);
        const __m512 bias = block->bias ? _mm512_maskz_loadu_ps(mask, block->bias + column) : _mm512_setzero_ps();
        for (int row = 0; row < block->rows; row++) {
            store_row(_mm512_load_ps(&sums->rows[row][column]), block, row, column, mask, alpha, bias);
        }
    }
}
#endif
