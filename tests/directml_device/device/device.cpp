#include "device.h"

#include "adapter.h"
#include "command_list.h"
#include "command_queue.h"
#include "faults.h"
#include "statistics.h"

LUID Device::GetAdapterLuid() { return kAdapterLuid; }

HRESULT Device::GetDeviceRemovedReason() {
  return device_removed() ? DXGI_ERROR_DEVICE_HUNG : S_OK;
}

void Device::RemoveDevice() { remove_device(); }

HRESULT Device::EnumerateMetaCommands(UINT *count, D3D12_META_COMMAND_DESC *) {
  *count = 0;
  return S_OK;
}

// Fills in the answer to a feature question of the type that belongs to it.
template <class Data, class Fill> static HRESULT answer(void *data, UINT size, Fill fill) {
  if (size != sizeof(Data)) return E_INVALIDARG;
  return fill(*static_cast<Data *>(data));
}

// What this device says of itself: shader model 6.0 without wave operations and native 16-bit
// types, all descriptors in tables of any size, tiled buffers, memory apart from the host's.
HRESULT Device::CheckFeatureSupport(D3D12_FEATURE feature, void *data, UINT size) {
  switch (feature) {
    case D3D12_FEATURE_D3D12_OPTIONS:
      return answer<D3D12_FEATURE_DATA_D3D12_OPTIONS>(data, size, [](auto &options) {
        options = {};
        options.TiledResourcesTier = D3D12_TILED_RESOURCES_TIER_2;
        options.ResourceBindingTier = D3D12_RESOURCE_BINDING_TIER_3;
        options.TypedUAVLoadAdditionalFormats = TRUE;
        options.MaxGPUVirtualAddressBitsPerResource = 40;
        options.ResourceHeapTier = D3D12_RESOURCE_HEAP_TIER_2;
        return S_OK;
      });
    case D3D12_FEATURE_ARCHITECTURE:
      return answer<D3D12_FEATURE_DATA_ARCHITECTURE>(data, size, [](auto &architecture) {
        architecture.TileBasedRenderer = architecture.UMA = architecture.CacheCoherentUMA = FALSE;
        return architecture.NodeIndex == 0 ? S_OK : E_INVALIDARG;
      });
    case D3D12_FEATURE_ARCHITECTURE1:
      return answer<D3D12_FEATURE_DATA_ARCHITECTURE1>(data, size, [](auto &architecture) {
        architecture.TileBasedRenderer = architecture.UMA = architecture.CacheCoherentUMA = FALSE;
        architecture.IsolatedMMU = TRUE;
        return architecture.NodeIndex == 0 ? S_OK : E_INVALIDARG;
      });
    case D3D12_FEATURE_FEATURE_LEVELS:
      return answer<D3D12_FEATURE_DATA_FEATURE_LEVELS>(data, size, [](auto &levels) {
        levels.MaxSupportedFeatureLevel = static_cast<D3D_FEATURE_LEVEL>(0);
        for (UINT i = 0; i < levels.NumFeatureLevels; i++) {
          const D3D_FEATURE_LEVEL level = levels.pFeatureLevelsRequested[i];
          if (level <= D3D_FEATURE_LEVEL_12_0 && level > levels.MaxSupportedFeatureLevel)
            levels.MaxSupportedFeatureLevel = level;
        }
        return S_OK;
      });
    case D3D12_FEATURE_FORMAT_SUPPORT:
      return answer<D3D12_FEATURE_DATA_FORMAT_SUPPORT>(data, size, [](auto &support) {
        const bool known = typed_format_size(support.Format) != 0;
        support.Support1 = static_cast<D3D12_FORMAT_SUPPORT1>(
            known ? D3D12_FORMAT_SUPPORT1_BUFFER |
                        D3D12_FORMAT_SUPPORT1_TYPED_UNORDERED_ACCESS_VIEW
                  : 0);
        support.Support2 = static_cast<D3D12_FORMAT_SUPPORT2>(
            known ? D3D12_FORMAT_SUPPORT2_UAV_TYPED_LOAD | D3D12_FORMAT_SUPPORT2_UAV_TYPED_STORE
                  : 0);
        return S_OK;
      });
    case D3D12_FEATURE_GPU_VIRTUAL_ADDRESS_SUPPORT:
      return answer<D3D12_FEATURE_DATA_GPU_VIRTUAL_ADDRESS_SUPPORT>(data, size, [](auto &bits) {
        bits.MaxGPUVirtualAddressBitsPerResource = 40;
        bits.MaxGPUVirtualAddressBitsPerProcess = 47;
        return S_OK;
      });
    case D3D12_FEATURE_SHADER_MODEL:
      return answer<D3D12_FEATURE_DATA_SHADER_MODEL>(data, size, [](auto &model) {
        if (model.HighestShaderModel > D3D_SHADER_MODEL_6_0)
          model.HighestShaderModel = D3D_SHADER_MODEL_6_0;
        return S_OK;
      });
    case D3D12_FEATURE_D3D12_OPTIONS1:
      return answer<D3D12_FEATURE_DATA_D3D12_OPTIONS1>(data, size, [](auto &options) {
        options = {};
        options.Int64ShaderOps = TRUE;
        return S_OK;
      });
    case D3D12_FEATURE_ROOT_SIGNATURE:
      return answer<D3D12_FEATURE_DATA_ROOT_SIGNATURE>(data, size, [](auto &version) {
        if (version.HighestVersion > D3D_ROOT_SIGNATURE_VERSION_1_1)
          version.HighestVersion = D3D_ROOT_SIGNATURE_VERSION_1_1;
        return S_OK;
      });
    // Options without any that this device has.
    case D3D12_FEATURE_D3D12_OPTIONS2:
      return answer<D3D12_FEATURE_DATA_D3D12_OPTIONS2>(data, size,
                                                       [](auto &o) { return o = {}, S_OK; });
    case D3D12_FEATURE_D3D12_OPTIONS3:
      return answer<D3D12_FEATURE_DATA_D3D12_OPTIONS3>(data, size,
                                                       [](auto &o) { return o = {}, S_OK; });
    case D3D12_FEATURE_D3D12_OPTIONS4:
      return answer<D3D12_FEATURE_DATA_D3D12_OPTIONS4>(data, size,
                                                       [](auto &o) { return o = {}, S_OK; });
    default:
      trace("feature %d was asked for and is unknown", feature);
      return E_INVALIDARG;
  }
}

