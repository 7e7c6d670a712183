#include "tile_kernels.h"

#if defined(__x86_64__)
#include "bf16_avx512.h"

AVX512_TARGET static inline __m512i bf16_pair(__m512 low, __m512 high) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(bf16_of(low)), bf16_of(high), 1);
}

#define TARGET AVX512_TARGET
#define PACK fma_pack
#define FULL FP32
#include "tile_pack_avx512.inc"
#endif
