// The data that the device hands to a compiled shader. Both sides include this file: the device
// (compiled by g++) and the shader runtime (compiled by clang to LLVM bitcode).
#pragma once

#include <stdint.h>

// One view of memory, as a descriptor heap holds it. Reads beyond `bytes` give 0 and writes are
// dropped, as Direct3D demands of views in descriptor heaps.
struct Descriptor {
  uint8_t *base;
  uint64_t bytes;
  uint32_t format;  // DXGI_FORMAT of a typed buffer, 0 for structured and raw buffers
  uint32_t stride;  // bytes per index: of a structure; 1 for raw buffers
};

enum { kMaxUavs = 32, kMaxSrvs = 16, kMaxCbvs = 8, kMaxGroupThreads = 1024 };

// What all threads of one thread group share. A descriptor is found at its register's number.
struct Group {
  void (*unsupported)(const char *instruction, uint32_t opcode);
  uint8_t *frames;       // memory for the coroutine frames of threads that wait at barriers
  uint64_t frames_size;
  uint64_t frames_used;
  uint32_t id[3];
  uint32_t size[3];
  uint32_t flipped_bits;  // 0; a simulated fault flips these bits of every word stored
  Descriptor uavs[kMaxUavs];
  Descriptor srvs[kMaxSrvs];
  Descriptor cbvs[kMaxCbvs];
};

// What one thread of the group knows: every DXIL intrinsic gets this as its first argument.
struct Thread {
  Group *group;
  uint32_t id[3];
  uint32_t index;  // SV_GroupIndex: flattened id
};
