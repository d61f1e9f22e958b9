// Fences, and queues that carry out command lists in order on a thread of their own.
//
// https://learn.microsoft.com/windows/win32/direct3d12/user-mode-heap-synchronization
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <thread>

#include "memory.h"

// A number that only signals change. When the device is removed it becomes UINT64_MAX, so that
// nobody waits for ever.
class Fence final : public DeviceChild<ID3D12Fence, ID3D12Fence, ID3D12Pageable> {
 public:
  Fence(ID3D12Device *device, uint64_t value);
  UINT64 STDMETHODCALLTYPE GetCompletedValue() override { return state_->value(); }
  // Without an event it returns when the value is reached. With one it returns at once; on Linux
  // the event is an eventfd.
  HRESULT STDMETHODCALLTYPE SetEventOnCompletion(UINT64 value, HANDLE event) override;
  HRESULT STDMETHODCALLTYPE Signal(UINT64 value) override;

  // What a queue keeps of a fence.
  class State {
   public:
    explicit State(uint64_t value) : value_(value) {}
    uint64_t value();
    void signal(uint64_t value);
    void wait(uint64_t value);
    void notify(uint64_t value, int event);

   private:
    std::mutex mutex_;
    std::condition_variable changed_;
    uint64_t value_;
    std::vector<std::pair<uint64_t, int>> events_;
  };
  const std::shared_ptr<State> &state() const { return state_; }

 private:
  std::shared_ptr<State> state_;
};

class CommandQueue final
    : public DeviceChild<QueueOfCommandsOnly, ID3D12CommandQueue, ID3D12Pageable> {
 public:
  CommandQueue(ID3D12Device *device, const D3D12_COMMAND_QUEUE_DESC &description);
  ~CommandQueue() override;

  void STDMETHODCALLTYPE ExecuteCommandLists(UINT count,
                                             ID3D12CommandList *const *lists) override;
  HRESULT STDMETHODCALLTYPE Signal(ID3D12Fence *fence, UINT64 value) override;
  HRESULT STDMETHODCALLTYPE Wait(ID3D12Fence *fence, UINT64 value) override;
  void STDMETHODCALLTYPE UpdateTileMappings(
      ID3D12Resource *resource, UINT regions, const D3D12_TILED_RESOURCE_COORDINATE *starts,
      const D3D12_TILE_REGION_SIZE *sizes, ID3D12Heap *heap, UINT ranges,
      const D3D12_TILE_RANGE_FLAGS *flags, const UINT *heap_starts, const UINT *counts,
      D3D12_TILE_MAPPING_FLAGS) override;
  D3D12_COMMAND_QUEUE_DESC STDMETHODCALLTYPE GetDesc() override { return description_; }
  HRESULT STDMETHODCALLTYPE GetTimestampFrequency(UINT64 *frequency) override {
    *frequency = 1000000000;
    return S_OK;
  }
  void STDMETHODCALLTYPE SetMarker(UINT, const void *, UINT) override {}
  void STDMETHODCALLTYPE BeginEvent(UINT, const void *, UINT) override {}
  void STDMETHODCALLTYPE EndEvent() override {}

 private:
  void add(std::function<void()> work);
  void loop();
  D3D12_COMMAND_QUEUE_DESC description_;
  std::mutex mutex_;
  std::condition_variable added_;
  std::deque<std::function<void()>> work_;
  bool ending_ = false;
  std::thread thread_;
};
