#include "tile_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

AVX512BF16_TARGET void lockstep_ceiling_avx512bf16(long repetitions) {
    __m512 sums[16];
    __m512i x = _mm512_setzero_si512();
    // Neither the operands nor the results may be known to the compiler, or it leaves the work out.
    __asm__ volatile("" : "+v"(x));
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) sums[i] = _mm512_setzero_ps();
    for (long repetition = 0; repetition < repetitions; repetition++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < 16; i++) sums[i] = _mm512_dpbf16_ps(sums[i], (__m512bh)x, (__m512bh)x);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) __asm__ volatile("" : : "v"(sums[i]));
}

__attribute__((target("avx512f"))) void lockstep_ceiling_fp32_avx512(long repetitions) {
    __m512 sums[16];
    __m512 x = _mm512_setzero_ps();
    __asm__ volatile("" : "+v"(x));
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) sums[i] = _mm512_setzero_ps();
    for (long repetition = 0; repetition < repetitions; repetition++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < 16; i++) sums[i] = _mm512_fmadd_ps(sums[i], x, x);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) __asm__ volatile("" : : "v"(sums[i]));
}

__attribute__((target("avx2,fma"))) void lockstep_ceiling_fp32_avx2(long repetitions) {
    // Twelve of sixteen registers: more than the latency of two multiply-adds a cycle needs.
    __m256 sums[12];
    __m256 x = _mm256_setzero_ps();
    __asm__ volatile("" : "+x"(x));
#pragma clang loop unroll(full)
    for (int i = 0; i < 12; i++) sums[i] = _mm256_setzero_ps();
    for (long repetition = 0; repetition < repetitions; repetition++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < 12; i++) sums[i] = _mm256_fmadd_ps(sums[i], x, x);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 12; i++) __asm__ volatile("" : : "x"(sums[i]));
}

__attribute__((target("avx2"))) float lockstep_ceiling_read(const float *x, long count, int streams) {
    // In sums enough that no load waits for the one before it.
    __m256 sums[8];
#pragma clang loop unroll(full)
    for (int i = 0; i < 8; i++) sums[i] = _mm256_setzero_ps();
    const long part = count / streams;
    // Of the eight vectors of a round, two are in a stream of its own, or all are in one.
    const long step = streams == 1 ? 64 : 16, distance = streams == 1 ? 16 : part;
    for (long offset = 0; offset + step <= part; offset += step) {
#pragma clang loop unroll(full)
        for (int i = 0; i < 8; i++) {
            sums[i] = _mm256_add_ps(sums[i], _mm256_loadu_ps(x + offset + i / 2 * distance + i % 2 * 8));
        }
    }
    __m256 sum = sums[0];
    for (int i = 1; i < 8; i++) sum = _mm256_add_ps(sum, sums[i]);
    float lanes[8];
    _mm256_storeu_ps(lanes, sum);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3] + lanes[4] + lanes[5] + lanes[6] + lanes[7];
}

AMX_TARGET void lockstep_ceiling_amx(long repetitions) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(6);
    for (long repetition = 0; repetition < repetitions; repetition++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 6);
        _tile_dpbf16ps(2, 4, 6);
        _tile_dpbf16ps(3, 4, 6);
    }
}
#endif
