// The RTS0 part: https://llvm.org/docs/DirectX/DXContainer.html#root-signature-rts0-part
#include "root_signature.h"

#include "dx_container.h"

static const uint32_t kAppend = D3D12_DESCRIPTOR_RANGE_OFFSET_APPEND;

namespace {

// Words that grow, with places whose value is known later.
class Words {
 public:
  size_t add(uint32_t word) { words_.push_back(word); return words_.size() - 1; }
  void set(size_t place, uint32_t word) { words_[place] = word; }
  uint32_t position() const { return static_cast<uint32_t>(words_.size() * 4); }
  std::string bytes() const {
    return std::string(reinterpret_cast<const char *>(words_.data()), words_.size() * 4);
  }

 private:
  std::vector<uint32_t> words_;
};

// Reads words at byte positions; beyond the end everything is 0 and `damaged` is set.
struct Reader {
  const uint8_t *bytes;
  size_t size;
  bool damaged = false;
  uint32_t at(uint64_t position) {
    uint32_t word = 0;
    if (position + 4 > size) damaged = true;
    else memcpy(&word, bytes + position, 4);
    return word;
  }
};

template <class Parameter> void add_parameters(Words &words, const Parameter *parameters,
                                               UINT count) {
  constexpr bool flags = !std::is_same<Parameter, D3D12_ROOT_PARAMETER>::value;
  std::vector<size_t> places;
  for (UINT i = 0; i < count; i++) {
    words.add(parameters[i].ParameterType);
    words.add(parameters[i].ShaderVisibility);
    places.push_back(words.add(0));
  }
  for (UINT i = 0; i < count; i++) {
    const Parameter &parameter = parameters[i];
    words.set(places[i], words.position());
    if (parameter.ParameterType == D3D12_ROOT_PARAMETER_TYPE_DESCRIPTOR_TABLE) {
      words.add(parameter.DescriptorTable.NumDescriptorRanges);
      words.add(words.position() + 4);
      for (UINT k = 0; k < parameter.DescriptorTable.NumDescriptorRanges; k++) {
        const auto &range = parameter.DescriptorTable.pDescriptorRanges[k];
        words.add(range.RangeType);
        words.add(range.NumDescriptors);
        words.add(range.BaseShaderRegister);
        words.add(range.RegisterSpace);
        if constexpr (flags) words.add(range.Flags);
        words.add(range.OffsetInDescriptorsFromTableStart);
      }
    } else if (parameter.ParameterType == D3D12_ROOT_PARAMETER_TYPE_32BIT_CONSTANTS) {
      words.add(parameter.Constants.ShaderRegister);
      words.add(parameter.Constants.RegisterSpace);
      words.add(parameter.Constants.Num32BitValues);
    } else {
      words.add(parameter.Descriptor.ShaderRegister);
      words.add(parameter.Descriptor.RegisterSpace);
      if constexpr (flags) words.add(parameter.Descriptor.Flags);
    }
  }
}

}  // namespace

HRESULT serialize_root_signature(const D3D12_VERSIONED_ROOT_SIGNATURE_DESC &description,
                                 std::string *container) {
  const bool newer = description.Version == D3D_ROOT_SIGNATURE_VERSION_1_1;
  if (!newer && description.Version != D3D_ROOT_SIGNATURE_VERSION_1_0) return E_INVALIDARG;
  // Both versions begin with the same fields.
  if (description.Desc_1_0.NumStaticSamplers) {
    report_unsupported("a root signature with static samplers");
    return E_NOTIMPL;
  }
  Words part;
  for (uint32_t word : {static_cast<uint32_t>(description.Version),
                        description.Desc_1_0.NumParameters, 24u, 0u, 24u,
                        static_cast<uint32_t>(description.Desc_1_0.Flags)})
    part.add(word);
  if (newer)
    add_parameters(part, description.Desc_1_1.pParameters, description.Desc_1_1.NumParameters);
  else
    add_parameters(part, description.Desc_1_0.pParameters, description.Desc_1_0.NumParameters);

  Words header;
  header.add(0x43425844);  // "DXBC"
  for (int i = 0; i < 4; i++) header.add(0);
  header.add(1);
  header.add(44 + part.position());
  header.add(1);
  header.add(36);
  header.add(0x30535452);  // "RTS0"
  header.add(part.position());
  *container = header.bytes() + part.bytes();
  return S_OK;
}