// ---- Commands

HRESULT Device::CreateCommandQueue(const D3D12_COMMAND_QUEUE_DESC *description, REFIID iid,
                                   void **queue) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  return give(new CommandQueue(this, *description), iid, queue);
}

HRESULT Device::CreateCommandAllocator(D3D12_COMMAND_LIST_TYPE, REFIID iid, void **allocator) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  return give(new CommandAllocator(this), iid, allocator);
}

HRESULT Device::CreateCommandList(UINT, D3D12_COMMAND_LIST_TYPE type, ID3D12CommandAllocator *,
                                  ID3D12PipelineState *pipeline, REFIID iid, void **list) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  return give(new CommandList(this, type, pipeline), iid, list);
}

// The list is closed at first.
HRESULT Device::CreateCommandList1(UINT, D3D12_COMMAND_LIST_TYPE type, D3D12_COMMAND_LIST_FLAGS,
                                   REFIID iid, void **list) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  CommandList *made = new CommandList(this, type, nullptr);
  made->Close();
  return give(made, iid, list);
}

HRESULT Device::CreateFence(UINT64 value, D3D12_FENCE_FLAGS, REFIID iid, void **fence) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  return give(new Fence(this, value), iid, fence);
}

// ---- Shaders and their arguments

HRESULT Device::CreateComputePipelineState(const D3D12_COMPUTE_PIPELINE_STATE_DESC *description,
                                           REFIID iid, void **pipeline) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  const auto shader = load_shader(description->CS.pShaderBytecode, description->CS.BytecodeLength);
  if (!shader) return E_INVALIDARG;
  statistics().pipelines++;
  trace("pipeline of shader %llu: %s", static_cast<unsigned long long>(shader->number),
        shader->instructions.c_str());
  return give(new PipelineState(this, shader), iid, pipeline);
}

