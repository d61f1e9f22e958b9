// Runs one shader on buffers through the Direct3D 12 interfaces alone, as an application would.
// libdirectml_device_test.so, for the device's own tests.
#include <cstring>
#include <vector>

#include "direct3d.h"
#include "exports.h"

extern "C" HRESULT D3D12CreateDevice(IUnknown *, D3D_FEATURE_LEVEL, REFIID, void **);
extern "C" HRESULT D3D12SerializeVersionedRootSignature(const D3D12_VERSIONED_ROOT_SIGNATURE_DESC *,
                                                        ID3DBlob **, ID3DBlob **);

// A buffer of the test: filled from `data` before the shader runs, copied back to it afterwards.
struct TestBuffer {
  uint8_t *data;
  uint64_t bytes;
  uint32_t format;  // DXGI_FORMAT of a typed view, 0 for others
  uint32_t stride;  // of a structured view, 0 for others
};

enum Placement { kCommitted, kPlaced, kReserved };

namespace {

// The error that ends a run.
struct Failure {
  HRESULT result;
};

void check(HRESULT result) {
  if (FAILED(result)) throw Failure{result};
}

// Owns one reference.
template <class Interface> class Owned {
 public:
  Owned() = default;
  Owned(const Owned &) = delete;
  Owned(Owned &&other) : pointer_(other.pointer_) { other.pointer_ = nullptr; }
  ~Owned() {
    if (pointer_) pointer_->Release();
  }
  Interface *operator->() const { return pointer_; }
  Interface *get() const { return pointer_; }
  REFIID iid() const { return __uuidof(Interface); }
  void **out() { return reinterpret_cast<void **>(&pointer_); }
  Interface **address() { return &pointer_; }

 private:
  Interface *pointer_ = nullptr;
};

D3D12_RESOURCE_DESC buffer_description(uint64_t bytes) {
  D3D12_RESOURCE_DESC description = {};
  description.Dimension = D3D12_RESOURCE_DIMENSION_BUFFER;
  description.Width = bytes;
  description.Height = description.DepthOrArraySize = description.MipLevels = 1;
  description.SampleDesc.Count = 1;
  description.Layout = D3D12_TEXTURE_LAYOUT_ROW_MAJOR;
  description.Flags = D3D12_RESOURCE_FLAG_ALLOW_UNORDERED_ACCESS;
  return description;
}

class Run {
 public:
  Run() {
    check(D3D12CreateDevice(nullptr, D3D_FEATURE_LEVEL_11_0, device_.iid(), device_.out()));
    D3D12_COMMAND_QUEUE_DESC queue = {};
    queue.Type = D3D12_COMMAND_LIST_TYPE_COMPUTE;
    check(device_->CreateCommandQueue(&queue, queue_.iid(), queue_.out()));
    check(device_->CreateCommandAllocator(queue.Type, allocator_.iid(), allocator_.out()));
    check(device_->CreateCommandList(0, queue.Type, allocator_.get(), nullptr, list_.iid(),
                                     list_.out()));
    check(device_->CreateFence(0, D3D12_FENCE_FLAG_NONE, fence_.iid(), fence_.out()));
    D3D12_DESCRIPTOR_HEAP_DESC heap = {};
    heap.Type = D3D12_DESCRIPTOR_HEAP_TYPE_CBV_SRV_UAV;
    heap.NumDescriptors = 64;
    heap.Flags = D3D12_DESCRIPTOR_HEAP_FLAG_SHADER_VISIBLE;
    check(device_->CreateDescriptorHeap(&heap, descriptors_.iid(), descriptors_.out()));
  }