std::shared_ptr<const RootSignatureLayout> parse_root_signature(const void *bytes, size_t size) {
  size_t part_size;
  const uint8_t *part = find_part(bytes, size, "RTS0", &part_size);
  if (!part) return nullptr;
  Reader reader{part, part_size};
  auto layout = std::make_shared<RootSignatureLayout>();
  const uint32_t range_bytes = reader.at(0) >= 2 ? 24 : 20;
  const uint32_t parameters = reader.at(4), first = reader.at(8);
  bool other_space = false;
  for (uint32_t i = 0; i < parameters && !reader.damaged; i++) {
    const uint64_t position = first + 12ull * i;
    const uint32_t data = reader.at(position + 8);
    RootSignatureLayout::Parameter parameter{reader.at(position), 0, {}};
    if (parameter.type == D3D12_ROOT_PARAMETER_TYPE_DESCRIPTOR_TABLE) {
      const uint32_t ranges = reader.at(data), begin = reader.at(data + 4);
      uint32_t next = 0;
      for (uint32_t k = 0; k < ranges && !reader.damaged; k++) {
        const uint64_t range = begin + static_cast<uint64_t>(k) * range_bytes;
        const uint32_t count = reader.at(range + 4);
        uint32_t offset = reader.at(range + range_bytes - 4);
        if (offset == kAppend) offset = next;
        next = offset + count;
        other_space |= reader.at(range + 12) != 0;
        parameter.ranges.push_back({reader.at(range), count, reader.at(range + 8), offset});
      }
    } else {
      parameter.first_register = reader.at(data);
      other_space |= reader.at(data + 4) != 0;
    }
    layout->parameters.push_back(parameter);
  }
  if (other_space) report_unsupported("a root signature with registers in a space other than 0");
  return reader.damaged || other_space ? nullptr : layout;
}

// The group's view at a register, or null if there are not so many.
static Descriptor *slot(Group *group, uint32_t range_type, uint32_t number) {
  switch (range_type) {
    case D3D12_DESCRIPTOR_RANGE_TYPE_SRV:
      return number < kMaxSrvs ? &group->srvs[number] : nullptr;
    case D3D12_DESCRIPTOR_RANGE_TYPE_UAV:
      return number < kMaxUavs ? &group->uavs[number] : nullptr;
    case D3D12_DESCRIPTOR_RANGE_TYPE_CBV:
      return number < kMaxCbvs ? &group->cbvs[number] : nullptr;
    default: return nullptr;
  }
}

static void bind(Group *group, uint32_t range_type, uint32_t number, const Descriptor &view) {
  Descriptor *found = slot(group, range_type, number);
  if (found) *found = view;
}

void bind_arguments(const RootSignatureLayout &layout, const std::vector<RootArgument> &arguments,
                    Group *group) {
  // A root descriptor knows no size; a shader must not pass the end of the buffer.
  const uint64_t kUnknownSize = UINT64_MAX >> 1;
  for (size_t i = 0; i < layout.parameters.size() && i < arguments.size(); i++) {
    const RootSignatureLayout::Parameter &parameter = layout.parameters[i];
    const RootArgument &argument = arguments[i];
    uint8_t *address = reinterpret_cast<uint8_t *>(argument.address);
    switch (parameter.type) {
      case D3D12_ROOT_PARAMETER_TYPE_DESCRIPTOR_TABLE: {
        if (!address) break;
        const Descriptor *table = reinterpret_cast<const Descriptor *>(address);
        // An unbounded range ends where the registers do.
        for (const auto &range : parameter.ranges)
          for (uint32_t k = 0; k < range.count; k++) {
            if (!slot(group, range.type, range.first_register + k)) break;
            bind(group, range.type, range.first_register + k, table[range.offset + k]);
          }
        break;
      }
      case D3D12_ROOT_PARAMETER_TYPE_32BIT_CONSTANTS: {
        const uint32_t *values = argument.constants.data();
        bind(group, D3D12_DESCRIPTOR_RANGE_TYPE_CBV, parameter.first_register,
             {reinterpret_cast<uint8_t *>(const_cast<uint32_t *>(values)),
              argument.constants.size() * 4, 0, 16});
        break;
      }
      case D3D12_ROOT_PARAMETER_TYPE_CBV:
        bind(group, D3D12_DESCRIPTOR_RANGE_TYPE_CBV, parameter.first_register,
             {address, 65536, 0, 16});
        break;
      case D3D12_ROOT_PARAMETER_TYPE_SRV:
        bind(group, D3D12_DESCRIPTOR_RANGE_TYPE_SRV, parameter.first_register,
             {address, kUnknownSize, 0, 4});
        break;
      case D3D12_ROOT_PARAMETER_TYPE_UAV:
        bind(group, D3D12_DESCRIPTOR_RANGE_TYPE_UAV, parameter.first_register,
             {address, kUnknownSize, 0, 4});
        break;
      default: abort_unsupported("a root parameter of unknown type");
    }
  }
}
