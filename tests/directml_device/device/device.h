// The device: creates everything else, and says what it can do.
//
// https://learn.microsoft.com/windows/win32/api/d3d12/nn-d3d12-id3d12device
#pragma once

#include "object.h"
#include "unsupported_methods.h"

class Device final
    : public NamedObject<DeviceWithoutGraphics, ID3D12Device5, ID3D12Device4, ID3D12Device3,
                         ID3D12Device2, ID3D12Device1, ID3D12Device> {
 public:
  UINT STDMETHODCALLTYPE GetNodeCount() override { return 1; }
  LUID STDMETHODCALLTYPE GetAdapterLuid() override;
  HRESULT STDMETHODCALLTYPE CheckFeatureSupport(D3D12_FEATURE, void *data, UINT size) override;
  HRESULT STDMETHODCALLTYPE GetDeviceRemovedReason() override;
  void STDMETHODCALLTYPE RemoveDevice() override;
  HRESULT STDMETHODCALLTYPE EnumerateMetaCommands(UINT *count,
                                                  D3D12_META_COMMAND_DESC *) override;
  HRESULT STDMETHODCALLTYPE SetStablePowerState(BOOL) override { return S_OK; }

  // Commands
  HRESULT STDMETHODCALLTYPE CreateCommandQueue(const D3D12_COMMAND_QUEUE_DESC *, REFIID,
                                               void **) override;
  HRESULT STDMETHODCALLTYPE CreateCommandAllocator(D3D12_COMMAND_LIST_TYPE, REFIID,
                                                   void **) override;
  HRESULT STDMETHODCALLTYPE CreateCommandList(UINT node, D3D12_COMMAND_LIST_TYPE,
                                              ID3D12CommandAllocator *, ID3D12PipelineState *,
                                              REFIID, void **) override;
  HRESULT STDMETHODCALLTYPE CreateCommandList1(UINT node, D3D12_COMMAND_LIST_TYPE,
                                               D3D12_COMMAND_LIST_FLAGS, REFIID, void **) override;
  HRESULT STDMETHODCALLTYPE CreateFence(UINT64 value, D3D12_FENCE_FLAGS, REFIID, void **) override;

  // Shaders and their arguments
  HRESULT STDMETHODCALLTYPE CreateComputePipelineState(const D3D12_COMPUTE_PIPELINE_STATE_DESC *,
                                                       REFIID, void **) override;
  HRESULT STDMETHODCALLTYPE CreateRootSignature(UINT node, const void *bytes, SIZE_T size, REFIID,
                                                void **) override;
  HRESULT STDMETHODCALLTYPE CreateDescriptorHeap(const D3D12_DESCRIPTOR_HEAP_DESC *, REFIID,
                                                 void **) override;
  UINT STDMETHODCALLTYPE GetDescriptorHandleIncrementSize(D3D12_DESCRIPTOR_HEAP_TYPE) override;
  void STDMETHODCALLTYPE CreateConstantBufferView(const D3D12_CONSTANT_BUFFER_VIEW_DESC *,
                                                  D3D12_CPU_DESCRIPTOR_HANDLE) override;
  void STDMETHODCALLTYPE CreateShaderResourceView(ID3D12Resource *,
                                                  const D3D12_SHADER_RESOURCE_VIEW_DESC *,
                                                  D3D12_CPU_DESCRIPTOR_HANDLE) override;
  void STDMETHODCALLTYPE CreateUnorderedAccessView(ID3D12Resource *, ID3D12Resource *counter,
                                                   const D3D12_UNORDERED_ACCESS_VIEW_DESC *,
                                                   D3D12_CPU_DESCRIPTOR_HANDLE) override;
  void STDMETHODCALLTYPE CopyDescriptors(UINT, const D3D12_CPU_DESCRIPTOR_HANDLE *to,
                                         const UINT *to_sizes, UINT,
                                         const D3D12_CPU_DESCRIPTOR_HANDLE *from,
                                         const UINT *from_sizes,
                                         D3D12_DESCRIPTOR_HEAP_TYPE) override;
  void STDMETHODCALLTYPE CopyDescriptorsSimple(UINT count, D3D12_CPU_DESCRIPTOR_HANDLE to,
                                               D3D12_CPU_DESCRIPTOR_HANDLE from,
                                               D3D12_DESCRIPTOR_HEAP_TYPE) override;

  // Memory
  D3D12_RESOURCE_ALLOCATION_INFO STDMETHODCALLTYPE GetResourceAllocationInfo(
      UINT mask, UINT count, const D3D12_RESOURCE_DESC *) override;
  D3D12_HEAP_PROPERTIES STDMETHODCALLTYPE GetCustomHeapProperties(UINT mask,
                                                                  D3D12_HEAP_TYPE) override;
  HRESULT STDMETHODCALLTYPE CreateCommittedResource(const D3D12_HEAP_PROPERTIES *,
                                                    D3D12_HEAP_FLAGS, const D3D12_RESOURCE_DESC *,
                                                    D3D12_RESOURCE_STATES,
                                                    const D3D12_CLEAR_VALUE *, REFIID,
                                                    void **) override;
  HRESULT STDMETHODCALLTYPE CreateHeap(const D3D12_HEAP_DESC *, REFIID, void **) override;
  HRESULT STDMETHODCALLTYPE CreatePlacedResource(ID3D12Heap *, UINT64 offset,
                                                 const D3D12_RESOURCE_DESC *,
                                                 D3D12_RESOURCE_STATES, const D3D12_CLEAR_VALUE *,
                                                 REFIID, void **) override;
  HRESULT STDMETHODCALLTYPE CreateReservedResource(const D3D12_RESOURCE_DESC *,
                                                   D3D12_RESOURCE_STATES,
                                                   const D3D12_CLEAR_VALUE *, REFIID,
                                                   void **) override;
  void STDMETHODCALLTYPE GetResourceTiling(ID3D12Resource *, UINT *tiles, D3D12_PACKED_MIP_INFO *,
                                           D3D12_TILE_SHAPE *, UINT *subresources, UINT first,
                                           D3D12_SUBRESOURCE_TILING *) override;
  // All memory is always resident.
  HRESULT STDMETHODCALLTYPE MakeResident(UINT, ID3D12Pageable *const *) override { return S_OK; }
  HRESULT STDMETHODCALLTYPE Evict(UINT, ID3D12Pageable *const *) override { return S_OK; }
  HRESULT STDMETHODCALLTYPE SetResidencyPriority(UINT, ID3D12Pageable *const *,
                                                 const D3D12_RESIDENCY_PRIORITY *) override {
    return S_OK;
  }
  HRESULT STDMETHODCALLTYPE EnqueueMakeResident(D3D12_RESIDENCY_FLAGS, UINT,
                                                ID3D12Pageable *const *, ID3D12Fence *fence,
                                                UINT64 value) override {
    return fence->Signal(value);
  }
};