HRESULT Device::CreateRootSignature(UINT, const void *bytes, SIZE_T size, REFIID iid,
                                    void **signature) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  const auto layout = parse_root_signature(bytes, size);
  return layout ? give(new RootSignature(this, layout), iid, signature) : E_INVALIDARG;
}

HRESULT Device::CreateDescriptorHeap(const D3D12_DESCRIPTOR_HEAP_DESC *description, REFIID iid,
                                     void **heap) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  return give(new DescriptorHeap(this, *description), iid, heap);
}

UINT Device::GetDescriptorHandleIncrementSize(D3D12_DESCRIPTOR_HEAP_TYPE) {
  return sizeof(Descriptor);
}

static Descriptor *descriptor_at(D3D12_CPU_DESCRIPTOR_HANDLE handle) {
  return reinterpret_cast<Descriptor *>(handle.ptr);
}

void Device::CreateConstantBufferView(const D3D12_CONSTANT_BUFFER_VIEW_DESC *view,
                                      D3D12_CPU_DESCRIPTOR_HANDLE to) {
  *descriptor_at(to) = constant_buffer_view(view);
}

void Device::CreateShaderResourceView(ID3D12Resource *buffer,
                                      const D3D12_SHADER_RESOURCE_VIEW_DESC *view,
                                      D3D12_CPU_DESCRIPTOR_HANDLE to) {
  *descriptor_at(to) = shader_resource_view(static_cast<Buffer *>(buffer), view);
}

void Device::CreateUnorderedAccessView(ID3D12Resource *buffer, ID3D12Resource *counter,
                                       const D3D12_UNORDERED_ACCESS_VIEW_DESC *view,
                                       D3D12_CPU_DESCRIPTOR_HANDLE to) {
  if (counter) abort_unsupported("an unordered access view with a counter");
  *descriptor_at(to) = unordered_access_view(static_cast<Buffer *>(buffer), view);
}

void Device::CopyDescriptorsSimple(UINT count, D3D12_CPU_DESCRIPTOR_HANDLE to,
                                   D3D12_CPU_DESCRIPTOR_HANDLE from, D3D12_DESCRIPTOR_HEAP_TYPE) {
  memcpy(descriptor_at(to), descriptor_at(from), count * sizeof(Descriptor));
}

// Two lists of ranges of the same descriptors, cut in different places.
void Device::CopyDescriptors(UINT, const D3D12_CPU_DESCRIPTOR_HANDLE *to, const UINT *to_sizes,
                             UINT from_ranges, const D3D12_CPU_DESCRIPTOR_HANDLE *from,
                             const UINT *from_sizes, D3D12_DESCRIPTOR_HEAP_TYPE) {
  UINT range = 0, position = 0;
  for (UINT i = 0; i < from_ranges; i++)
    for (UINT k = 0; k < (from_sizes ? from_sizes[i] : 1); k++) {
      if (position == (to_sizes ? to_sizes[range] : 1)) {
        range++;
        position = 0;
      }
      descriptor_at(to[range])[position++] = descriptor_at(from[i])[k];
    }
}

// ---- Memory

// Whether this is a buffer, the only resource here.
static bool is_buffer(const D3D12_RESOURCE_DESC *description) {
  if (description->Dimension == D3D12_RESOURCE_DIMENSION_BUFFER) return true;
  report_unsupported("a texture");
  return false;
}

D3D12_RESOURCE_ALLOCATION_INFO Device::GetResourceAllocationInfo(
    UINT, UINT count, const D3D12_RESOURCE_DESC *descriptions) {
  D3D12_RESOURCE_ALLOCATION_INFO info = {0, kPageBytes};
  for (UINT i = 0; i < count; i++) info.SizeInBytes += whole_pages(descriptions[i].Width);
  return info;
}

