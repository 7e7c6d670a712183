#include "tile_kernels.h"

#include <float.h>
#include <string.h>

// Tiles in memory, and Intel's description of `tdpbf16ps` (Architecture Instruction Set Extensions Programming Reference,
// 3.4): even and odd depths of a tile are summed apart from zero, then together, then added to the destination; every
// sum is rounded to nearest even; subnormal numbers count as zero, wherever they occur.

typedef union {
    uint16_t bf16[16][32];
    float fp32[16][16];
} tile;

static inline float without_subnormal(float value) {
    return __builtin_fabsf(value) < FLT_MIN ? 0 : value;
}

static inline float from_bf16(uint16_t bits) {
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return without_subnormal(value);
}

static void zero(tile *t) { memset(t, 0, sizeof *t); }

static void load(tile *t, const void *from, long stride_bytes) {
    for (int row = 0; row < TILE_ROWS; row++) memcpy(t->bf16[row], (const uint8_t *)from + row * stride_bytes, 64);
}

static void store(const tile *t, void *to, long stride_bytes) {
    for (int row = 0; row < TILE_ROWS; row++) memcpy((uint8_t *)to + row * stride_bytes, t->fp32[row], 64);
}

static void dot(tile *c, const tile *a, const tile *b) {
    float values[PAIRS][2][16];
    for (int pair = 0; pair < PAIRS; pair++) {
        for (int column = 0; column < 16; column++) {
            values[pair][0][column] = from_bf16(b->bf16[pair][2 * column]);
            values[pair][1][column] = from_bf16(b->bf16[pair][2 * column + 1]);
        }
    }
    for (int row = 0; row < TILE_ROWS; row++) {
        float even[16] = {0}, odd[16] = {0};
        for (int pair = 0; pair < PAIRS; pair++) {
            const float first = from_bf16(a->bf16[row][2 * pair]), second = from_bf16(a->bf16[row][2 * pair + 1]);
            for (int column = 0; column < 16; column++) {
                even[column] = without_subnormal(even[column] + first * values[pair][0][column]);
                odd[column] = without_subnormal(odd[column] + second * values[pair][1][column]);
            }
        }
        for (int column = 0; column < 16; column++) {
            const float sum = without_subnormal(even[column] + odd[column]);
            c->fp32[row][column] = without_subnormal(c->fp32[row][column] + sum);
        }
    }
}

#define TILE_FUNCTION
#define SUM emulated_sum
#define SUM_SPLIT emulated_sum_split
#define TILE_REGISTERS tile tiles[8]
#define TILE_ZERO(id) zero(&tiles[id])
#define TILE_LOAD(id, from, stride_bytes) load(&tiles[id], from, stride_bytes)
#define TILE_STORE(id, to, stride_bytes) store(&tiles[id], to, stride_bytes)
#define TILE_DOT(c, a, b) dot(&tiles[c], &tiles[a], &tiles[b])
#include "tile_sums.inc"
