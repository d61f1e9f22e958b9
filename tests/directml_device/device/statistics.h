// What the device has done: counted since the start or since the last reset.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

// The order of the fields is the order of the numbers that directml_device_counts() hands out.
struct Statistics {
  std::atomic<uint64_t> dispatches{0};
  std::atomic<uint64_t> host_to_device_copies{0};
  std::atomic<uint64_t> host_to_device_bytes{0};
  std::atomic<uint64_t> device_to_host_copies{0};
  std::atomic<uint64_t> device_to_host_bytes{0};
  std::atomic<uint64_t> device_to_device_copies{0};
  std::atomic<uint64_t> device_to_device_bytes{0};
  std::atomic<uint64_t> host_to_host_copies{0};
  std::atomic<uint64_t> host_to_host_bytes{0};
  std::atomic<uint64_t> clears{0};
  std::atomic<uint64_t> command_lists{0};
  std::atomic<uint64_t> tile_mappings{0};
  std::atomic<uint64_t> pipelines{0};      // CreateComputePipelineState
  std::atomic<uint64_t> kernels{0};        // distinct shaders among them
  std::atomic<uint64_t> compilations{0};   // shaders that were not in the cache
};

Statistics &statistics();

// Counts one dispatch of the shader with this name.
void count_dispatch(const std::string &kernel);

// Counts one copy between memory that the host maps (or not) and memory that it maps (or not).
void count_copy(bool from_host, bool to_host, uint64_t bytes);
