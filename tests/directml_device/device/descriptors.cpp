#include "descriptors.h"

uint32_t typed_format_size(uint32_t format) {
  switch (format) {
    case DXGI_FORMAT_R32G32_UINT: return 8;
    case DXGI_FORMAT_R32_FLOAT: case DXGI_FORMAT_R32_UINT: case DXGI_FORMAT_R32_SINT: return 4;
    case DXGI_FORMAT_R16_FLOAT: case DXGI_FORMAT_R16_UINT: case DXGI_FORMAT_R16_SINT: return 2;
    case DXGI_FORMAT_R8_UINT: case DXGI_FORMAT_R8_SINT: return 1;
    default: return 0;
  }
}

// The three kinds of buffer views: raw (in words), structured (in structures), typed.
static Descriptor buffer_view(Buffer *buffer, uint64_t first, uint64_t count, uint32_t stride,
                              bool raw, uint32_t format) {
  Descriptor view = {};
  uint64_t element = 4;
  if (raw) {
    view.stride = 1;
  } else if (stride) {
    view.stride = stride;
    element = stride;
  } else {
    element = typed_format_size(format);
    if (!element) {
      report_unsupported_detail("a typed buffer of DXGI_FORMAT %u", format);
      return {};
    }
    view.format = format;
  }
  // Direct3D forbids views that pass the end; here such a view ends with its buffer.
  if (first * element > buffer->bytes()) return {};
  view.base = buffer->base() + first * element;
  view.bytes = count * element;
  if (view.bytes > buffer->bytes() - first * element)
    view.bytes = buffer->bytes() - first * element;
  return view;
}

Descriptor unordered_access_view(Buffer *buffer, const D3D12_UNORDERED_ACCESS_VIEW_DESC *view) {
  if (!buffer) return {};
  if (!view || view->ViewDimension != D3D12_UAV_DIMENSION_BUFFER)
    abort_unsupported("an unordered access view of anything but a buffer");
  return buffer_view(buffer, view->Buffer.FirstElement, view->Buffer.NumElements,
                     view->Buffer.StructureByteStride,
                     view->Buffer.Flags & D3D12_BUFFER_UAV_FLAG_RAW, view->Format);
}

Descriptor shader_resource_view(Buffer *buffer, const D3D12_SHADER_RESOURCE_VIEW_DESC *view) {
  if (!buffer) return {};
  if (!view || view->ViewDimension != D3D12_SRV_DIMENSION_BUFFER)
    abort_unsupported("a shader resource view of anything but a buffer");
  return buffer_view(buffer, view->Buffer.FirstElement, view->Buffer.NumElements,
                     view->Buffer.StructureByteStride,
                     view->Buffer.Flags & D3D12_BUFFER_SRV_FLAG_RAW, view->Format);
}

Descriptor constant_buffer_view(const D3D12_CONSTANT_BUFFER_VIEW_DESC *view) {
  if (!view) return {};
  return {reinterpret_cast<uint8_t *>(view->BufferLocation), view->SizeInBytes, 0, 16};
}
