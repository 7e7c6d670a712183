#include "tile_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

AVX512BF16_TARGET static inline __m512i bf16_pair(__m512 low, __m512 high) {
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

#define TARGET AVX512BF16_TARGET
#define PACK avx512_pack
#define FULL SPLIT
#include "tile_pack_avx512.inc"
#endif
