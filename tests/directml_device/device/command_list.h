// Command lists: a record of dispatches and copies that a queue carries out later.
//
// https://learn.microsoft.com/windows/win32/direct3d12/recording-command-lists-and-bundles
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "descriptors.h"
#include "root_signature.h"
#include "shader_compiler.h"

class PipelineState final
    : public DeviceChild<ID3D12PipelineState, ID3D12PipelineState, ID3D12Pageable> {
 public:
  PipelineState(ID3D12Device *device, std::shared_ptr<const Shader> shader)
      : DeviceChild(device), shader_(std::move(shader)) {}
  HRESULT STDMETHODCALLTYPE GetCachedBlob(ID3DBlob **) override {
    return unsupported<HRESULT>("ID3D12PipelineState::GetCachedBlob");
  }
  const std::shared_ptr<const Shader> &shader() const { return shader_; }

 private:
  std::shared_ptr<const Shader> shader_;
};

// Recorded commands hold what they use themselves, so an allocator has nothing to keep.
class CommandAllocator final
    : public DeviceChild<ID3D12CommandAllocator, ID3D12CommandAllocator, ID3D12Pageable> {
 public:
  using DeviceChild::DeviceChild;
  HRESULT STDMETHODCALLTYPE Reset() override { return S_OK; }
};

typedef std::vector<std::function<void()>> Commands;

class CommandList final
    : public DeviceChild<CommandListWithoutGraphics, ID3D12GraphicsCommandList2,
                         ID3D12GraphicsCommandList1, ID3D12GraphicsCommandList,
                         ID3D12CommandList> {
 public:
  CommandList(ID3D12Device *device, D3D12_COMMAND_LIST_TYPE type, ID3D12PipelineState *pipeline);
  // What has been recorded up to Close; stays as it is when the list is reset.
  const std::shared_ptr<Commands> &commands() const { return commands_; }

  D3D12_COMMAND_LIST_TYPE STDMETHODCALLTYPE GetType() override { return type_; }
  HRESULT STDMETHODCALLTYPE Close() override;
  HRESULT STDMETHODCALLTYPE Reset(ID3D12CommandAllocator *, ID3D12PipelineState *) override;

  void STDMETHODCALLTYPE SetPipelineState(ID3D12PipelineState *) override;
  void STDMETHODCALLTYPE SetDescriptorHeaps(UINT, ID3D12DescriptorHeap *const *) override {}
  void STDMETHODCALLTYPE SetComputeRootSignature(ID3D12RootSignature *) override;
  void STDMETHODCALLTYPE SetComputeRootDescriptorTable(UINT parameter,
                                                       D3D12_GPU_DESCRIPTOR_HANDLE) override;
  void STDMETHODCALLTYPE SetComputeRoot32BitConstant(UINT parameter, UINT value,
                                                     UINT offset) override;
  void STDMETHODCALLTYPE SetComputeRoot32BitConstants(UINT parameter, UINT count,
                                                      const void *values, UINT offset) override;
  void STDMETHODCALLTYPE SetComputeRootConstantBufferView(UINT parameter,
                                                          D3D12_GPU_VIRTUAL_ADDRESS) override;
  void STDMETHODCALLTYPE SetComputeRootShaderResourceView(UINT parameter,
                                                          D3D12_GPU_VIRTUAL_ADDRESS) override;
  void STDMETHODCALLTYPE SetComputeRootUnorderedAccessView(UINT parameter,
                                                           D3D12_GPU_VIRTUAL_ADDRESS) override;

  void STDMETHODCALLTYPE Dispatch(UINT x, UINT y, UINT z) override;
  void STDMETHODCALLTYPE CopyBufferRegion(ID3D12Resource *to, UINT64 to_offset,
                                          ID3D12Resource *from, UINT64 from_offset,
                                          UINT64 bytes) override;
  void STDMETHODCALLTYPE CopyResource(ID3D12Resource *to, ID3D12Resource *from) override;
  void STDMETHODCALLTYPE ClearUnorderedAccessViewUint(D3D12_GPU_DESCRIPTOR_HANDLE,
                                                      D3D12_CPU_DESCRIPTOR_HANDLE view,
                                                      ID3D12Resource *, const UINT values[4], UINT,
                                                      const D3D12_RECT *) override;
  void STDMETHODCALLTYPE ClearUnorderedAccessViewFloat(D3D12_GPU_DESCRIPTOR_HANDLE,
                                                       D3D12_CPU_DESCRIPTOR_HANDLE view,
                                                       ID3D12Resource *, const FLOAT values[4],
                                                       UINT, const D3D12_RECT *) override;
  // A queue ends each command before it begins the next one, so states and barriers between
  // commands ask for nothing more. Markers and events are for profilers.
  void STDMETHODCALLTYPE ResourceBarrier(UINT, const D3D12_RESOURCE_BARRIER *) override {}
  void STDMETHODCALLTYPE SetMarker(UINT, const void *, UINT) override {}
  void STDMETHODCALLTYPE BeginEvent(UINT, const void *, UINT) override {}
  void STDMETHODCALLTYPE EndEvent() override {}

 private:
  RootArgument &argument(UINT parameter);
  D3D12_COMMAND_LIST_TYPE type_;
  bool open_ = true;
  std::shared_ptr<Commands> commands_ = std::make_shared<Commands>();
  std::shared_ptr<const Shader> shader_;
  std::shared_ptr<const RootSignatureLayout> layout_;
  std::vector<RootArgument> arguments_;
};
