#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include "faults.h"

static const int kReadWrite = PROT_READ | PROT_WRITE;

std::shared_ptr<Memory> Memory::allocate(uint64_t bytes) {
  bytes = whole_pages(bytes);
  if (!book_memory(bytes)) return nullptr;
  const int file = memfd_create("directml_device", MFD_CLOEXEC);
  void *base = MAP_FAILED;
  if (file >= 0 && ftruncate(file, static_cast<off_t>(bytes)) == 0)
    base = mmap(nullptr, bytes, kReadWrite, MAP_SHARED | MAP_NORESERVE, file, 0);
  if (base == MAP_FAILED) {
    if (file >= 0) close(file);
    return_memory(bytes);
    return nullptr;
  }
  return std::shared_ptr<Memory>(new Memory(file, static_cast<uint8_t *>(base), bytes));
}

Memory::~Memory() {
  munmap(base_, bytes_);
  close(file_);
  return_memory(bytes_);
}

std::shared_ptr<TiledRange> TiledRange::reserve(uint64_t bytes) {
  bytes = whole_pages(bytes);
  void *base = mmap(nullptr, bytes, kReadWrite, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  return std::shared_ptr<TiledRange>(new TiledRange(static_cast<uint8_t *>(base), bytes));
}

TiledRange::~TiledRange() { munmap(base_, bytes_); }

bool TiledRange::map(uint64_t tile, uint64_t count, const std::shared_ptr<Memory> &memory,
                     uint64_t memory_tile) {
  if ((tile + count) * kPageBytes > bytes_) return false;
  uint8_t *address = base_ + tile * kPageBytes;
  const uint64_t bytes = count * kPageBytes;
  if (!memory)
    return mmap(address, bytes, kReadWrite,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
  if ((memory_tile + count) * kPageBytes > memory->bytes()) return false;
  return mmap(address, bytes, kReadWrite, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, memory->file(),
              static_cast<off_t>(memory_tile * kPageBytes)) != MAP_FAILED;
}

HRESULT Buffer::Map(UINT subresource, const D3D12_RANGE *, void **data) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  if (subresource != 0 || !host_visible()) return E_INVALIDARG;
  if (data) *data = base_;
  return S_OK;
}

HRESULT Buffer::GetHeapProperties(D3D12_HEAP_PROPERTIES *properties, D3D12_HEAP_FLAGS *flags) {
  if (tiles_) return E_INVALIDARG;
  if (properties) *properties = properties_;
  if (flags) *flags = flags_;
  return S_OK;
}

bool Buffer::host_visible() const {
  switch (properties_.Type) {
    case D3D12_HEAP_TYPE_UPLOAD: case D3D12_HEAP_TYPE_READBACK: return true;
    case D3D12_HEAP_TYPE_CUSTOM:
      return properties_.CPUPageProperty == D3D12_CPU_PAGE_PROPERTY_WRITE_COMBINE ||
             properties_.CPUPageProperty == D3D12_CPU_PAGE_PROPERTY_WRITE_BACK;
    default: return false;  // also a reserved buffer, whose properties are not set
  }
}
