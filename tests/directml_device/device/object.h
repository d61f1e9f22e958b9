// What all Direct3D 12 objects have in common: reference counts, interfaces, private data.
//
// https://learn.microsoft.com/windows/win32/api/d3d12/nn-d3d12-id3d12object
// On Linux the interfaces of <directx/d3d12.h> are ordinary C++ classes with virtual methods; the
// compiler lays out their tables as the caller (DirectML) expects them.
#pragma once

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "diagnostics.h"
#include "direct3d.h"

inline bool same_guid(const GUID &a, const GUID &b) { return !memcmp(&a, &b, sizeof(GUID)); }

// A counted object that answers to IUnknown, Interface and the Older interfaces it extends.
// Interface is the newest one, perhaps with some methods filled in by a class in between.
template <class Base, class Interface, class... Older> class Object : public Base {
 public:
  virtual ~Object() = default;

  HRESULT STDMETHODCALLTYPE QueryInterface(REFIID iid, void **object) override {
    if (!object) return E_POINTER;
    const bool known = same_guid(iid, __uuidof(IUnknown)) || same_guid(iid, __uuidof(Interface)) ||
                       (same_guid(iid, __uuidof(Older)) || ...);
    *object = known ? this : nullptr;
    if (!known) return E_NOINTERFACE;
    AddRef();
    return S_OK;
  }
  ULONG STDMETHODCALLTYPE AddRef() override { return ++references_; }
  ULONG STDMETHODCALLTYPE Release() override {
    const ULONG left = --references_;
    if (left == 0) delete this;
    return left;
  }

 private:
  std::atomic<ULONG> references_{1};
};

// ID3D12Object: private data under a GUID. An interface stored there is released with the object.
template <class Base, class Interface, class... Older>
class NamedObject : public Object<Base, Interface, Older..., ID3D12Object> {
 public:
  ~NamedObject() override {
    for (auto &entry : interfaces_) entry.second->Release();
  }
  HRESULT STDMETHODCALLTYPE GetPrivateData(REFGUID guid, UINT *size, void *data) override {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = data_.find(key(guid));
    if (found == data_.end()) return DXGI_ERROR_NOT_FOUND;
    const UINT room = *size;
    *size = static_cast<UINT>(found->second.size());
    if (!data) return S_OK;
    if (room < found->second.size()) return E_INVALIDARG;
    memcpy(data, found->second.data(), found->second.size());
    return S_OK;
  }
  HRESULT STDMETHODCALLTYPE SetPrivateData(REFGUID guid, UINT size, const void *data) override {
    std::lock_guard<std::mutex> lock(mutex_);
    data_.erase(key(guid));
    if (data) data_[key(guid)].assign(static_cast<const char *>(data), size);
    return S_OK;
  }
  HRESULT STDMETHODCALLTYPE SetPrivateDataInterface(REFGUID guid, const IUnknown *data) override {
    std::lock_guard<std::mutex> lock(mutex_);
    IUnknown *&slot = interfaces_[key(guid)];
    IUnknown *added = const_cast<IUnknown *>(data);
    if (added) added->AddRef();
    if (slot) slot->Release();
    slot = added;
    if (!slot) interfaces_.erase(key(guid));
    return S_OK;
  }
  HRESULT STDMETHODCALLTYPE SetName(LPCWSTR) override { return S_OK; }

 private:
  static std::string key(REFGUID guid) {
    return std::string(reinterpret_cast<const char *>(&guid), sizeof guid);
  }
  std::mutex mutex_;
  std::map<std::string, std::string> data_;
  std::map<std::string, IUnknown *> interfaces_;
};

// ID3D12DeviceChild: knows its device, which lives as long as the process.
template <class Base, class Interface, class... Older>
class DeviceChild : public NamedObject<Base, Interface, Older..., ID3D12DeviceChild> {
 public:
  explicit DeviceChild(ID3D12Device *device) : device_(device) {}
  HRESULT STDMETHODCALLTYPE GetDevice(REFIID iid, void **device) override {
    return device_->QueryInterface(iid, device);
  }

 private:
  ID3D12Device *device_;
};

// Hands a new object to the caller of a Create method, as the interface that was asked for.
template <class Made> HRESULT give(Made *made, REFIID iid, void **object) {
  const HRESULT result = object ? made->QueryInterface(iid, object) : S_FALSE;
  made->Release();
  return result;
}