  // u0, u1, ... are the buffers in one table, b0 the constants.
  void shader(const void *container, size_t size, const std::vector<TestBuffer> &buffers,
              const std::vector<uint32_t> &constants, Placement placement,
              const uint32_t grid[3]) {
    Owned<ID3D12RootSignature> signature;
    root_signature(static_cast<UINT>(buffers.size()), static_cast<UINT>(constants.size()),
                   &signature);
    Owned<ID3D12PipelineState> pipeline;
    D3D12_COMPUTE_PIPELINE_STATE_DESC description = {};
    description.pRootSignature = signature.get();
    description.CS = {container, size};
    check(device_->CreateComputePipelineState(&description, pipeline.iid(), pipeline.out()));

    std::vector<Owned<ID3D12Resource>> on_device;
    for (size_t i = 0; i < buffers.size(); i++) {
      on_device.push_back(device_buffer(buffers[i].bytes, placement));
      upload(on_device[i].get(), buffers[i]);
      view(static_cast<UINT>(i), on_device[i].get(), buffers[i]);
    }
    list_->SetPipelineState(pipeline.get());
    ID3D12DescriptorHeap *heaps[] = {descriptors_.get()};
    list_->SetDescriptorHeaps(1, heaps);
    list_->SetComputeRootSignature(signature.get());
    list_->SetComputeRootDescriptorTable(0, descriptors_->GetGPUDescriptorHandleForHeapStart());
    if (!constants.empty())
      list_->SetComputeRoot32BitConstants(1, static_cast<UINT>(constants.size()),
                                          constants.data(), 0);
    list_->Dispatch(grid[0], grid[1], grid[2]);
    std::vector<Owned<ID3D12Resource>> on_host;
    for (size_t i = 0; i < buffers.size(); i++) {
      on_host.push_back(committed(buffers[i].bytes, D3D12_HEAP_TYPE_READBACK));
      list_->CopyResource(on_host[i].get(), on_device[i].get());
    }
    execute();
    for (size_t i = 0; i < buffers.size(); i++) {
      void *data;
      check(on_host[i]->Map(0, nullptr, &data));
      memcpy(buffers[i].data, data, buffers[i].bytes);
      on_host[i]->Unmap(0, nullptr);
    }
  }

  // Maps two tiles of one reserved buffer to the same tile of a heap, in exchanged order to
  // another buffer, and reads through the second what was written through the first.
  void exchange_tiles(uint32_t *words, size_t count) {
    const UINT64 tile = D3D12_TILED_RESOURCE_TILE_SIZE_IN_BYTES;
    Owned<ID3D12Heap> memory = heap(2 * tile);
    Owned<ID3D12Resource> first = reserved(2 * tile), second = reserved(2 * tile);
    const D3D12_TILE_RANGE_FLAGS flags[] = {D3D12_TILE_RANGE_FLAG_NONE,
                                            D3D12_TILE_RANGE_FLAG_NONE};
    const UINT straight[] = {0, 1}, exchanged[] = {1, 0}, counts[] = {1, 1};
    const D3D12_TILED_RESOURCE_COORDINATE start = {};
    D3D12_TILE_REGION_SIZE size = {};
    size.NumTiles = 2;
    queue_->UpdateTileMappings(first.get(), 1, &start, &size, memory.get(), 2, flags, straight,
                               counts, D3D12_TILE_MAPPING_FLAG_NONE);
    queue_->UpdateTileMappings(second.get(), 1, &start, &size, memory.get(), 2, flags, exchanged,
                               counts, D3D12_TILE_MAPPING_FLAG_NONE);
    Owned<ID3D12Resource> up = committed(2 * tile, D3D12_HEAP_TYPE_UPLOAD);
    Owned<ID3D12Resource> down = committed(2 * tile, D3D12_HEAP_TYPE_READBACK);
    uint8_t *data;
    check(up->Map(0, nullptr, reinterpret_cast<void **>(&data)));
    memcpy(data, words, count * 2);
    memcpy(data + tile, words + count / 2, count * 2);
    list_->CopyResource(first.get(), up.get());
    list_->CopyResource(down.get(), second.get());
    execute();
    check(down->Map(0, nullptr, reinterpret_cast<void **>(&data)));
    memcpy(words, data, count * 2);
    memcpy(words + count / 2, data + tile, count * 2);
  }

  Owned<ID3D12Resource> committed(uint64_t bytes, D3D12_HEAP_TYPE type) {
    Owned<ID3D12Resource> buffer;
    D3D12_HEAP_PROPERTIES properties = {};
    properties.Type = type;
    const D3D12_RESOURCE_DESC description = buffer_description(bytes);
    check(device_->CreateCommittedResource(&properties, D3D12_HEAP_FLAG_NONE, &description,
                                           D3D12_RESOURCE_STATE_COMMON, nullptr, buffer.iid(),
                                           buffer.out()));
    return buffer;
  }

