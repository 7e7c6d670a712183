#include "tile_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

// Part of each combination's own code.
#define PACKING AVX512_TARGET static inline __attribute__((always_inline))

// A tile is packed as 16 registers of 16 pairs. Along rows of memory: a register per row, 32 neighbours in it. Across
// them: a register per two rows, 16 columns of each, interleaved. Where the tile wants the other order, the 16 × 16
// pairs are transposed.

typedef struct {
    const void *base;
    long stride;
    /// Rows and columns of memory that are left.
    long rows, columns;
} window;

// What memory holds: fp32 numbers, which are rounded, with or without what rounding leaves of them, or bf16 numbers.
typedef enum { ROUNDED, SPLIT, BF16 } numbers;

PACKING const void *at(const window *from, numbers kind, long row, long column) {
    return (const char *)from->base + (row * from->stride + column) * (kind == BF16 ? 2 : 4);
}

PACKING __mmask16 first(long count) {
    return count >= 16 ? 0xFFFF : count <= 0 ? 0 : (__mmask16)((1 << count) - 1);
}

// Values, and what rounding left of them, of two times 16 elements.
typedef struct {
    __m512i values, remainders;
} rounded;

PACKING __m512 remainder_of(__m512 x, __m256bh rounded) {
    const __m512i bits = _mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)rounded), 16);
    const __m512i exponent = _mm512_set1_epi32(0x7F800000);
    const __mmask16 finite = _mm512_cmpneq_epi32_mask(_mm512_and_si512(bits, exponent), exponent);
    return _mm512_maskz_sub_ps(finite, x, _mm512_castsi512_ps(bits));
}

PACKING rounded round_pair(__m512 low, __m512 high, bool split) {
    rounded result = {(__m512i)_mm512_cvtne2ps_pbh(high, low), _mm512_setzero_si512()};
    if (split) {
        const __m512 rest_low = remainder_of(low, (__m256bh)_mm512_castsi512_si256(result.values));
        const __m512 rest_high = remainder_of(high, (__m256bh)_mm512_extracti64x4_epi64(result.values, 1));
        result.remainders = (__m512i)_mm512_cvtne2ps_pbh(rest_high, rest_low);
    }
    return result;
}

// Zero in place of subnormal numbers.
PACKING __m512i flushed(__m512i bf16) {
    const __mmask32 small = _mm512_testn_epi16_mask(bf16, _mm512_set1_epi16(0x7F80));
    return _mm512_mask_blend_epi16(small, bf16, _mm512_and_si512(bf16, _mm512_set1_epi16((short)0x8000)));
}

// 16 rows of 32 columns.
PACKING void load_along(const window *from, bool whole, numbers kind, rounded to[16]) {
    const __mmask16 left = first(from->columns), right = first(from->columns - 16);
    for (int row = 0; row < 16; row++) {
        const bool exists = whole || row < from->rows;
        const void *x = at(from, kind, row, 0);
        if (kind == BF16) {
            const __mmask32 mask = exists ? (__mmask32)right << 16 | left : 0;
            to[row].values = flushed(whole ? _mm512_loadu_si512(x) : _mm512_maskz_loadu_epi16(mask, x));
        } else if (whole) {
            to[row] = round_pair(_mm512_loadu_ps(x), _mm512_loadu_ps((const float *)x + 16), kind == SPLIT);
        } else {
            to[row] = round_pair(
                _mm512_maskz_loadu_ps(exists ? left : 0, x),
                _mm512_maskz_loadu_ps(exists ? right : 0, (const float *)x + 16), kind == SPLIT);
        }
    }
}

// 32 rows of 16 columns.
PACKING void load_across(const window *from, bool whole, numbers kind, rounded to[16]) {
    const __m512i interleave = _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1,
        16, 0);
    const __mmask16 mask = first(from->columns);
    for (int pair = 0; pair < 16; pair++) {
        const void *even = at(from, kind, 2 * pair, 0), *odd = at(from, kind, 2 * pair + 1, 0);
        const __mmask16 of_even = whole ? 0xFFFF : 2 * pair < from->rows ? mask : 0;
        const __mmask16 of_odd = whole ? 0xFFFF : 2 * pair + 1 < from->rows ? mask : 0;
        rounded both;
        if (kind == BF16) {
            const __m256i low = _mm256_maskz_loadu_epi16(of_even, even), high = _mm256_maskz_loadu_epi16(of_odd, odd);
            both.values = flushed(_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
        } else {
            both = round_pair(
                _mm512_maskz_loadu_ps(of_even, even), _mm512_maskz_loadu_ps(of_odd, odd), kind == SPLIT);
        }
        to[pair].values = _mm512_permutexvar_epi16(interleave, both.values);
        if (kind == SPLIT) to[pair].remainders = _mm512_permutexvar_epi16(interleave, both.remainders);
    }
}

PACKING void store_transposed(const __m512i in[16], uint8_t *to) {
    __m512i a[16], b[16];
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_epi32(in[i], in[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi32(in[i], in[i + 1]);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i += 4) {
        b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    // b[4·g + c] holds, in lane l, column 4·l + c of rows 4·g … 4·g + 3.
#pragma clang loop unroll(full)
    for (int c = 0; c < 4; c++) {
        const __m512i top_even = _mm512_shuffle_i32x4(b[c], b[4 + c], 0x88);
        const __m512i top_odd = _mm512_shuffle_i32x4(b[c], b[4 + c], 0xDD);
        const __m512i bottom_even = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0x88);
        const __m512i bottom_odd = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0xDD);
        _mm512_store_si512(to + 64 * c, _mm512_shuffle_i32x4(top_even, bottom_even, 0x88));
        _mm512_store_si512(to + 64 * (4 + c), _mm512_shuffle_i32x4(top_odd, bottom_odd, 0x88));
        _mm512_store_si512(to + 64 * (8 + c), _mm512_shuffle_i32x4(top_even, bottom_even, 0xDD));
        _mm512_store_si512(to + 64 * (12 + c), _mm512_shuffle_i32x4(top_odd, bottom_odd, 0xDD));
    }
}

