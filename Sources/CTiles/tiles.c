#include "tile_kernels.h"

// Takes the way that the caller names. Compiled for the baseline instruction set, as is all that does not name another.

static void portable_store(const block_sums *sums, const lockstep_tile_block *block) {
    for (int row = 0; row < block->rows; row++) {
        const long first = row * block->stride;
        for (int column = 0; column < block->columns; column++) {
            const float bias = block->bias ? block->bias[column] : 0;
            const float base = block->accumulate ? block->c[first + column] + bias : bias;
            const float value = block->alpha * sums->rows[row][column] + base;
            if (block->rounded) block->rounded[first + column] = portable_bf16(value);
            else block->c[first + column] = value;
        }
    }
}

void lockstep_tiles_begin(int isa) {
#if defined(__x86_64__)
    if (isa == LOCKSTEP_TILES_AMX) amx_configure();
#endif
}

void lockstep_tiles_end(int isa) {
#if defined(__x86_64__)
    if (isa == LOCKSTEP_TILES_AMX) amx_release();
#endif
}

// One panel of each operand.
static void multiply_panels(int isa, bool high, const lockstep_tile_block *block) {
    block_sums sums;
#if defined(__x86_64__)
    if (isa == LOCKSTEP_TILES_AVX512BF16) {
        (high ? avx512_multiply_split : avx512_multiply)(block);
        return;
    }
    if (isa == LOCKSTEP_TILES_AMX) {
        avx512_prefetch(block);
        (high ? amx_sum_split : amx_sum)(block, &sums);
        avx512_store(&sums, block);
        return;
    }
#endif
    (high ? emulated_sum_split : emulated_sum)(block, &sums);
    portable_store(&sums, block);
}

void lockstep_tile_multiply(int isa, bool high, const lockstep_tile_block *block) {
#if defined(__x86_64__)
    if (isa == LOCKSTEP_TILES_AVX512FMA) {
        (high ? fma_multiply_fp32 : fma_multiply)(block);
        return;
    }
#endif
    for (int row = 0; row < block->rows; row += LOCKSTEP_PANEL_EXTENT) {
        const lockstep_tile_block rows = rows_of(block, row);
        for (int column = 0; column < block->columns; column += LOCKSTEP_PANEL_EXTENT) {
            const lockstep_tile_block panels = columns_of(&rows, column);
            multiply_panels(isa, high, &panels);
        }
    }
}