  ID3D12Device *device() const { return device_.get(); }
  ID3D12Fence *fence() const { return fence_.get(); }

 private:
  Owned<ID3D12Heap> heap(uint64_t bytes) {
    Owned<ID3D12Heap> made;
    D3D12_HEAP_DESC description = {};
    description.SizeInBytes = bytes;
    description.Properties.Type = D3D12_HEAP_TYPE_DEFAULT;
    check(device_->CreateHeap(&description, made.iid(), made.out()));
    return made;
  }

  Owned<ID3D12Resource> reserved(uint64_t bytes) {
    Owned<ID3D12Resource> buffer;
    const D3D12_RESOURCE_DESC description = buffer_description(bytes);
    check(device_->CreateReservedResource(&description, D3D12_RESOURCE_STATE_COMMON, nullptr,
                                          buffer.iid(), buffer.out()));
    return buffer;
  }

  Owned<ID3D12Resource> device_buffer(uint64_t bytes, Placement placement) {
    if (placement == kCommitted) return committed(bytes, D3D12_HEAP_TYPE_DEFAULT);
    const uint64_t tile = D3D12_TILED_RESOURCE_TILE_SIZE_IN_BYTES;
    const UINT tiles = static_cast<UINT>((bytes + tile - 1) / tile);
    heaps_.push_back(heap((tiles + 1) * tile));
    ID3D12Heap *memory = heaps_.back().get();
    if (placement == kReserved) {
      Owned<ID3D12Resource> buffer = reserved(bytes);
      const UINT start = 1;  // not the heap's first tile
      queue_->UpdateTileMappings(buffer.get(), 1, nullptr, nullptr, memory, 1, nullptr, &start,
                                 &tiles, D3D12_TILE_MAPPING_FLAG_NONE);
      return buffer;
    }
    Owned<ID3D12Resource> buffer;
    const D3D12_RESOURCE_DESC description = buffer_description(bytes);
    check(device_->CreatePlacedResource(memory, tile, &description, D3D12_RESOURCE_STATE_COMMON,
                                        nullptr, buffer.iid(), buffer.out()));
    return buffer;
  }

  void upload(ID3D12Resource *buffer, const TestBuffer &from) {
    uploads_.push_back(committed(from.bytes, D3D12_HEAP_TYPE_UPLOAD));
    void *data;
    check(uploads_.back()->Map(0, nullptr, &data));
    memcpy(data, from.data, from.bytes);
    list_->CopyBufferRegion(buffer, 0, uploads_.back().get(), 0, from.bytes);
  }

  void view(UINT index, ID3D12Resource *buffer, const TestBuffer &of) {
    D3D12_UNORDERED_ACCESS_VIEW_DESC view = {};
    view.ViewDimension = D3D12_UAV_DIMENSION_BUFFER;
    uint64_t element = 4;
    if (of.format) {
      view.Format = static_cast<DXGI_FORMAT>(of.format);
      const bool wide = of.format == DXGI_FORMAT_R32G32_UINT;
      element = wide ? 8 : of.format >= DXGI_FORMAT_R8_TYPELESS ? 1
                       : of.format >= DXGI_FORMAT_R16_TYPELESS ? 2 : 4;
    } else if (of.stride) {
      view.Buffer.StructureByteStride = of.stride;
      element = of.stride;
    } else {
      view.Format = DXGI_FORMAT_R32_TYPELESS;
      view.Buffer.Flags = D3D12_BUFFER_UAV_FLAG_RAW;
    }
    view.Buffer.NumElements = static_cast<UINT>(of.bytes / element);
    D3D12_CPU_DESCRIPTOR_HANDLE handle = descriptors_->GetCPUDescriptorHandleForHeapStart();
    handle.ptr += index * device_->GetDescriptorHandleIncrementSize(
                              D3D12_DESCRIPTOR_HEAP_TYPE_CBV_SRV_UAV);
    device_->CreateUnorderedAccessView(buffer, nullptr, &view, handle);
  }

