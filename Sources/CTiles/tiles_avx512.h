#include "tile_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

// What products on 512-bit registers share: where their sums go. The includer defines TARGET, and bf16_of, which rounds 16 numbers.

// 8 rows by 32 columns of C: 16 accumulators, which hide the latency of what adds to them, and two loads of B and eight
// broadcasts of A for 16 of them.
enum { BLOCK_ROWS = 8 };

// Those of the 16 columns from `column` on that exist.
TARGET static inline __mmask16 columns_from(int column, const lockstep_tile_block *block) {
    const int left = block->columns - column;
    return left >= 16 ? 0xFFFF : (__mmask16)((1 << left) - 1);
}

// alpha·sum + bias (+ C), of a row's 16 columns from `column` on, of which those of `mask` exist.
TARGET static inline __attribute__((always_inline)) void store_row(
    __m512 sum, const lockstep_tile_block *block, long row, long column, __mmask16 mask, __m512 alpha, __m512 bias) {
    const long place = row * block->stride + column;
    if (block->rounded) {
        const __m256i rounded = bf16_of(_mm512_fmadd_ps(alpha, sum, bias));
        _mm256_mask_storeu_epi16(block->rounded + place, mask, rounded);
    } else {
        float *c = block->c + place;
        const __m512 base = block->accumulate ? _mm512_add_ps(_mm512_maskz_loadu_ps(mask, c), bias) : bias;
        _mm512_mask_storeu_ps(c, mask, _mm512_fmadd_ps(alpha, sum, base));
    }
}

// Eight rows from row `first` on, of which not all may exist, and of them half the columns.
TARGET static inline __attribute__((always_inline)) void store_rows(
    __m512 sums[BLOCK_ROWS][2], int half, int first, __mmask16 mask, const lockstep_tile_block *block) {
    const __m512 alpha = _mm512_set1_ps(block->alpha);
    const __m512 bias = block->bias ? _mm512_maskz_loadu_ps(mask, block->bias + 16 * half) : _mm512_setzero_ps();
#pragma clang loop unroll(full)
    for (int row = 0; row < BLOCK_ROWS; row++) {
        if (first + row == block->rows) break;
        store_row(sums[row][half], block, first + row, 16 * half, mask, alpha, bias);
    }
}

// Asks for a row of C, of which more columns, or rows, than exist do no harm.
TARGET static inline void fetch_row(const lockstep_tile_block *block, long row) {
    if (block->rounded) {
        __builtin_prefetch(block->rounded + row * block->stride, 1);
    } else {
        const float *c = block->c + row * block->stride;
        __builtin_prefetch(c, 1);
        __builtin_prefetch(c + 16, 1);
    }
}
#endif
