#pragma once

/// The x86-64 level (1-4) that the vector kernels of this build need; 0 on other architectures.
int lockstep_built_isa_level(void);

/// The x86-64 level (1-4) that this CPU and operating system offer; 0 on other architectures.
int lockstep_cpu_isa_level(void);
