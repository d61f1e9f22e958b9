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
  uint32_t kind;    // ViewKind
  uint32_t padding;
};

// How the shader gets a buffer. Registers count from 0 in each class: u0, u1, ..., t0, ..., b0, ...
enum ViewKind { kUav, kSrv, kCbv, kRootUav, kRootSrv, kRootCbv };

enum Placement { kCommitted, kPlaced, kReserved };

// Where the test's bytes begin in a reserved buffer: far enough for all arithmetic to need 64 bits,
// as in TensorFlow, whose allocator reserves one buffer for all tensors. Only their tiles exist.
const uint64_t kReservedOffset = 5ull << 30;

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

  // The constants have the register b0, so that constant buffers begin at b1.
  void shader(const void *container, size_t size, const std::vector<TestBuffer> &buffers,
              const std::vector<uint32_t> &constants, Placement placement,
              const uint32_t grid[3]) {
    Owned<ID3D12RootSignature> signature;
    offset_ = placement == kReserved ? kReservedOffset : 0;
    root_signature(buffers, static_cast<UINT>(constants.size()), &signature);
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
    if (!constants.empty())
      list_->SetComputeRoot32BitConstants(0, static_cast<UINT>(constants.size()),
                                          constants.data(), 0);
    for (size_t i = 0; i < buffers.size(); i++)
      set_argument(static_cast<UINT>(i), on_device[i].get(), buffers[i].kind);
    list_->Dispatch(grid[0], grid[1], grid[2]);
    std::vector<Owned<ID3D12Resource>> on_host;
    for (size_t i = 0; i < buffers.size(); i++) {
      on_host.push_back(committed(buffers[i].bytes, D3D12_HEAP_TYPE_READBACK));
      list_->CopyBufferRegion(on_host[i].get(), 0, on_device[i].get(), offset_, buffers[i].bytes);
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
      Owned<ID3D12Resource> buffer = reserved(kReservedOffset + bytes);
      const UINT heap_start = 1;  // not the heap's first tile
      D3D12_TILED_RESOURCE_COORDINATE start = {};
      start.X = static_cast<UINT>(kReservedOffset / tile);
      D3D12_TILE_REGION_SIZE size = {};
      size.NumTiles = tiles;
      queue_->UpdateTileMappings(buffer.get(), 1, &start, &size, memory, 1, nullptr, &heap_start,
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
    list_->CopyBufferRegion(buffer, offset_, uploads_.back().get(), 0, from.bytes);
  }

  D3D12_CPU_DESCRIPTOR_HANDLE descriptor(UINT index) {
    D3D12_CPU_DESCRIPTOR_HANDLE handle = descriptors_->GetCPUDescriptorHandleForHeapStart();
    handle.ptr += index * device_->GetDescriptorHandleIncrementSize(
                              D3D12_DESCRIPTOR_HEAP_TYPE_CBV_SRV_UAV);
    return handle;
  }

  // Both kinds of views have these fields.
  template <class View> void fill(View *view, const TestBuffer &of, UINT raw_flag) const {
    uint64_t element = 4;
    if (of.format) {
      view->Format = static_cast<DXGI_FORMAT>(of.format);
      const bool wide = of.format == DXGI_FORMAT_R32G32_UINT;
      element = wide ? 8 : of.format >= DXGI_FORMAT_R8_TYPELESS ? 1
                       : of.format >= DXGI_FORMAT_R16_TYPELESS ? 2 : 4;
    } else if (of.stride) {
      view->Buffer.StructureByteStride = of.stride;
      element = of.stride;
    } else {
      view->Format = DXGI_FORMAT_R32_TYPELESS;
      view->Buffer.Flags = static_cast<decltype(view->Buffer.Flags)>(raw_flag);
    }
    view->Buffer.FirstElement = offset_ / element;
    view->Buffer.NumElements = static_cast<UINT>(of.bytes / element);
  }

  void view(UINT index, ID3D12Resource *buffer, const TestBuffer &of) {
    if (of.kind == kUav) {
      D3D12_UNORDERED_ACCESS_VIEW_DESC view = {};
      view.ViewDimension = D3D12_UAV_DIMENSION_BUFFER;
      fill(&view, of, D3D12_BUFFER_UAV_FLAG_RAW);
      device_->CreateUnorderedAccessView(buffer, nullptr, &view, descriptor(index));
    } else if (of.kind == kSrv) {
      D3D12_SHADER_RESOURCE_VIEW_DESC view = {};
      view.ViewDimension = D3D12_SRV_DIMENSION_BUFFER;
      view.Shader4ComponentMapping = D3D12_DEFAULT_SHADER_4_COMPONENT_MAPPING;
      fill(&view, of, D3D12_BUFFER_SRV_FLAG_RAW);
      device_->CreateShaderResourceView(buffer, &view, descriptor(index));
    } else if (of.kind == kCbv) {
      const D3D12_CONSTANT_BUFFER_VIEW_DESC view = {buffer->GetGPUVirtualAddress() + offset_,
                                                    static_cast<UINT>(of.bytes)};
      device_->CreateConstantBufferView(&view, descriptor(index));
    }
  }

  void set_argument(UINT index, ID3D12Resource *buffer, uint32_t kind) {
    const UINT parameter = index + (constants_ ? 1 : 0);
    const D3D12_GPU_VIRTUAL_ADDRESS address = buffer->GetGPUVirtualAddress() + offset_;
    D3D12_GPU_DESCRIPTOR_HANDLE table = descriptors_->GetGPUDescriptorHandleForHeapStart();
    table.ptr += descriptor(index).ptr - descriptor(0).ptr;
    switch (kind) {
      case kRootUav: list_->SetComputeRootUnorderedAccessView(parameter, address); break;
      case kRootSrv: list_->SetComputeRootShaderResourceView(parameter, address); break;
      case kRootCbv: list_->SetComputeRootConstantBufferView(parameter, address); break;
      default: list_->SetComputeRootDescriptorTable(parameter, table);
    }
  }

  // One parameter for each buffer, after the constants if there are any. Without constants the
  // signature has version 1.0, with them 1.1.
  void root_signature(const std::vector<TestBuffer> &buffers, UINT constants,
                      Owned<ID3D12RootSignature> *signature) {
    constants_ = constants;
    D3D12_VERSIONED_ROOT_SIGNATURE_DESC description = {};
    if (constants) {
      description.Version = D3D_ROOT_SIGNATURE_VERSION_1_1;
      serialize<D3D12_ROOT_PARAMETER1, D3D12_DESCRIPTOR_RANGE1>(buffers, &description.Desc_1_1,
                                                                &description, signature);
    } else {
      description.Version = D3D_ROOT_SIGNATURE_VERSION_1_0;
      serialize<D3D12_ROOT_PARAMETER, D3D12_DESCRIPTOR_RANGE>(buffers, &description.Desc_1_0,
                                                              &description, signature);
    }
  }

  template <class Parameter, class Range, class Description>
  void serialize(const std::vector<TestBuffer> &buffers, Description *description,
                 const D3D12_VERSIONED_ROOT_SIGNATURE_DESC *versioned,
                 Owned<ID3D12RootSignature> *signature) {
    static const D3D12_ROOT_PARAMETER_TYPE kTypes[] = {
        D3D12_ROOT_PARAMETER_TYPE_DESCRIPTOR_TABLE, D3D12_ROOT_PARAMETER_TYPE_DESCRIPTOR_TABLE,
        D3D12_ROOT_PARAMETER_TYPE_DESCRIPTOR_TABLE, D3D12_ROOT_PARAMETER_TYPE_UAV,
        D3D12_ROOT_PARAMETER_TYPE_SRV, D3D12_ROOT_PARAMETER_TYPE_CBV};
    static const D3D12_DESCRIPTOR_RANGE_TYPE kRanges[] = {D3D12_DESCRIPTOR_RANGE_TYPE_UAV,
                                                          D3D12_DESCRIPTOR_RANGE_TYPE_SRV,
                                                          D3D12_DESCRIPTOR_RANGE_TYPE_CBV};
    std::vector<Parameter> parameters;
    std::vector<Range> ranges(buffers.size(), Range{});
    UINT next[3] = {0, 0, 0};
    if (constants_) {
      parameters.push_back({});
      parameters[0].ParameterType = D3D12_ROOT_PARAMETER_TYPE_32BIT_CONSTANTS;
      parameters[0].Constants = {next[2]++, 0, constants_};
    }
    for (size_t i = 0; i < buffers.size(); i++) {
      const uint32_t kind = buffers[i].kind, number = next[kind % 3]++;
      Parameter parameter = {};
      parameter.ParameterType = kTypes[kind];
      if (kind <= kCbv) {
        ranges[i].RangeType = kRanges[kind];
        ranges[i].NumDescriptors = 1;
        ranges[i].BaseShaderRegister = number;
        ranges[i].OffsetInDescriptorsFromTableStart = D3D12_DESCRIPTOR_RANGE_OFFSET_APPEND;
        parameter.DescriptorTable = {1, &ranges[i]};
      } else {
        parameter.Descriptor.ShaderRegister = number;
      }
      parameters.push_back(parameter);
    }
    description->NumParameters = static_cast<UINT>(parameters.size());
    description->pParameters = parameters.data();
    Owned<ID3DBlob> blob;
    check(D3D12SerializeVersionedRootSignature(versioned, blob.address(), nullptr));
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
  UINT constants_ = 0;   // how many the root signature has
  uint64_t offset_ = 0;  // of the test's bytes in each buffer on the device
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
