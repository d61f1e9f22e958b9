// libdxcore.so: a list of adapters with one in it, the software device of libd3d12.so.
//
// https://learn.microsoft.com/windows/win32/dxcore/dxcore
// DirectML on Linux looks here for an adapter that can compute.
// So that the attributes' GUIDs are defined here and not only declared.
#define INITGUID
#include <wsl/winadapter.h>

#include <directx/dxcore.h>

#include <dxguids/dxguids.h>

#include <cstring>

#include "adapter.h"
#include "exports.h"

static const char kName[] = "Software Direct3D 12 device on the CPU";

static bool same_guid(const GUID &a, const GUID &b) { return !memcmp(&a, &b, sizeof(GUID)); }

static IDXCoreAdapterFactory *factory();

// The three objects exist once and for ever, so their counts mean nothing.
template <class Interface> class Singleton : public Interface {
 public:
  HRESULT STDMETHODCALLTYPE QueryInterface(REFIID iid, void **object) override {
    if (!object) return E_POINTER;
    const bool known = same_guid(iid, __uuidof(Interface)) || same_guid(iid, __uuidof(IUnknown));
    *object = known ? this : nullptr;
    return known ? S_OK : E_NOINTERFACE;
  }
  ULONG STDMETHODCALLTYPE AddRef() override { return 1; }
  ULONG STDMETHODCALLTYPE Release() override { return 1; }
};

namespace {

// The bytes of one property.
struct Property {
  const void *data;
  size_t size;
};

class Adapter final : public Singleton<IDXCoreAdapter> {
 public:
  bool STDMETHODCALLTYPE IsValid() override { return true; }
  bool STDMETHODCALLTYPE IsAttributeSupported(REFGUID attribute) override {
    return same_guid(attribute, DXCORE_ADAPTER_ATTRIBUTE_D3D12_CORE_COMPUTE) ||
           same_guid(attribute, DXCORE_ADAPTER_ATTRIBUTE_D3D12_GRAPHICS);
  }
  bool STDMETHODCALLTYPE IsPropertySupported(DXCoreAdapterProperty property) override {
    return find(property).data != nullptr;
  }
  HRESULT STDMETHODCALLTYPE GetProperty(DXCoreAdapterProperty property, size_t room,
                                        void *data) override {
    const Property found = find(property);
    if (!found.data) return DXGI_ERROR_UNSUPPORTED;
    if (room < found.size) return E_INVALIDARG;
    memcpy(data, found.data, found.size);
    return S_OK;
  }
  HRESULT STDMETHODCALLTYPE GetPropertySize(DXCoreAdapterProperty property,
                                            size_t *size) override {
    const Property found = find(property);
    if (!found.data) return DXGI_ERROR_UNSUPPORTED;
    *size = found.size;
    return S_OK;
  }
  bool STDMETHODCALLTYPE IsQueryStateSupported(DXCoreAdapterState state) override {
    return state == DXCoreAdapterState::AdapterMemoryBudget;
  }
  HRESULT STDMETHODCALLTYPE QueryState(DXCoreAdapterState state, size_t, const void *, size_t room,
                                       void *data) override {
    if (state != DXCoreAdapterState::AdapterMemoryBudget) return DXGI_ERROR_UNSUPPORTED;
    const DXCoreAdapterMemoryBudget budget = {kAdapterMemory, 0, kAdapterMemory / 2, 0};
    if (room < sizeof budget) return E_INVALIDARG;
    memcpy(data, &budget, sizeof budget);
    return S_OK;
  }
  bool STDMETHODCALLTYPE IsSetStateSupported(DXCoreAdapterState) override { return false; }
  HRESULT STDMETHODCALLTYPE SetState(DXCoreAdapterState, size_t, const void *, size_t,
                                     const void *) override {
    return DXGI_ERROR_UNSUPPORTED;
  }
  HRESULT STDMETHODCALLTYPE GetFactory(REFIID iid, void **object) override {
    return factory()->QueryInterface(iid, object);
  }

