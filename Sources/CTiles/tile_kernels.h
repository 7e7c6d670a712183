#pragma once

#include "tiles.h"

#include <stdint.h>

#define AVX512_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#define AVX512BF16_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#define AMX_TARGET __attribute__((target("amx-tile,amx-bf16")))

/// Row-major sums of a block of C; AMX stores tiles into it.
typedef struct {
    _Alignas(64) float rows[LOCKSTEP_PANEL_EXTENT][LOCKSTEP_PANEL_EXTENT];
} block_sums;

enum { TILE_ROWS = 16, PAIRS = 16, SUMS_STRIDE_BYTES = LOCKSTEP_PANEL_EXTENT * 4 };

/// To nearest even; subnormal numbers become zero, as in `vcvtneps2bf16`.
uint16_t portable_bf16(float value);

/// Asks for the lines of `steps` steps of 8 rows, into L2.
static inline void fetch_lines(lockstep_fetch *fetch, long steps) {
    if (fetch->steps_before > 0) {
        fetch->steps_before -= steps;
        return;
    }
    for (long left = steps * fetch->lines_a_step; left > 0 && fetch->first.rows_left > 0; left--) {
        lockstep_lines *lines = &fetch->first;
        __builtin_prefetch(lines->line, 0, 2);
        lines->line += 64;
        if (--lines->lines_left > 0) continue;
        lines->line += lines->gap;
        lines->lines_left = lines->row_lines;
        if (--lines->rows_left > 0) continue;
        *lines = fetch->second;
        fetch->second.rows_left = 0;
    }
}

/// The rows of a block that one panel of A has, from row `row` on, and all columns.
static inline lockstep_tile_block rows_of(const lockstep_tile_block *block, int row) {
    lockstep_tile_block part = *block;
    const int left = block->rows - row;
    part.a = (const uint8_t *)block->a + row / LOCKSTEP_PANEL_EXTENT * block->a_panel;
    part.rows = left < LOCKSTEP_PANEL_EXTENT ? left : LOCKSTEP_PANEL_EXTENT;
    part.fetches_b = block->fetches_b && row == 0;
    if (part.c) part.c += row * block->stride;
    if (part.rounded) part.rounded += row * block->stride;
    return part;
}

/// The columns of a block that one panel of B has, from column `column` on, and all rows.
static inline lockstep_tile_block columns_of(const lockstep_tile_block *block, int column) {
    lockstep_tile_block part = *block;
    const int left = block->columns - column;
    part.b = (const uint8_t *)block->b + column / LOCKSTEP_PANEL_EXTENT * block->b_panel;
    part.columns = left < LOCKSTEP_PANEL_EXTENT ? left : LOCKSTEP_PANEL_EXTENT;
    part.fetches_b = block->fetches_b && left > LOCKSTEP_PANEL_EXTENT;
    if (part.c) part.c += column;
    if (part.rounded) part.rounded += column;
    if (part.bias) part.bias += column;
    return part;
}

// Of blocks of one panel of each operand: sums of their steps. Split operands are packed.

void emulated_sum(const lockstep_tile_block *block, block_sums *sums);
void emulated_sum_split(const lockstep_tile_block *block, block_sums *sums);

#if defined(__x86_64__)
void amx_sum(const lockstep_tile_block *block, block_sums *sums);
void amx_sum_split(const lockstep_tile_block *block, block_sums *sums);

/// The whole product of such a block, whose sums never leave the registers.
void avx512_multiply(const lockstep_tile_block *block);
void avx512_multiply_split(const lockstep_tile_block *block);

/// The whole product of a block of any number of panels, by fp32 multiply-adds.
void fma_multiply(const lockstep_tile_block *block);
/// The same of panels that hold fp32 numbers.
void fma_multiply_fp32(const lockstep_tile_block *block);
void fma_pack(int side, bool high, lockstep_tile_source source, uint8_t *panels);

/// Fetches a block of C, so that it is there when its sums are.
void avx512_prefetch(const lockstep_tile_block *block);
/// C = alpha·sums + bias (+ C).
void avx512_store(const block_sums *sums, const lockstep_tile_block *block);
void avx512_pack(int side, bool high, lockstep_tile_source source, uint8_t *panels);
void amx_configure(void);
void amx_release(void);
#endif