// https://learn.microsoft.com/windows/win32/api/d3d12/
//     nf-d3d12-id3d12device-getcustomheapproperties(uint_d3d12_heap_type), for separate memory
D3D12_HEAP_PROPERTIES Device::GetCustomHeapProperties(UINT, D3D12_HEAP_TYPE type) {
  D3D12_HEAP_PROPERTIES properties = {};
  properties.Type = D3D12_HEAP_TYPE_CUSTOM;
  properties.CPUPageProperty = type == D3D12_HEAP_TYPE_UPLOAD
                                   ? D3D12_CPU_PAGE_PROPERTY_WRITE_COMBINE
                               : type == D3D12_HEAP_TYPE_READBACK
                                   ? D3D12_CPU_PAGE_PROPERTY_WRITE_BACK
                                   : D3D12_CPU_PAGE_PROPERTY_NOT_AVAILABLE;
  properties.MemoryPoolPreference =
      type == D3D12_HEAP_TYPE_DEFAULT ? D3D12_MEMORY_POOL_L1 : D3D12_MEMORY_POOL_L0;
  properties.CreationNodeMask = properties.VisibleNodeMask = 1;
  return properties;
}

HRESULT Device::CreateCommittedResource(const D3D12_HEAP_PROPERTIES *properties,
                                        D3D12_HEAP_FLAGS flags,
                                        const D3D12_RESOURCE_DESC *description,
                                        D3D12_RESOURCE_STATES, const D3D12_CLEAR_VALUE *,
                                        REFIID iid, void **buffer) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  if (!is_buffer(description)) return E_NOTIMPL;
  const auto memory = Memory::allocate(description->Width);
  if (!memory) return E_OUTOFMEMORY;
  return give(new Buffer(this, *description, *properties, flags, memory, memory->base()), iid,
              buffer);
}

HRESULT Device::CreateHeap(const D3D12_HEAP_DESC *description, REFIID iid, void **heap) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  const auto memory = Memory::allocate(description->SizeInBytes);
  if (!memory) return E_OUTOFMEMORY;
  return give(new Heap(this, *description, memory), iid, heap);
}

HRESULT Device::CreatePlacedResource(ID3D12Heap *heap, UINT64 offset,
                                     const D3D12_RESOURCE_DESC *description,
                                     D3D12_RESOURCE_STATES, const D3D12_CLEAR_VALUE *, REFIID iid,
                                     void **buffer) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  if (!is_buffer(description)) return E_NOTIMPL;
  const std::shared_ptr<Memory> &memory = static_cast<Heap *>(heap)->memory();
  if (offset % kPageBytes || offset > memory->bytes() ||
      description->Width > memory->bytes() - offset)
    return E_INVALIDARG;
  const D3D12_HEAP_DESC place = heap->GetDesc();
  return give(new Buffer(this, *description, place.Properties, place.Flags, memory,
                         memory->base() + offset),
              iid, buffer);
}

HRESULT Device::CreateReservedResource(const D3D12_RESOURCE_DESC *description,
                                       D3D12_RESOURCE_STATES, const D3D12_CLEAR_VALUE *,
                                       REFIID iid, void **buffer) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  if (!is_buffer(description)) return E_NOTIMPL;
  const auto tiles = TiledRange::reserve(description->Width);
  if (!tiles) return E_OUTOFMEMORY;
  return give(new Buffer(this, *description, tiles), iid, buffer);
}

void Device::GetResourceTiling(ID3D12Resource *resource, UINT *tiles, D3D12_PACKED_MIP_INFO *mips,
                               D3D12_TILE_SHAPE *shape, UINT *subresources, UINT first,
                               D3D12_SUBRESOURCE_TILING *tiling) {
  const UINT count =
      static_cast<UINT>(whole_pages(static_cast<Buffer *>(resource)->bytes()) / kPageBytes);
  if (tiles) *tiles = count;
  if (mips) *mips = {};
  if (shape) *shape = {static_cast<UINT>(kPageBytes), 1, 1};
  if (!subresources || !tiling) return;
  if (first == 0 && *subresources > 0) tiling[0] = {count, 1, 1, 0};
  *subresources = first == 0 && *subresources > 0 ? 1 : 0;
}
