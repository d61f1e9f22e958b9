// Heaps, and the buffers in them: committed, placed or reserved (tiled).
//
// https://learn.microsoft.com/windows/win32/direct3d12/memory-management
#pragma once

#include <memory>

#include "object.h"
#include "unsupported_methods.h"

const uint64_t kPageBytes = D3D12_DEFAULT_RESOURCE_PLACEMENT_ALIGNMENT;  // 65536, also a tile's

inline uint64_t whole_pages(uint64_t bytes) { return (bytes + kPageBytes - 1) & ~(kPageBytes - 1); }

// Physical memory: an anonymous file, so that a reserved resource can map parts of it elsewhere.
class Memory {
 public:
  // Null if the memory limit is reached or the system has no more.
  static std::shared_ptr<Memory> allocate(uint64_t bytes);
  ~Memory();
  uint8_t *base() const { return base_; }
  uint64_t bytes() const { return bytes_; }
  int file() const { return file_; }

 private:
  Memory(int file, uint8_t *base, uint64_t bytes) : file_(file), base_(base), bytes_(bytes) {}
  int file_;
  uint8_t *base_;
  uint64_t bytes_;
};

class Heap final : public DeviceChild<ID3D12Heap, ID3D12Heap, ID3D12Pageable> {
 public:
  Heap(ID3D12Device *device, const D3D12_HEAP_DESC &description, std::shared_ptr<Memory> memory)
      : DeviceChild(device), description_(description), memory_(std::move(memory)) {}
  D3D12_HEAP_DESC STDMETHODCALLTYPE GetDesc() override { return description_; }
  const std::shared_ptr<Memory> &memory() const { return memory_; }

 private:
  D3D12_HEAP_DESC description_;
  std::shared_ptr<Memory> memory_;
};

// Addresses without memory of their own, into which tiles of heaps are mapped. A tile that is not
// mapped reads as zeros; what is written there is lost at the next mapping.
class TiledRange {
 public:
  static std::shared_ptr<TiledRange> reserve(uint64_t bytes);
  ~TiledRange();
  uint8_t *base() const { return base_; }
  // Maps `count` tiles at `tile` to those of `memory` at `memory_tile`; null memory unmaps.
  bool map(uint64_t tile, uint64_t count, const std::shared_ptr<Memory> &memory,
           uint64_t memory_tile);

 private:
  TiledRange(uint8_t *base, uint64_t bytes) : base_(base), bytes_(bytes) {}
  uint8_t *base_;
  uint64_t bytes_;
};

// A buffer. Its addresses stay valid as long as someone holds storage().
class Buffer final : public DeviceChild<BufferOnly, ID3D12Resource, ID3D12Pageable> {
 public:
  Buffer(ID3D12Device *device, const D3D12_RESOURCE_DESC &description,
         const D3D12_HEAP_PROPERTIES &properties, D3D12_HEAP_FLAGS flags,
         std::shared_ptr<void> storage, uint8_t *base)
      : DeviceChild(device), description_(description), properties_(properties), flags_(flags),
        storage_(std::move(storage)), base_(base) {}
  Buffer(ID3D12Device *device, const D3D12_RESOURCE_DESC &description,
         std::shared_ptr<TiledRange> tiles)
      : DeviceChild(device), description_(description), storage_(tiles), base_(tiles->base()),
        tiles_(tiles) {}

  HRESULT STDMETHODCALLTYPE Map(UINT subresource, const D3D12_RANGE *, void **data) override;
  void STDMETHODCALLTYPE Unmap(UINT, const D3D12_RANGE *) override {}
  D3D12_RESOURCE_DESC STDMETHODCALLTYPE GetDesc() override { return description_; }
  D3D12_GPU_VIRTUAL_ADDRESS STDMETHODCALLTYPE GetGPUVirtualAddress() override {
    return reinterpret_cast<D3D12_GPU_VIRTUAL_ADDRESS>(base_);
  }
  HRESULT STDMETHODCALLTYPE GetHeapProperties(D3D12_HEAP_PROPERTIES *properties,
                                              D3D12_HEAP_FLAGS *flags) override;

  uint8_t *base() const { return base_; }
  uint64_t bytes() const { return description_.Width; }
  const std::shared_ptr<void> &storage() const { return storage_; }
  const std::shared_ptr<TiledRange> &tiles() const { return tiles_; }
  // Whether the host can map it: upload and readback heaps, and custom ones with access.
  bool host_visible() const;

 private:
  D3D12_RESOURCE_DESC description_;
  D3D12_HEAP_PROPERTIES properties_ = {};
  D3D12_HEAP_FLAGS flags_ = D3D12_HEAP_FLAG_NONE;
  std::shared_ptr<void> storage_;
  uint8_t *base_;
  std::shared_ptr<TiledRange> tiles_;
};
