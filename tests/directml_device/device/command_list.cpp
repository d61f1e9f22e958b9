#include "command_list.h"

#include <chrono>
#include <cstdlib>

#include "faults.h"
#include "statistics.h"
#include "thread_groups.h"

CommandList::CommandList(ID3D12Device *device, D3D12_COMMAND_LIST_TYPE type,
                         ID3D12PipelineState *pipeline)
    : DeviceChild(device), type_(type) {
  SetPipelineState(pipeline);
}

HRESULT CommandList::Close() {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  if (!open_) return E_FAIL;
  open_ = false;
  return S_OK;
}

HRESULT CommandList::Reset(ID3D12CommandAllocator *, ID3D12PipelineState *pipeline) {
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  if (open_) return E_FAIL;
  open_ = true;
  commands_ = std::make_shared<Commands>();
  layout_ = nullptr;
  arguments_.clear();
  SetPipelineState(pipeline);
  return S_OK;
}

void CommandList::SetPipelineState(ID3D12PipelineState *pipeline) {
  shader_ = pipeline ? static_cast<PipelineState *>(pipeline)->shader() : nullptr;
}

// A new signature makes all arguments invalid; the same one keeps them.
void CommandList::SetComputeRootSignature(ID3D12RootSignature *signature) {
  const auto layout = signature ? static_cast<RootSignature *>(signature)->layout() : nullptr;
  if (layout == layout_) return;
  layout_ = layout;
  arguments_.clear();
}

RootArgument &CommandList::argument(UINT parameter) {
  if (parameter >= arguments_.size()) arguments_.resize(parameter + 1);
  return arguments_[parameter];
}

void CommandList::SetComputeRootDescriptorTable(UINT parameter,
                                                D3D12_GPU_DESCRIPTOR_HANDLE table) {
  argument(parameter).address = table.ptr;
}

void CommandList::SetComputeRoot32BitConstant(UINT parameter, UINT value, UINT offset) {
  SetComputeRoot32BitConstants(parameter, 1, &value, offset);
}

void CommandList::SetComputeRoot32BitConstants(UINT parameter, UINT count, const void *values,
                                               UINT offset) {
  std::vector<uint32_t> &constants = argument(parameter).constants;
  // Shaders read rows of four words.
  const size_t needed = (static_cast<size_t>(offset) + count + 3) & ~static_cast<size_t>(3);
  if (constants.size() < needed) constants.resize(needed);
  memcpy(constants.data() + offset, values, 4 * static_cast<size_t>(count));
}

void CommandList::SetComputeRootConstantBufferView(UINT parameter,
                                                   D3D12_GPU_VIRTUAL_ADDRESS address) {
  argument(parameter).address = address;
}

void CommandList::SetComputeRootShaderResourceView(UINT parameter,
                                                   D3D12_GPU_VIRTUAL_ADDRESS address) {
  argument(parameter).address = address;
}

void CommandList::SetComputeRootUnorderedAccessView(UINT parameter,
                                                    D3D12_GPU_VIRTUAL_ADDRESS address) {
  argument(parameter).address = address;
}

static void dispatch(const Shader &shader, const RootSignatureLayout &layout,
                     const std::vector<RootArgument> &arguments, const uint32_t grid[3]) {
  if (!begin_dispatch()) return;
  count_dispatch(shader.name);
  Group group = {};
  group.unsupported = [](const char *instruction, uint32_t opcode) {
    report_unsupported_detail("DXIL instruction %s %u", instruction, opcode);
    abort();
  };
  memcpy(group.size, shader.group_size, sizeof group.size);
  group.flipped_bits = flipped_bits(shader.number, shader.instructions);
  bind_arguments(layout, arguments, &group);
  const auto begin = std::chrono::steady_clock::now();
  run_thread_groups(shader, group, grid);
  if (tracing()) {
    const std::chrono::duration<double, std::milli> time =
        std::chrono::steady_clock::now() - begin;
    trace("dispatch of shader %llu (%s): %ux%ux%u groups of %ux%ux%u threads, %.3f ms",
          static_cast<unsigned long long>(shader.number), shader.name.c_str(), grid[0], grid[1],
          grid[2], group.size[0], group.size[1], group.size[2], time.count());
  }
}

void CommandList::Dispatch(UINT x, UINT y, UINT z) {
  if (!shader_ || !layout_) return;
  commands_->push_back([shader = shader_, layout = layout_, arguments = arguments_, x, y, z] {
    const uint32_t grid[3] = {x, y, z};
    dispatch(*shader, *layout, arguments, grid);
  });
}

void CommandList::CopyBufferRegion(ID3D12Resource *to, UINT64 to_offset, ID3D12Resource *from,
                                   UINT64 from_offset, UINT64 bytes) {
  const Buffer *target = static_cast<Buffer *>(to), *source = static_cast<Buffer *>(from);
  if (to_offset > target->bytes() || bytes > target->bytes() - to_offset ||
      from_offset > source->bytes() || bytes > source->bytes() - from_offset)
    abort_unsupported("a copy beyond the end of a buffer");
  const bool from_host = source->host_visible(), to_host = target->host_visible();
  // The storage is held so that it outlives the command.
  commands_->push_back([target_storage = target->storage(), source_storage = source->storage(),
                        target_address = target->base() + to_offset,
                        source_address = source->base() + from_offset, bytes, from_host, to_host] {
    if (device_removed()) return;
    memmove(target_address, source_address, bytes);
    count_copy(from_host, to_host, bytes);
  });
}

void CommandList::CopyResource(ID3D12Resource *to, ID3D12Resource *from) {
  CopyBufferRegion(to, 0, from, 0, static_cast<Buffer *>(from)->bytes());
}

static void clear(const Descriptor &view, const void *value) {
  const uint64_t size = view.format ? typed_format_size(view.format) : 4;
  for (uint64_t i = 0; i + size <= view.bytes; i += size) memcpy(view.base + i, value, size);
}

void CommandList::ClearUnorderedAccessViewUint(D3D12_GPU_DESCRIPTOR_HANDLE,
                                               D3D12_CPU_DESCRIPTOR_HANDLE view,
                                               ID3D12Resource *resource, const UINT values[4],
                                               UINT count, const D3D12_RECT *) {
  if (count) abort_unsupported("a clear of a part of a view");
  const Descriptor descriptor = *reinterpret_cast<const Descriptor *>(view.ptr);
  const uint64_t value = values[0] | static_cast<uint64_t>(values[1]) << 32;
  commands_->push_back([storage = static_cast<Buffer *>(resource)->storage(), descriptor, value] {
    if (device_removed()) return;
    statistics().clears++;
    clear(descriptor, &value);
  });
}

void CommandList::ClearUnorderedAccessViewFloat(D3D12_GPU_DESCRIPTOR_HANDLE gpu,
                                                D3D12_CPU_DESCRIPTOR_HANDLE view,
                                                ID3D12Resource *resource, const FLOAT values[4],
                                                UINT count, const D3D12_RECT *rectangles) {
  const uint32_t format = reinterpret_cast<const Descriptor *>(view.ptr)->format;
  if (format != 0 && format != DXGI_FORMAT_R32_FLOAT)
    abort_unsupported("a clear of a view in another format than 32-bit floats");
  UINT bits[4];
  memcpy(bits, values, sizeof bits);
  ClearUnorderedAccessViewUint(gpu, view, resource, bits, count, rectangles);
}
