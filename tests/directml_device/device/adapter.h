// What libdxcore.so and libd3d12.so say alike about the one adapter.
#pragma once

#include <wsl/winadapter.h>

const LUID kAdapterLuid = {0x1234, 0};
const uint64_t kAdapterMemory = 8ull << 30;
