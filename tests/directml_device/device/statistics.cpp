#include "statistics.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

#include "diagnostics.h"
#include "exports.h"

static const char *const kNames[] = {
    "dispatches",
    "host_to_device_copies", "host_to_device_bytes",
    "device_to_host_copies", "device_to_host_bytes",
    "device_to_device_copies", "device_to_device_bytes",
    "host_to_host_copies", "host_to_host_bytes",
    "clears", "command_lists", "tile_mappings", "pipelines", "kernels", "compilations",
};
static const unsigned kCount = sizeof kNames / sizeof *kNames;
static_assert(sizeof(Statistics) == kCount * sizeof(uint64_t), "one name for each number");

static std::atomic<uint64_t> &number(unsigned i) {
  return reinterpret_cast<std::atomic<uint64_t> *>(&statistics())[i];
}

// The file named by DIRECTML_DEVICE_STATISTICS gets one line of JSON when the process ends.
static void write_file() {
  const char *path = getenv("DIRECTML_DEVICE_STATISTICS");
  FILE *file = path ? fopen(path, "w") : nullptr;
  if (!file) return;
  for (unsigned i = 0; i < kCount; i++)
    fprintf(file, "%s\"%s\": %llu", i ? ", " : "{", kNames[i],
            static_cast<unsigned long long>(number(i).load()));
  fprintf(file, "}\n");
  fclose(file);
}

Statistics &statistics() {
  static Statistics *all = [] {
    atexit(write_file);
    return new Statistics;
  }();
  return *all;
}

namespace {

struct KernelCounts {
  std::mutex mutex;
  std::map<std::string, uint64_t> dispatches;
};

KernelCounts &kernel_counts() {
  static KernelCounts *all = new KernelCounts;
  return *all;
}

}  // namespace

void count_dispatch(const std::string &kernel) {
  statistics().dispatches++;
  std::lock_guard<std::mutex> lock(kernel_counts().mutex);
  kernel_counts().dispatches[kernel]++;
}

void count_copy(bool from_host, bool to_host, uint64_t bytes) {
  Statistics &all = statistics();
  if (from_host && to_host) {
    all.host_to_host_copies++, all.host_to_host_bytes += bytes;
  } else if (from_host) {
    all.host_to_device_copies++, all.host_to_device_bytes += bytes;
  } else if (to_host) {
    all.device_to_host_copies++, all.device_to_host_bytes += bytes;
  } else {
    all.device_to_device_copies++, all.device_to_device_bytes += bytes;
  }
}

EXPORT unsigned directml_device_counts(uint64_t *numbers, const char **names, unsigned room) {
  for (unsigned i = 0; i < kCount && i < room; i++) {
    numbers[i] = number(i);
    names[i] = kNames[i];
  }
  return kCount;
}

EXPORT void directml_device_reset_counts() {
  for (unsigned i = 0; i < kCount; i++) number(i) = 0;
  std::lock_guard<std::mutex> lock(kernel_counts().mutex);
  kernel_counts().dispatches.clear();
}

// Writes a line "name dispatches" for each kernel that was dispatched, as far as there is room;
// returns the bytes that all lines and the final 0 take.
EXPORT size_t directml_device_kernel_counts(char *text, size_t room) {
  std::string lines;
  std::lock_guard<std::mutex> lock(kernel_counts().mutex);
  for (const auto &kernel : kernel_counts().dispatches)
    lines += kernel.first + " " + std::to_string(kernel.second) + "\n";
  if (room > 0) text[lines.copy(text, room - 1)] = '\0';
  return lines.size() + 1;
}