PACKING void store_tile(const __m512i in[16], bool transposed, uint8_t *to) {
    if (transposed) {
        store_transposed(in, to);
    } else {
#pragma clang loop unroll(full)
        for (int row = 0; row < 16; row++) _mm512_store_si512(to + 64 * row, in[row]);
    }
}

PACKING void pack_tile(
    const window *from, bool along, bool whole, numbers kind, bool transposed, uint8_t *to) {
    rounded pairs[16];
    if (along) load_along(from, whole, kind, pairs);
    else load_across(from, whole, kind, pairs);
    __m512i values[16], remainders[16];
#pragma clang loop unroll(full)
    for (int row = 0; row < 16; row++) {
        values[row] = pairs[row].values;
        if (kind == SPLIT) remainders[row] = pairs[row].remainders;
    }
    store_tile(values, transposed, to);
    if (kind == SPLIT) store_tile(remainders, transposed, to + 2 * LOCKSTEP_TILE_BYTES);
}

// The first row and column of memory of a step.
typedef struct {
    long row, column;
} place;

// The step behind it along the rows of memory.
PACKING place next(place step, long columns) {
    step.column += 32;
    return step.column < columns ? step : (place){step.row + 32, 0};
}

// How many steps ahead memory is fetched from, a line or two of 32 rows each, too far apart for the hardware to see it.
enum { STEPS_AHEAD = 4 };

// Into L2: L1 waits for too few lines at once. On Zen 4 packing fp32 from memory so took 0.26 ns an element, and 0.5 by way of L1.
PACKING void fetch(const window *all, numbers kind, place step) {
    for (long row = step.row; row < step.row + 32 && row < all->rows; row++) {
        const char *x = at(all, kind, row, step.column);
        __builtin_prefetch(x, 0, 2);
        if (kind != BF16) __builtin_prefetch(x + 64, 0, 2);
    }
}

// One step of a panel, from element (index, depth) on.
PACKING void pack_step(
    const lockstep_tile_source *source, long index, long depth, bool along, numbers kind, bool transposed,
    uint8_t *to) {
    const long indices = source->extent - index, depths = source->depth - depth;
    const window all = {source->base, source->stride, 0, 0};
    window from = along ? (window){at(&all, kind, index, depth), source->stride, indices, depths}
                        : (window){at(&all, kind, depth, index), source->stride, depths, indices};
    const bool whole = indices >= LOCKSTEP_PANEL_EXTENT && depths >= LOCKSTEP_STEP_DEPTH;
    for (int half = 0; half < 2; half++) {
        if (whole) pack_tile(&from, along, true, kind, transposed, to);
        else pack_tile(&from, along, false, kind, transposed, to);
        from.base = along ? at(&from, kind, 16, 0) : at(&from, kind, 0, 16);
        if (along) from.rows -= 16;
        else from.columns -= 16;
        to += LOCKSTEP_TILE_BYTES;
    }
}

// Goes along the rows of memory, whatever order the panels have.
PACKING void pack_all(
    const lockstep_tile_source *source, bool along, numbers kind, bool transposed, uint8_t *panels) {
    const long step_bytes = (kind == SPLIT ? 4 : 2) * LOCKSTEP_TILE_BYTES;
    const long panel_bytes = (source->depth + LOCKSTEP_STEP_DEPTH - 1) / LOCKSTEP_STEP_DEPTH * step_bytes;
    const long rows = along ? source->extent : source->depth, columns = along ? source->depth : source->extent;
    const window all = {source->base, source->stride, rows, columns};
    place ahead = {0, 0};
    for (int step = 0; step < STEPS_AHEAD; step++) ahead = next(ahead, columns);
    for (place step = {0, 0}; step.row < rows && columns > 0; step = next(step, columns)) {
        fetch(&all, kind, ahead);
        ahead = next(ahead, columns);
        const long index = along ? step.row : step.column, depth = along ? step.column : step.row;
        pack_step(
            source, index, depth, along, kind, transposed,
            panels + index / LOCKSTEP_PANEL_EXTENT * panel_bytes + depth / LOCKSTEP_STEP_DEPTH * step_bytes);
    }
}

// Each combination has code of its own.
#define PACK(along, transposed) \
    do { \
        if (source.is_bf16) pack_all(&source, along, BF16, transposed, panels); \
        else if (split) pack_all(&source, along, SPLIT, transposed, panels); \
        else pack_all(&source, along, ROUNDED, transposed, panels); \
    } while (0)

AVX512_TARGET void avx512_pack(int side, bool split, lockstep_tile_source source, uint8_t *panels) {
    const bool along = source.depth_is_contiguous, is_a = side == LOCKSTEP_SIDE_A;
    if (along && is_a) PACK(true, false);
    else if (along) PACK(true, true);
    else if (is_a) PACK(false, true);
    else PACK(false, false);
}
#endif
