// Descriptor heaps, and the views of buffers in them.
//
// https://learn.microsoft.com/windows/win32/direct3d12/descriptor-heaps
// A handle is the address of a Descriptor (shader_abi.h), for the host and the device alike.
#pragma once

#include <vector>

#include "memory.h"
#include "shader_abi.h"

// Views that fit the buffer, or a null view that reads zeros for a null buffer.
Descriptor unordered_access_view(Buffer *buffer, const D3D12_UNORDERED_ACCESS_VIEW_DESC *view);
Descriptor shader_resource_view(Buffer *buffer, const D3D12_SHADER_RESOURCE_VIEW_DESC *view);
Descriptor constant_buffer_view(const D3D12_CONSTANT_BUFFER_VIEW_DESC *view);

// Bytes of one element of a typed buffer; 0 if the format is not supported (see load_typed in
// shader_runtime.cpp).
uint32_t typed_format_size(uint32_t format);

class DescriptorHeap final
    : public DeviceChild<ID3D12DescriptorHeap, ID3D12DescriptorHeap, ID3D12Pageable> {
 public:
  DescriptorHeap(ID3D12Device *device, const D3D12_DESCRIPTOR_HEAP_DESC &description)
      : DeviceChild(device), description_(description), descriptors_(description.NumDescriptors) {}
  D3D12_DESCRIPTOR_HEAP_DESC STDMETHODCALLTYPE GetDesc() override { return description_; }
  D3D12_CPU_DESCRIPTOR_HANDLE STDMETHODCALLTYPE GetCPUDescriptorHandleForHeapStart() override {
    return {reinterpret_cast<SIZE_T>(descriptors_.data())};
  }
  D3D12_GPU_DESCRIPTOR_HANDLE STDMETHODCALLTYPE GetGPUDescriptorHandleForHeapStart() override {
    return {reinterpret_cast<UINT64>(descriptors_.data())};
  }

 private:
  D3D12_DESCRIPTOR_HEAP_DESC description_;
  std::vector<Descriptor> descriptors_;
};
