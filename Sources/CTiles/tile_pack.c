#include "tile_kernels.h"

#include <float.h>
#include <string.h>

// Portable packing, element by element: what the vector packing is tested against.

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint16_t portable_bf16(float value) {
    const uint32_t bits = bits_of(value);
    if (value != value) return (uint16_t)(bits >> 16 | 0x40);
    if (__builtin_fabsf(value) < FLT_MIN) return (uint16_t)(bits >> 16 & 0x8000);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

// What rounding left; none beside what is not finite, where it would turn an infinity into NaN.
static float remainder_of(float value, uint16_t rounded) {
    return (rounded & 0x7F80) == 0x7F80 ? 0 : value - from_bits((uint32_t)rounded << 16);
}

static float element(const lockstep_tile_source *source, long index, long depth) {
    if (index >= source->extent || depth >= source->depth) return 0;
    const long place = source->depth_is_contiguous ? index * source->stride + depth : depth * source->stride + index;
    if (source->is_bf16) return from_bits((uint32_t)((const uint16_t *)source->base)[place] << 16);
    return ((const float *)source->base)[place];
}

static void pack_tile(
    int side, bool split, const lockstep_tile_source *source, long first_index, long first_depth, uint16_t *to) {
    for (int index = 0; index < 16; index++) {
        for (int depth = 0; depth < 32; depth++) {
            const float value = element(source, first_index + index, first_depth + depth);
            const int place =
                side == LOCKSTEP_SIDE_A ? index * 32 + depth : depth / 2 * 32 + index * 2 + depth % 2;
            to[place] = portable_bf16(value);
            if (split) to[LOCKSTEP_TILE_BYTES + place] = portable_bf16(remainder_of(value, to[place]));
        }
    }
}

void lockstep_tile_pack(int isa, int side, bool high, lockstep_tile_source source, void *panels) {
#if defined(__x86_64__)
    if (isa != LOCKSTEP_TILES_EMULATED) {
        (isa == LOCKSTEP_TILES_AVX512FMA ? fma_pack : avx512_pack)(side, high, source, panels);
        return;
    }
#endif
    uint16_t *to = panels;
    for (long index = 0; index < source.extent; index += LOCKSTEP_PANEL_EXTENT) {
        for (long depth = 0; depth < source.depth; depth += LOCKSTEP_STEP_DEPTH) {
            pack_tile(side, high, &source, index, depth, to);
            pack_tile(side, high, &source, index + 16, depth, to + LOCKSTEP_TILE_BYTES / 2);
            to += (high ? 4 : 2) * LOCKSTEP_TILE_BYTES / 2;
        }
    }
}
