#pragma once

#include "tile_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

/// What `vcvtneps2bf16` does, without it: to nearest even; subnormal numbers become zero, NaN stays NaN.
AVX512_TARGET static inline __m256i bf16_of(__m512 x) {
    const __m512i bits = _mm512_castps_si512(x), upper = _mm512_srli_epi32(bits, 16);
    const __m512i half = _mm512_add_epi32(_mm512_set1_epi32(0x7FFF), _mm512_and_si512(upper, _mm512_set1_epi32(1)));
    __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
    const __mmask16 small = _mm512_testn_epi32_mask(bits, _mm512_set1_epi32(0x7F800000));
    rounded = _mm512_mask_and_epi32(rounded, small, upper, _mm512_set1_epi32(0x8000));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    rounded = _mm512_mask_or_epi32(rounded, nan, upper, _mm512_set1_epi32(0x40));
    return _mm512_cvtepi32_epi16(rounded);
}
#endif
