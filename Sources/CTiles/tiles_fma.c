#include "tile_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

// Products of tiles as fp32 multiply-adds: bf16 numbers are the upper halves of fp32 numbers. They are widened a few steps at a time
// into what L1 holds; of a register of 16 pairs the even depths first, then the odd ones, for A and B alike.

// 8 rows by 32 columns of C in 16 accumulators, as in tiles_avx512.c.
enum {
    BLOCK_ROWS = 8,
    // On Emerald Rapids two steps gave 84 % of the peak of multiply-adds, one and four steps 82 %, eight 78 %.
    WIDENED_STEPS = 2,
    WIDENED_DEPTHS = WIDENED_STEPS * LOCKSTEP_STEP_DEPTH,
};

typedef struct {
    // Rows a line longer than their numbers, so that they do not all fall into the same sets of a cache.
    _Alignas(64) float a[LOCKSTEP_PANEL_EXTENT][WIDENED_DEPTHS + 16];
    _Alignas(64) float b[WIDENED_DEPTHS][LOCKSTEP_PANEL_EXTENT];
} widened;

// What some steps read.
typedef struct {
    const uint8_t *a, *b;
    long a_stride, a_step, b_step;
    long steps;
} operands;

FMA_TARGET static inline __m512 even_depths(__m512i pairs) { return (__m512)_mm512_slli_epi32(pairs, 16); }

FMA_TARGET static inline __m512 odd_depths(__m512i pairs) {
    return (__m512)_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xFFFF0000));
}

FMA_TARGET static inline void widen_a(const operands *from, int rows, widened *to) {
    for (int row = 0; row < rows; row++) {
        for (long step = 0; step < from->steps; step++) {
            const __m512i pairs = _mm512_loadu_si512(from->a + from->a_stride * row + from->a_step * step);
            float *depths = to->a[row] + LOCKSTEP_STEP_DEPTH * step;
            _mm512_store_ps(depths, even_depths(pairs));
            _mm512_store_ps(depths + PAIRS, odd_depths(pairs));
        }
    }
}

// The sums of 8 rows grow by one depth.
FMA_TARGET static inline __attribute__((always_inline)) void add(
    const float *a, __m512 left, __m512 right, __m512 sums[BLOCK_ROWS][2]) {
#pragma clang loop unroll(full)
    for (int row = 0; row < BLOCK_ROWS; row++) {
        const __m512 x = _mm512_set1_ps(a[row * (WIDENED_DEPTHS + 16)]);
        sums[row][0] = _mm512_fmadd_ps(x, left, sums[row][0]);
        sums[row][1] = _mm512_fmadd_ps(x, right, sums[row][1]);
    }
}

// And by one step. The first rows widen B for those that follow.
FMA_TARGET static inline __attribute__((always_inline)) void add_step(
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

// Adds some steps to the sums of a block.
FMA_TARGET static inline __attribute__((always_inline)) void add_steps(
    const operands *from, const lockstep_tile_block *block, const uint8_t *next_b, widened *wide, block_sums *to) {
    widen_a(from, block->rows, wide);
    for (int first = 0; first < block->rows; first += BLOCK_ROWS) {
        __m512 sums[BLOCK_ROWS][2];
#pragma clang loop unroll(full)
        for (int row = 0; row < BLOCK_ROWS; row++) {
            sums[row][0] = _mm512_load_ps(to->rows[first + row]);
            sums[row][1] = _mm512_load_ps(to->rows[first + row] + 16);
        }
        for (long step = 0; step < from->steps; step++) {
            if (block->fetch) fetch_lines(block->fetch, 1);
            for (int line = 0; next_b && line < BLOCK_ROWS; line++) {
                __builtin_prefetch(next_b + from->b_step * step + 64 * (first + line), 0, 2);
            }
            const float *a = wide->a[first] + LOCKSTEP_STEP_DEPTH * step;
            float(*wide_b)[LOCKSTEP_PANEL_EXTENT] = wide->b + LOCKSTEP_STEP_DEPTH * step;
            const uint8_t *b = from->b + from->b_step * step;
            if (first == 0) add_step(a, b, wide_b, true, sums);
            else add_step(a, b, wide_b, false, sums);
        }
#pragma clang loop unroll(full)
        for (int row = 0; row < BLOCK_ROWS; row++) {
            _mm512_store_ps(to->rows[first + row], sums[row][0]);
            _mm512_store_ps(to->rows[first + row] + 16, sums[row][1]);
        }
    }
}

FMA_TARGET static inline __attribute__((always_inline)) void sum(
    const lockstep_tile_block *block, bool split, block_sums *sums) {
    // Subnormal numbers count as zero, as in the instructions for bf16; and they would be slow.
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | _MM_FLUSH_ZERO_ON | 0x0040);
    widened wide;
    const __m512 zero = _mm512_setzero_ps();
    for (int row = 0; row < LOCKSTEP_PANEL_EXTENT; row++) {
        _mm512_store_ps(sums->rows[row], zero);
        _mm512_store_ps(sums->rows[row] + 16, zero);
    }
    operands at = {block->a, block->b, block->a_stride, block->a_step, (split ? 4 : 2) * LOCKSTEP_TILE_BYTES, 0};
    const uint8_t *next_b = block->next_b;
    for (long left = block->steps; left > 0; left -= at.steps) {
        at.steps = left < WIDENED_STEPS ? left : WIDENED_STEPS;
        if (split) {
            operands rest = at;
            rest.a = at.a + 2 * LOCKSTEP_TILE_BYTES;
            add_steps(&rest, block, next_b, &wide, sums);
            rest = at;
            rest.b = at.b + 2 * LOCKSTEP_TILE_BYTES;
            add_steps(&rest, block, 0, &wide, sums);
        }
        add_steps(&at, block, split ? 0 : next_b, &wide, sums);
        at.a += at.a_step * at.steps;
        at.b += at.b_step * at.steps;
        if (next_b) next_b += at.b_step * at.steps;
    }
    _mm_setcsr(mode);
}

FMA_TARGET void fma_sum(const lockstep_tile_block *block, block_sums *sums) { sum(block, false, sums); }

FMA_TARGET void fma_sum_split(const lockstep_tile_block *block, block_sums *sums) { sum(block, true, sums); }
#endif
