// The methods of the Direct3D 12 interfaces that this device lacks: a call names the method.
// The signatures are those of <directx/d3d12.h>.
#pragma once

#include "diagnostics.h"
#include "direct3d.h"

#define UNSUPPORTED(interface, result, method, ...)        \
  result STDMETHODCALLTYPE method(__VA_ARGS__) override {  \
    return unsupported<result>(#interface "::" #method);   \
  }

// What ID3D12Device5 has beyond compute on buffers.
class DeviceWithoutGraphics : public ID3D12Device5 {
 public:
  UNSUPPORTED(ID3D12Device, HRESULT, CreateGraphicsPipelineState,
              const D3D12_GRAPHICS_PIPELINE_STATE_DESC *, REFIID, void **)
  UNSUPPORTED(ID3D12Device, void, CreateRenderTargetView, ID3D12Resource *,
              const D3D12_RENDER_TARGET_VIEW_DESC *, D3D12_CPU_DESCRIPTOR_HANDLE)
  UNSUPPORTED(ID3D12Device, void, CreateDepthStencilView, ID3D12Resource *,
              const D3D12_DEPTH_STENCIL_VIEW_DESC *, D3D12_CPU_DESCRIPTOR_HANDLE)
  UNSUPPORTED(ID3D12Device, void, CreateSampler, const D3D12_SAMPLER_DESC *,
              D3D12_CPU_DESCRIPTOR_HANDLE)
  UNSUPPORTED(ID3D12Device, HRESULT, CreateSharedHandle, ID3D12DeviceChild *,
              const SECURITY_ATTRIBUTES *, DWORD, LPCWSTR, HANDLE *)
  UNSUPPORTED(ID3D12Device, HRESULT, OpenSharedHandle, HANDLE, REFIID, void **)
  UNSUPPORTED(ID3D12Device, HRESULT, OpenSharedHandleByName, LPCWSTR, DWORD,
              HANDLE *)
  UNSUPPORTED(ID3D12Device, void, GetCopyableFootprints, const D3D12_RESOURCE_DESC *, UINT, UINT,
              UINT64, D3D12_PLACED_SUBRESOURCE_FOOTPRINT *, UINT *, UINT64 *, UINT64 *)
  UNSUPPORTED(ID3D12Device, HRESULT, CreateQueryHeap, const D3D12_QUERY_HEAP_DESC *, REFIID,
              void **)
  UNSUPPORTED(ID3D12Device, HRESULT, CreateCommandSignature,
              const D3D12_COMMAND_SIGNATURE_DESC *, ID3D12RootSignature *, REFIID, void **)
  UNSUPPORTED(ID3D12Device1, HRESULT, CreatePipelineLibrary, const void *, SIZE_T, REFIID,
              void **)
  UNSUPPORTED(ID3D12Device1, HRESULT, SetEventOnMultipleFenceCompletion, ID3D12Fence *const *,
              const UINT64 *, UINT, D3D12_MULTIPLE_FENCE_WAIT_FLAGS, HANDLE)
  UNSUPPORTED(ID3D12Device2, HRESULT, CreatePipelineState,
              const D3D12_PIPELINE_STATE_STREAM_DESC *, REFIID, void **)
  UNSUPPORTED(ID3D12Device3, HRESULT, OpenExistingHeapFromAddress, const void *, REFIID, void **)
  UNSUPPORTED(ID3D12Device3, HRESULT, OpenExistingHeapFromFileMapping, HANDLE, REFIID, void **)
  UNSUPPORTED(ID3D12Device4, HRESULT, CreateProtectedResourceSession,
              const D3D12_PROTECTED_RESOURCE_SESSION_DESC *, REFIID, void **)
  UNSUPPORTED(ID3D12Device4, HRESULT, CreateCommittedResource1, const D3D12_HEAP_PROPERTIES *,
              D3D12_HEAP_FLAGS, const D3D12_RESOURCE_DESC *, D3D12_RESOURCE_STATES,
              const D3D12_CLEAR_VALUE *, ID3D12ProtectedResourceSession *, REFIID, void **)
  UNSUPPORTED(ID3D12Device4, HRESULT, CreateHeap1, const D3D12_HEAP_DESC *,
              ID3D12ProtectedResourceSession *, REFIID, void **)
  UNSUPPORTED(ID3D12Device4, HRESULT, CreateReservedResource1, const D3D12_RESOURCE_DESC *,
              D3D12_RESOURCE_STATES, const D3D12_CLEAR_VALUE *, ID3D12ProtectedResourceSession *,
              REFIID, void **)
  UNSUPPORTED(ID3D12Device4, D3D12_RESOURCE_ALLOCATION_INFO, GetResourceAllocationInfo1, UINT,
              UINT, const D3D12_RESOURCE_DESC *, D3D12_RESOURCE_ALLOCATION_INFO1 *)
  UNSUPPORTED(ID3D12Device5, HRESULT, CreateLifetimeTracker, ID3D12LifetimeOwner *, REFIID,
              void **)
  UNSUPPORTED(ID3D12Device5, HRESULT, EnumerateMetaCommandParameters, REFGUID,
              D3D12_META_COMMAND_PARAMETER_STAGE, UINT *, UINT *,
              D3D12_META_COMMAND_PARAMETER_DESC *)
  UNSUPPORTED(ID3D12Device5, HRESULT, CreateMetaCommand, REFGUID, UINT, const void *, SIZE_T,
              REFIID, void **)
  UNSUPPORTED(ID3D12Device5, HRESULT, CreateStateObject, const D3D12_STATE_OBJECT_DESC *, REFIID,
              void **)
  UNSUPPORTED(ID3D12Device5, void, GetRaytracingAccelerationStructurePrebuildInfo,
              const D3D12_BUILD_RAYTRACING_ACCELERATION_STRUCTURE_INPUTS *,
              D3D12_RAYTRACING_ACCELERATION_STRUCTURE_PREBUILD_INFO *)
  UNSUPPORTED(ID3D12Device5, D3D12_DRIVER_MATCHING_IDENTIFIER_STATUS, CheckDriverMatchingIdentifier,
              D3D12_SERIALIZED_DATA_TYPE,
              const D3D12_SERIALIZED_DATA_DRIVER_MATCHING_IDENTIFIER *)
};

// What ID3D12GraphicsCommandList2 has beyond compute on buffers.
class CommandListWithoutGraphics : public ID3D12GraphicsCommandList2 {
 public:
  UNSUPPORTED(ID3D12GraphicsCommandList, void, ClearState, ID3D12PipelineState *)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, DrawInstanced, UINT, UINT, UINT, UINT)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, DrawIndexedInstanced, UINT, UINT, UINT, INT, UINT)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, CopyTextureRegion,
              const D3D12_TEXTURE_COPY_LOCATION *, UINT, UINT, UINT,
              const D3D12_TEXTURE_COPY_LOCATION *, const D3D12_BOX *)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, CopyTiles, ID3D12Resource *,
              const D3D12_TILED_RESOURCE_COORDINATE *, const D3D12_TILE_REGION_SIZE *,
              ID3D12Resource *, UINT64, D3D12_TILE_COPY_FLAGS)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, ResolveSubresource, ID3D12Resource *, UINT,
              ID3D12Resource *, UINT, DXGI_FORMAT)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, IASetPrimitiveTopology, D3D12_PRIMITIVE_TOPOLOGY)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, RSSetViewports, UINT, const D3D12_VIEWPORT *)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, RSSetScissorRects, UINT, const D3D12_RECT *)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, OMSetBlendFactor, const FLOAT *)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, OMSetStencilRef, UINT)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, ExecuteBundle, ID3D12GraphicsCommandList *)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, SetGraphicsRootSignature, ID3D12RootSignature *)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, SetGraphicsRootDescriptorTable, UINT,
              D3D12_GPU_DESCRIPTOR_HANDLE)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, SetGraphicsRoot32BitConstant, UINT, UINT, UINT)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, SetGraphicsRoot32BitConstants, UINT, UINT,
              const void *, UINT)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, SetGraphicsRootConstantBufferView, UINT,
              D3D12_GPU_VIRTUAL_ADDRESS)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, SetGraphicsRootShaderResourceView, UINT,
              D3D12_GPU_VIRTUAL_ADDRESS)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, SetGraphicsRootUnorderedAccessView, UINT,
              D3D12_GPU_VIRTUAL_ADDRESS)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, IASetIndexBuffer, const D3D12_INDEX_BUFFER_VIEW *)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, IASetVertexBuffers, UINT, UINT,
              const D3D12_VERTEX_BUFFER_VIEW *)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, SOSetTargets, UINT, UINT,
              const D3D12_STREAM_OUTPUT_BUFFER_VIEW *)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, OMSetRenderTargets, UINT,
              const D3D12_CPU_DESCRIPTOR_HANDLE *, BOOL, const D3D12_CPU_DESCRIPTOR_HANDLE *)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, ClearDepthStencilView, D3D12_CPU_DESCRIPTOR_HANDLE,
              D3D12_CLEAR_FLAGS, FLOAT, UINT8, UINT, const D3D12_RECT *)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, ClearRenderTargetView, D3D12_CPU_DESCRIPTOR_HANDLE,
              const FLOAT *, UINT, const D3D12_RECT *)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, DiscardResource, ID3D12Resource *,
              const D3D12_DISCARD_REGION *)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, BeginQuery, ID3D12QueryHeap *, D3D12_QUERY_TYPE,
              UINT)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, EndQuery, ID3D12QueryHeap *, D3D12_QUERY_TYPE,
              UINT)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, ResolveQueryData, ID3D12QueryHeap *,
              D3D12_QUERY_TYPE, UINT, UINT, ID3D12Resource *, UINT64)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, SetPredication, ID3D12Resource *, UINT64,
              D3D12_PREDICATION_OP)
  UNSUPPORTED(ID3D12GraphicsCommandList, void, ExecuteIndirect, ID3D12CommandSignature *, UINT,
              ID3D12Resource *, UINT64, ID3D12Resource *, UINT64)
  UNSUPPORTED(ID3D12GraphicsCommandList1, void, AtomicCopyBufferUINT, ID3D12Resource *, UINT64,
              ID3D12Resource *, UINT64, UINT, ID3D12Resource *const *,
              const D3D12_SUBRESOURCE_RANGE_UINT64 *)
  UNSUPPORTED(ID3D12GraphicsCommandList1, void, AtomicCopyBufferUINT64, ID3D12Resource *, UINT64,
              ID3D12Resource *, UINT64, UINT, ID3D12Resource *const *,
              const D3D12_SUBRESOURCE_RANGE_UINT64 *)
  UNSUPPORTED(ID3D12GraphicsCommandList1, void, OMSetDepthBounds, FLOAT, FLOAT)
  UNSUPPORTED(ID3D12GraphicsCommandList1, void, SetSamplePositions, UINT, UINT,
              D3D12_SAMPLE_POSITION *)
  UNSUPPORTED(ID3D12GraphicsCommandList1, void, ResolveSubresourceRegion, ID3D12Resource *, UINT,
              UINT, UINT, ID3D12Resource *, UINT, D3D12_RECT *, DXGI_FORMAT, D3D12_RESOLVE_MODE)
  UNSUPPORTED(ID3D12GraphicsCommandList1, void, SetViewInstanceMask, UINT)
  UNSUPPORTED(ID3D12GraphicsCommandList2, void, WriteBufferImmediate, UINT,
              const D3D12_WRITEBUFFERIMMEDIATE_PARAMETER *,
              const D3D12_WRITEBUFFERIMMEDIATE_MODE *)
};

// What ID3D12CommandQueue has beyond command lists, fences and tile mappings.
class QueueOfCommandsOnly : public ID3D12CommandQueue {
 public:
  UNSUPPORTED(ID3D12CommandQueue, void, CopyTileMappings, ID3D12Resource *,
              const D3D12_TILED_RESOURCE_COORDINATE *, ID3D12Resource *,
              const D3D12_TILED_RESOURCE_COORDINATE *, const D3D12_TILE_REGION_SIZE *,
              D3D12_TILE_MAPPING_FLAGS)
  UNSUPPORTED(ID3D12CommandQueue, HRESULT, GetClockCalibration, UINT64 *, UINT64 *)
};

// What ID3D12Resource has beyond buffers.
class BufferOnly : public ID3D12Resource {
 public:
  UNSUPPORTED(ID3D12Resource, HRESULT, WriteToSubresource, UINT, const D3D12_BOX *, const void *,
              UINT, UINT)
  UNSUPPORTED(ID3D12Resource, HRESULT, ReadFromSubresource, void *, UINT, UINT, UINT,
              const D3D12_BOX *)
};

#undef UNSUPPORTED