 private:
  template <class Value> static Property bytes(const Value &value) {
    return {&value, sizeof value};
  }
  static Property find(DXCoreAdapterProperty property) {
    static const uint64_t driver_version = 1ull << 48 | 1, none = 0;
    static const uint32_t driver_model = 2700;
    static const bool yes = true, no = false;
    static const DXCoreHardwareID id = {0x10005, 0, 0, 0};
    static const DXCoreHardwareIDParts parts = {0x10005, 0, 0, 0, 0};
    switch (property) {
      case DXCoreAdapterProperty::InstanceLuid: return bytes(kAdapterLuid);
      case DXCoreAdapterProperty::DriverVersion: return bytes(driver_version);
      case DXCoreAdapterProperty::DriverDescription: return bytes(kName);
      case DXCoreAdapterProperty::HardwareID: return bytes(id);
      case DXCoreAdapterProperty::HardwareIDParts: return bytes(parts);
      case DXCoreAdapterProperty::KmdModelVersion: return bytes(driver_model);
      case DXCoreAdapterProperty::DedicatedAdapterMemory: return bytes(kAdapterMemory);
      case DXCoreAdapterProperty::DedicatedSystemMemory: return bytes(none);
      case DXCoreAdapterProperty::SharedSystemMemory: return bytes(kAdapterMemory);
      case DXCoreAdapterProperty::AcgCompatible: return bytes(yes);
      // Not quite true: TensorFlow takes no adapter that calls itself software.
      case DXCoreAdapterProperty::IsHardware: return bytes(yes);
      case DXCoreAdapterProperty::IsIntegrated: return bytes(no);
      case DXCoreAdapterProperty::IsDetachable: return bytes(no);
      default: return {nullptr, 0};
    }
  }
};

IDXCoreAdapter *adapter() {
  static Adapter *only = new Adapter;
  return only;
}

class AdapterList final : public Singleton<IDXCoreAdapterList> {
 public:
  HRESULT STDMETHODCALLTYPE GetAdapter(uint32_t index, REFIID iid, void **object) override {
    return index == 0 ? adapter()->QueryInterface(iid, object) : E_INVALIDARG;
  }
  uint32_t STDMETHODCALLTYPE GetAdapterCount() override { return 1; }
  bool STDMETHODCALLTYPE IsStale() override { return false; }
  HRESULT STDMETHODCALLTYPE GetFactory(REFIID iid, void **object) override {
    return factory()->QueryInterface(iid, object);
  }
  HRESULT STDMETHODCALLTYPE Sort(uint32_t, const DXCoreAdapterPreference *) override {
    return S_OK;
  }
  bool STDMETHODCALLTYPE IsAdapterPreferenceSupported(DXCoreAdapterPreference) override {
    return true;
  }
};

class Factory final : public Singleton<IDXCoreAdapterFactory> {
 public:
  HRESULT STDMETHODCALLTYPE CreateAdapterList(uint32_t, const GUID *, REFIID iid,
                                              void **object) override {
    static AdapterList *only = new AdapterList;
    return only->QueryInterface(iid, object);
  }
  HRESULT STDMETHODCALLTYPE GetAdapterByLuid(const LUID &luid, REFIID iid,
                                             void **object) override {
    if (memcmp(&luid, &kAdapterLuid, sizeof luid)) return E_INVALIDARG;
    return adapter()->QueryInterface(iid, object);
  }
  // The adapter never changes, so nobody is ever notified.
  bool STDMETHODCALLTYPE IsNotificationTypeSupported(DXCoreNotificationType) override {
    return true;
  }
  HRESULT STDMETHODCALLTYPE RegisterEventNotification(IUnknown *, DXCoreNotificationType,
                                                      PFN_DXCORE_NOTIFICATION_CALLBACK, void *,
                                                      uint32_t *cookie) override {
    *cookie = 1;
    return S_OK;
  }
  HRESULT STDMETHODCALLTYPE UnregisterEventNotification(uint32_t) override { return S_OK; }
};

}  // namespace

static IDXCoreAdapterFactory *factory() {
  static Factory *only = new Factory;
  return only;
}

EXPORT HRESULT DXCoreCreateAdapterFactory(REFIID iid, void **object) {
  return factory()->QueryInterface(iid, object);
}
