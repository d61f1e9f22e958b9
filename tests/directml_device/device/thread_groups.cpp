#include "thread_groups.h"

#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

namespace {

// Memory for coroutine frames, for each worker; the system gives pages only when they are used.
const uint64_t kFrameBytes = 64ull << 20;

uint8_t *frame_memory() {
  thread_local uint8_t *memory = static_cast<uint8_t *>(
      mmap(nullptr, kFrameBytes, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  return memory;
}

// One dispatch: workers take runs of groups until none is left.
struct Work {
  const Shader *shader;
  const Group *group;
  uint32_t grid[3];
  uint64_t total, at_once;
  std::atomic<uint64_t> next{0};

  void help() {
    Group own = *group;
    own.frames = frame_memory();
    own.frames_size = kFrameBytes;
    for (uint64_t begin; (begin = next.fetch_add(at_once)) < total;)
      for (uint64_t i = begin; i < std::min(begin + at_once, total); i++) {
        own.id[0] = static_cast<uint32_t>(i % grid[0]);
        own.id[1] = static_cast<uint32_t>(i / grid[0] % grid[1]);
        own.id[2] = static_cast<uint32_t>(i / grid[0] / grid[1]);
        shader->run_group(&own);
      }
  }
};

// Threads that wait for work. Never destroyed, as they run until the process ends.
class Pool {
 public:
  explicit Pool(unsigned cores) {
    for (unsigned i = 1; i < cores; i++) std::thread(&Pool::loop, this).detach();
    helpers_ = cores - 1;
  }
  unsigned cores() const { return helpers_ + 1; }
  // The calling thread works too.
  void run(Work *work) {
    std::lock_guard<std::mutex> one_at_a_time(callers_);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      work_ = work;
      busy_ = helpers_;
      round_++;
    }
    begin_.notify_all();
    work->help();
    std::unique_lock<std::mutex> lock(mutex_);
    end_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void loop() {
    uint64_t seen = 0;
    for (;;) {
      std::unique_lock<std::mutex> lock(mutex_);
      begin_.wait(lock, [&] { return round_ != seen; });
      seen = round_;
      Work *work = work_;
      lock.unlock();
      work->help();
      lock.lock();
      if (--busy_ == 0) end_.notify_one();
    }
  }
  std::mutex callers_, mutex_;
  std::condition_variable begin_, end_;
  Work *work_ = nullptr;
  uint64_t round_ = 0;
  unsigned helpers_, busy_ = 0;
};

unsigned available_cores() {
  const char *chosen = getenv("DIRECTML_DEVICE_THREADS");
  if (chosen && atoi(chosen) > 0) return static_cast<unsigned>(atoi(chosen));
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace

void run_thread_groups(const Shader &shader, const Group &group, const uint32_t grid[3]) {
  Work work;
  work.shader = &shader;
  work.group = &group;
  std::copy(grid, grid + 3, work.grid);
  work.total = static_cast<uint64_t>(grid[0]) * grid[1] * grid[2];
  static Pool *pool = new Pool(available_cores());
  // Few enough groups at a time that all cores end at about the same time.
  work.at_once = std::max<uint64_t>(1, std::min<uint64_t>(64, work.total / pool->cores() / 8));
  if (work.total == 1 || pool->cores() == 1) work.help();
  else pool->run(&work);
}
