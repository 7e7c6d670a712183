#pragma once

#include <stdbool.h>
#include <stdint.h>

/// Products of bf16 matrices, and of what stands for fp32 matrices, summed in fp32: C[m,n] = alpha·A[m,k]·B[k,n] + …, on operands
/// packed into tiles of 1 KiB.
///
/// An A tile is 16 rows of 32 consecutive depths (64 bytes a row). A B tile is 16 rows p of 16 columns j of the pair
/// (B[2p][j], B[2p+1][j]), the layout that AMX calls VNNI. A panel is 32 rows of A, or 32 columns of B, over the whole
/// depth: for every step of 32 depths two tiles, of rows (columns) 0-15 and 16-31. `high` operands hold four a step: the
/// two of the rounded values, then the two of what rounding left; or, for fp32 multiply-adds, the fp32 numbers as they are, 32 depths
/// of 32 rows (columns). What lies past the edges of the matrix is zero.
enum {
    LOCKSTEP_TILE_BYTES = 1024,
    /// Rows of A, or columns of B, of a panel.
    LOCKSTEP_PANEL_EXTENT = 32,
    /// Depths of a step.
    LOCKSTEP_STEP_DEPTH = 32,
    /// Steps of a block whose bf16 numbers are multiplied in fp32, at most: the depths that are packed at once.
    LOCKSTEP_MOST_WIDENED_STEPS = 32,
};

/// Ways to multiply tiles, each a superset of the ones before it.
enum {
    /// Plain C that does what a tile instruction does; runs on every CPU.
    LOCKSTEP_TILES_EMULATED = 0,
    /// fp32 multiply-adds on 512-bit registers; needs AVX-512 F, BW, DQ and VL.
    LOCKSTEP_TILES_AVX512FMA = 1,
    /// `vdpbf16ps` on 512-bit registers.
    LOCKSTEP_TILES_AVX512BF16 = 2,
    /// `tdpbf16ps` on tile registers.
    LOCKSTEP_TILES_AMX = 3,
};

/// The last of them that CPU and operating system offer.
int lockstep_tiles_of_cpu(void);

/// Whether a CPU with AVX-512 BF16 takes longer for `vdpbf16ps` than for the two fp32 multiply-adds that do the same: Intel's with
/// tile registers, also where a hypervisor hides these.
bool lockstep_bf16_dot_products_are_slow(void);

/// Asks the system to let this process use tile registers: 0, or an errno. Only where the CPU has AMX.
int lockstep_request_tile_registers(void);

enum {
    LOCKSTEP_SIDE_A = 0,
    LOCKSTEP_SIDE_B = 1,
};

/// A matrix to pack: `extent` rows of A (columns of B) by `depth`, in rows of `stride` elements.
typedef struct {
    /// fp32 or, where `is_bf16`, bf16 numbers.
    const void *base;
    bool is_bf16;
    long stride;
    long extent;
    long depth;
    /// An element's neighbour in depth is its neighbour in memory (A as is, B transposed).
    bool depth_is_contiguous;
} lockstep_tile_source;

/// Rounds a matrix to bf16, to nearest even, and packs it into panels. Infinities and NaN stay what they are; subnormal
/// numbers become zero, as they would in the product. `high` keeps what rounding left, rounded, too, which is zero beside
/// what is not finite; or does not round, where fp32 numbers are multiplied. It is for fp32 alone: of bf16 numbers nothing is left.
void lockstep_tile_pack(int isa, int side, bool high, lockstep_tile_source source, void *panels);

/// Rows of memory, by the lines that they touch.
typedef struct {
    /// The first line that is left, of so many in its row.
    const char *line;
    long lines_left;
    /// Lines of a row, and bytes from behind its last to the first of the next.
    long row_lines, gap;
    /// Rows left, with this one.
    long rows_left;
} lockstep_lines;

/// Memory that is read behind a product, which asks for it line by line: while it sums, memory has little else to do.
typedef struct {
    /// The one, then the other.
    lockstep_lines first, second;
    /// How many at every step of 8 rows of a block, after so many steps at which none are asked for.
    long lines_a_step, steps_before;
} lockstep_fetch;

/// A block of C.
typedef struct {
    /// Panels of A and B, from the first of the depths to multiply. A may be rows of a matrix as it is, in the format of its panels.
    const void *a, *b;
    /// Bytes from a panel to the next.
    long a_panel, b_panel;
    /// Whether to fetch the next panel of B while the first of A is multiplied by one: where no cache has it.
    bool fetches_b;
    /// What else to ask for, or null; each block goes on from where the last ended.
    lockstep_fetch *fetch;
    /// Bytes from a row of A to the next, of which the second tile begins 16 behind the first (64 in tiles, 4 where a panel has
    /// fp32 numbers), and from a step to the next.
    long a_stride, a_step;
    /// Steps of 32 depths: of bf16 numbers that are multiplied in fp32 at most `LOCKSTEP_MOST_WIDENED_STEPS`.
    long steps;
    float *c;
    /// Where C is kept in bf16 instead, rounded to nearest even once; not added to. Null where it is fp32.
    uint16_t *rounded;
    /// Elements between two rows of C.
    long stride;
    int rows, columns;
    float alpha;
    /// Add to C; otherwise its old content does not matter.
    bool accumulate;
    /// `columns` values to add to every row, or null.
    const float *bias;
} lockstep_tile_block;

/// Before a thread multiplies: sets its tile registers up, where there are any.
void lockstep_tiles_begin(int isa);
/// After it: gives them up, which makes switches between threads cheaper.
void lockstep_tiles_end(int isa);

/// C = alpha·A·B + bias (+ C). `high`: three products, of the rounded values and of each with what rounding left of the
/// other, or one of fp32 numbers. Sums are in fp32; the instructions take subnormal numbers for zero.
void lockstep_tile_multiply(int isa, bool high, const lockstep_tile_block *block);

#if defined(__x86_64__)
/// What one core can do at most: this many times 16 independent fused multiply-adds of 16 fp32 lanes (512 flops),
/// from registers. Needs AVX-512.
void lockstep_ceiling_fp32_avx512(long repetitions);
/// The same with 12 of 8 lanes (192 flops). Needs AVX2 and FMA.
void lockstep_ceiling_fp32_avx2(long repetitions);
/// The sum of `count` numbers, read in one stream or side by side in four. Needs AVX2.
float lockstep_ceiling_read(const float *x, long count, int streams);
/// 16 independent `vdpbf16ps` (1,024 flops). Needs `LOCKSTEP_TILES_AVX512BF16`.
void lockstep_ceiling_avx512bf16(long repetitions);
/// Four independent `tdpbf16ps` (65,536 flops). Needs `LOCKSTEP_TILES_AMX` and `lockstep_tiles_begin`.
void lockstep_ceiling_amx(long repetitions);
#endif