  void root_signature(UINT buffers, UINT constants, Owned<ID3D12RootSignature> *signature) {
    D3D12_DESCRIPTOR_RANGE1 range = {};
    range.RangeType = D3D12_DESCRIPTOR_RANGE_TYPE_UAV;
    range.NumDescriptors = buffers;
    range.OffsetInDescriptorsFromTableStart = D3D12_DESCRIPTOR_RANGE_OFFSET_APPEND;
    D3D12_ROOT_PARAMETER1 parameters[2] = {};
    parameters[0].ParameterType = D3D12_ROOT_PARAMETER_TYPE_DESCRIPTOR_TABLE;
    parameters[0].DescriptorTable = {1, &range};
    parameters[1].ParameterType = D3D12_ROOT_PARAMETER_TYPE_32BIT_CONSTANTS;
    parameters[1].Constants = {0, 0, constants};
    D3D12_VERSIONED_ROOT_SIGNATURE_DESC description = {};
    description.Version = D3D_ROOT_SIGNATURE_VERSION_1_1;
    description.Desc_1_1.NumParameters = constants ? 2 : 1;
    description.Desc_1_1.pParameters = parameters;
    Owned<ID3DBlob> blob;
    check(D3D12SerializeVersionedRootSignature(&description, blob.address(), nullptr));
    check(device_->CreateRootSignature(0, blob->GetBufferPointer(), blob->GetBufferSize(),
                                       signature->iid(), signature->out()));
  }

  void execute() {
    check(list_->Close());
    ID3D12CommandList *lists[] = {list_.get()};
    queue_->ExecuteCommandLists(1, lists);
    check(queue_->Signal(fence_.get(), 1));
    check(fence_->SetEventOnCompletion(1, nullptr));
    check(device_->GetDeviceRemovedReason());
  }

  Owned<ID3D12Device> device_;
  Owned<ID3D12CommandQueue> queue_;
  Owned<ID3D12CommandAllocator> allocator_;
  Owned<ID3D12GraphicsCommandList> list_;
  Owned<ID3D12Fence> fence_;
  Owned<ID3D12DescriptorHeap> descriptors_;
  std::vector<Owned<ID3D12Heap>> heaps_;
  std::vector<Owned<ID3D12Resource>> uploads_;
};

// S_OK, or the error that the action ended with.
template <class Action> HRESULT result_of(Action action) {
  try {
    action();
    return S_OK;
  } catch (const Failure &failure) {
    return failure.result;
  }
}

}  // namespace

EXPORT HRESULT test_run_shader(const void *container, size_t size, const TestBuffer *buffers,
                               size_t buffer_count, const uint32_t *constants,
                               size_t constant_count, Placement placement,
                               const uint32_t grid[3]) {
  return result_of([&] {
    Run().shader(container, size, std::vector<TestBuffer>(buffers, buffers + buffer_count),
                 std::vector<uint32_t>(constants, constants + constant_count), placement, grid);
  });
}

EXPORT HRESULT test_exchange_tiles(uint32_t *words, size_t count) {
  return result_of([&] { Run().exchange_tiles(words, count); });
}

EXPORT HRESULT test_allocate(uint64_t bytes) {
  return result_of([&] { Run().committed(bytes, D3D12_HEAP_TYPE_DEFAULT); });
}

// What a removed device says: the reason, the value of a fence, and the error of a new allocation.
EXPORT HRESULT test_remove_device(uint32_t answers[3], uint64_t *fence_value) {
  return result_of([&] {
    Run run;
    Owned<ID3D12Device5> device;
    check(run.device()->QueryInterface(device.iid(), device.out()));
    device->RemoveDevice();
    answers[0] = static_cast<uint32_t>(device->GetDeviceRemovedReason());
    *fence_value = run.fence()->GetCompletedValue();
    answers[1] = static_cast<uint32_t>(
        result_of([&] { run.committed(65536, D3D12_HEAP_TYPE_DEFAULT); }));
    answers[2] = static_cast<uint32_t>(run.fence()->Signal(1));
  });
}

EXPORT HRESULT test_call_unsupported_method() {
  return result_of([&] {
    HANDLE handle;
    check(Run().device()->OpenSharedHandleByName(nullptr, 0, &handle));
  });
}
