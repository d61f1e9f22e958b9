#include "command_queue.h"

#include <unistd.h>

#include "command_list.h"
#include "faults.h"
#include "statistics.h"

Fence::Fence(ID3D12Device *device, uint64_t value)
    : DeviceChild(device), state_(std::make_shared<State>(value)) {
  when_removed([weak = std::weak_ptr<State>(state_)] {
    if (const auto state = weak.lock()) state->signal(UINT64_MAX);
  });
}

HRESULT Fence::SetEventOnCompletion(UINT64 value, HANDLE event) {
  if (event) state_->notify(value, static_cast<int>(reinterpret_cast<intptr_t>(event)));
  else state_->wait(value);
  return S_OK;
}

HRESULT Fence::Signal(UINT64 value) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  state_->signal(value);
  return S_OK;
}

uint64_t Fence::State::value() {
  std::lock_guard<std::mutex> lock(mutex_);
  return value_;
}

static void set_event(int event) {
  const uint64_t one = 1;
  if (write(event, &one, sizeof one) != sizeof one) trace("an event could not be set");
}

void Fence::State::signal(uint64_t value) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (value_ == UINT64_MAX) return;  // removed
  value_ = value;
  changed_.notify_all();
  for (size_t i = events_.size(); i-- > 0;) {
    if (events_[i].first > value) continue;
    set_event(events_[i].second);
    events_.erase(events_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void Fence::State::wait(uint64_t value) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return value_ >= value; });
}

void Fence::State::notify(uint64_t value, int event) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (value_ >= value) set_event(event);
  else events_.emplace_back(value, event);
}

CommandQueue::CommandQueue(ID3D12Device *device, const D3D12_COMMAND_QUEUE_DESC &description)
    : DeviceChild(device), description_(description), thread_(&CommandQueue::loop, this) {}

CommandQueue::~CommandQueue() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  added_.notify_one();
  thread_.join();
}

void CommandQueue::add(std::function<void()> work) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    work_.push_back(std::move(work));
  }
  added_.notify_one();
}

void CommandQueue::loop() {
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      added_.wait(lock, [this] { return ending_ || !work_.empty(); });
      if (work_.empty()) return;
      work = std::move(work_.front());
      work_.pop_front();
    }
    work();
  }
}

void CommandQueue::ExecuteCommandLists(UINT count, ID3D12CommandList *const *lists) {
  for (UINT i = 0; i < count; i++)
    add([commands = static_cast<CommandList *>(lists[i])->commands()] {
      if (device_removed()) return;
      statistics().command_lists++;
      for (const auto &command : *commands) command();
    });
}

HRESULT CommandQueue::Signal(ID3D12Fence *fence, UINT64 value) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  add([state = static_cast<Fence *>(fence)->state(), value] { state->signal(value); });
  return S_OK;
}

HRESULT CommandQueue::Wait(ID3D12Fence *fence, UINT64 value) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  add([state = static_cast<Fence *>(fence)->state(), value] { state->wait(value); });
  return S_OK;
}

namespace {

struct TileRange {
  uint64_t tile, count, memory_tile;
  bool mapped;
};

}  // namespace

// Regions of the resource and ranges of the heap are two lists of the same tiles, in order, cut in
// different places. https://learn.microsoft.com/windows/win32/api/d3d12/
//     nf-d3d12-id3d12commandqueue-updatetilemappings
void CommandQueue::UpdateTileMappings(ID3D12Resource *resource, UINT regions,
                                      const D3D12_TILED_RESOURCE_COORDINATE *starts,
                                      const D3D12_TILE_REGION_SIZE *sizes, ID3D12Heap *heap,
                                      UINT ranges, const D3D12_TILE_RANGE_FLAGS *flags,
                                      const UINT *heap_starts, const UINT *counts,
                                      D3D12_TILE_MAPPING_FLAGS) {
  const Buffer *buffer = static_cast<Buffer *>(resource);
  const std::shared_ptr<TiledRange> tiles = buffer->tiles();
  if (!tiles) abort_unsupported("UpdateTileMappings of a resource that is not reserved");
  const uint64_t all = whole_pages(buffer->bytes()) / kPageBytes;
  std::vector<TileRange> mappings;
  UINT range = 0;
  uint64_t used = 0;  // of the current range
  for (UINT i = 0; i < regions; i++) {
    // Without starts: the whole resource; without sizes: single tiles.
    uint64_t tile = starts ? starts[i].X : 0;
    uint64_t left = sizes ? sizes[i].NumTiles : starts ? 1 : all;
    while (left > 0 && range < ranges) {
      const auto kind = flags ? flags[range] : D3D12_TILE_RANGE_FLAG_NONE;
      // A single range without a count covers everything.
      const uint64_t range_tiles = counts ? counts[range] : left;
      const uint64_t count = std::min(left, range_tiles - used);
      const bool skip = kind == D3D12_TILE_RANGE_FLAG_SKIP;
      const bool one = kind == D3D12_TILE_RANGE_FLAG_REUSE_SINGLE_TILE;
      const uint64_t memory_tile = heap_starts ? heap_starts[range] : 0;
      const bool mapped = heap && kind != D3D12_TILE_RANGE_FLAG_NULL;
      if (one)
        for (uint64_t k = 0; k < count; k++) mappings.push_back({tile + k, 1, memory_tile, mapped});
      else if (!skip)
        mappings.push_back({tile, count, memory_tile + used, mapped});
      tile += count;
      left -= count;
      used += count;
      if (used == range_tiles) {
        range++;
        used = 0;
      }
    }
  }
  add([tiles, memory = heap ? static_cast<Heap *>(heap)->memory() : nullptr, mappings] {
    if (device_removed()) return;
    statistics().tile_mappings++;
    for (const TileRange &mapping : mappings)
      if (!tiles->map(mapping.tile, mapping.count, mapping.mapped ? memory : nullptr,
                      mapping.memory_tile))
        report_unsupported("a tile mapping outside of its resource or heap");
  });
}
