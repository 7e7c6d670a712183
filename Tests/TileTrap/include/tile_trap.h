#pragma once

#include <stdint.h>

/// Lets this process run AMX instructions that its CPU does not have: the illegal-instruction signal decodes each, does what
/// Intel describes (64 and IA-32 Architectures Software Developer's Manual, volume 2) and goes on behind it. An
/// instruction that is none of them ends the process, as it would have. Returns 0, or an errno.
int tile_trap_install(void);

/// Multiplications of tiles (`tdpbf16ps`) that this thread has run so.
long tile_trap_products(void);

// Of CTiles, which declares them for itself: the sums of `steps` steps of packed panels, 32 × 32 of fp32 at a multiple of 64
// bytes; with AMX instructions, and with plain C.
void amx_sum(const void *block, void *sums);
void amx_sum_split(const void *block, void *sums);
void emulated_sum(const void *block, void *sums);
void emulated_sum_split(const void *block, void *sums);
