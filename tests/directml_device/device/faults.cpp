#include "faults.h"

#include <cstdlib>
#include <mutex>
#include <vector>

#include "diagnostics.h"
#include "exports.h"

static uint64_t number_from_environment(const char *name, uint64_t otherwise) {
  const char *text = getenv(name);
  return text && *text ? strtoull(text, nullptr, 10) : otherwise;
}

namespace {

struct Faults {
  std::mutex mutex;
  std::atomic<uint64_t> memory_in_use{0};
  std::atomic<uint64_t> memory_limit{
      number_from_environment("DIRECTML_DEVICE_MEMORY_LIMIT", UINT64_MAX)};
  std::atomic<uint64_t> dispatches_left{
      number_from_environment("DIRECTML_DEVICE_REMOVE_AFTER", UINT64_MAX)};
  std::atomic<bool> removed{false};
  std::vector<std::function<void()>> when_removed;
  uint64_t wrong_kernel = number_from_environment("DIRECTML_DEVICE_WRONG_KERNEL", 0);
  std::string wrong_instruction = [] {
    const char *text = getenv("DIRECTML_DEVICE_WRONG_INSTRUCTION");
    return std::string(text ? text : "");
  }();
};

// Never destroyed: worker threads may ask until the process ends.
Faults &faults() {
  static Faults *all = new Faults;
  return *all;
}

}  // namespace

bool book_memory(uint64_t bytes) {
  Faults &all = faults();
  if ((all.memory_in_use += bytes) <= all.memory_limit) return true;
  all.memory_in_use -= bytes;
  trace("out of memory: %llu bytes asked for", static_cast<unsigned long long>(bytes));
  return false;
}

void return_memory(uint64_t bytes) { faults().memory_in_use -= bytes; }

bool device_removed() { return faults().removed; }

void remove_device() {
  Faults &all = faults();
  std::vector<std::function<void()>> callbacks;
  {
    std::lock_guard<std::mutex> lock(all.mutex);
    if (all.removed.exchange(true)) return;
    callbacks.swap(all.when_removed);
  }
  trace("device removed");
  for (auto &callback : callbacks) callback();
}

bool begin_dispatch() {
  Faults &all = faults();
  if (!all.removed && all.dispatches_left != UINT64_MAX && all.dispatches_left-- == 0)
    remove_device();
  return !all.removed;
}

void when_removed(std::function<void()> callback) {
  Faults &all = faults();
  {
    std::lock_guard<std::mutex> lock(all.mutex);
    if (!all.removed) {
      all.when_removed.push_back(std::move(callback));
      return;
    }
  }
  callback();
}

// Bit 16 of a float is worth between 0.4 and 0.8 percent of it; an integer becomes absurd.
static const uint32_t kWrongBits = 1u << 16;

uint32_t flipped_bits(uint64_t number, const std::string &instructions) {
  Faults &all = faults();
  std::lock_guard<std::mutex> lock(all.mutex);
  const bool by_instruction = !all.wrong_instruction.empty() &&
                              instructions.find(all.wrong_instruction) != std::string::npos;
  return by_instruction || (all.wrong_kernel && number == all.wrong_kernel) ? kWrongBits : 0;
}

EXPORT void directml_device_set_memory_limit(uint64_t bytes) { faults().memory_limit = bytes; }
EXPORT uint64_t directml_device_memory_in_use() { return faults().memory_in_use; }
EXPORT void directml_device_remove_after(uint64_t dispatches) {
  faults().dispatches_left = dispatches;
}
EXPORT void directml_device_set_wrong_kernel(uint64_t number) {
  std::lock_guard<std::mutex> lock(faults().mutex);
  faults().wrong_kernel = number;
}
EXPORT void directml_device_set_wrong_instruction(const char *name) {
  std::lock_guard<std::mutex> lock(faults().mutex);
  faults().wrong_instruction = name ? name : "";
}
