// The functions of libd3d12.so that an application calls first.
#include <string>

#include "device.h"
#include "faults.h"
#include "exports.h"
#include "root_signature.h"

// The headers for Linux forget this one.
__CRT_UUID_DECL(ID3D10Blob, 0x8ba5fb08, 0x5195, 0x40e2, 0xac, 0x58, 0x0d, 0x98, 0x9c, 0x3a, 0x01,
                0x02)

namespace {

class Blob final : public Object<ID3DBlob, ID3DBlob> {
 public:
  explicit Blob(std::string bytes) : bytes_(std::move(bytes)) {}
  LPVOID STDMETHODCALLTYPE GetBufferPointer() override { return &bytes_[0]; }
  SIZE_T STDMETHODCALLTYPE GetBufferSize() override { return bytes_.size(); }

 private:
  std::string bytes_;
};

}  // namespace

// One device for the process, as Direct3D has one for an adapter. It is never destroyed.
EXPORT HRESULT D3D12CreateDevice(IUnknown *, D3D_FEATURE_LEVEL, REFIID iid, void **device) {
  static Device *only = new Device;
  if (device_removed()) return DXGI_ERROR_DEVICE_REMOVED;
  return device ? only->QueryInterface(iid, device) : S_FALSE;
}

EXPORT HRESULT D3D12SerializeVersionedRootSignature(
    const D3D12_VERSIONED_ROOT_SIGNATURE_DESC *description, ID3DBlob **blob, ID3DBlob **error) {
  if (error) *error = nullptr;
  std::string container;
  const HRESULT result = serialize_root_signature(*description, &container);
  if (SUCCEEDED(result)) *blob = new Blob(container);
  return result;
}

// There is no debug layer.
EXPORT HRESULT D3D12GetDebugInterface(REFIID, void **debug) {
  if (debug) *debug = nullptr;
  return E_NOINTERFACE;
}
