#include "tile_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

// Memory operand of `ldtilecfg` (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, 18.3).
typedef struct {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_configuration;

_Static_assert(sizeof(tile_configuration) == 64, "ldtilecfg reads 64 bytes");

// All eight tiles of palette 1, of 16 rows of 64 bytes.
AMX_TARGET void amx_configure(void) {
    _Alignas(64) static const tile_configuration configuration = {
        .palette = 1,
        .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
        .rows = {16, 16, 16, 16, 16, 16, 16, 16},
    };
    _tile_loadconfig(&configuration);
}

AMX_TARGET void amx_release(void) { _tile_release(); }

#define TILE_FUNCTION AMX_TARGET
#define SUM amx_sum
#define SUM_SPLIT amx_sum_split
#define TILE_REGISTERS
#define TILE_ZERO(id) _tile_zero(id)
#define TILE_LOAD(id, from, stride_bytes) _tile_loadd(id, from, stride_bytes)
#define TILE_STORE(id, to, stride_bytes) _tile_stored(id, to, stride_bytes)
#define TILE_DOT(c, a, b) _tile_dpbf16ps(c, a, b)
#include "tile_sums.inc"
#endif
