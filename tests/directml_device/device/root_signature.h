// Root signatures: which registers of a shader the arguments of a command list fill.
//
// https://learn.microsoft.com/windows/win32/direct3d12/root-signatures
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "object.h"
#include "shader_abi.h"

struct RootSignatureLayout {
  struct Range {
    uint32_t type;      // D3D12_DESCRIPTOR_RANGE_TYPE
    uint32_t count;
    uint32_t first_register;
    uint32_t offset;    // in descriptors from the table's start
  };
  struct Parameter {
    uint32_t type;      // D3D12_ROOT_PARAMETER_TYPE
    uint32_t first_register;
    std::vector<Range> ranges;
  };
  std::vector<Parameter> parameters;
};

// What a command list sets for one parameter.
struct RootArgument {
  uint64_t address = 0;             // of a table's first descriptor or of a buffer
  std::vector<uint32_t> constants;  // of 32-bit constants
};

class RootSignature final : public DeviceChild<ID3D12RootSignature, ID3D12RootSignature> {
 public:
  RootSignature(ID3D12Device *device, std::shared_ptr<const RootSignatureLayout> layout)
      : DeviceChild(device), layout_(std::move(layout)) {}
  const std::shared_ptr<const RootSignatureLayout> &layout() const { return layout_; }

 private:
  std::shared_ptr<const RootSignatureLayout> layout_;
};

// The container with an RTS0 part that CreateRootSignature takes.
HRESULT serialize_root_signature(const D3D12_VERSIONED_ROOT_SIGNATURE_DESC &description,
                                 std::string *container);
// Null if the bytes are damaged or ask for what is not supported.
std::shared_ptr<const RootSignatureLayout> parse_root_signature(const void *bytes, size_t size);

// Fills the group's views as the arguments say. The arguments have to outlive the group.
void bind_arguments(const RootSignatureLayout &layout, const std::vector<RootArgument> &arguments,
                    Group *group);
