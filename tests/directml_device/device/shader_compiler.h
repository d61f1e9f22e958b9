// From a DXIL container to native code: unpack, translate, compile with clang, load.
//
// Compiled shaders lie in a cache folder that threads and processes share: each is written under
// a name of its own and then renamed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "shader_abi.h"

struct Shader {
  void (*run_group)(Group *) = nullptr;
  uint32_t group_size[3] = {1, 1, 1};
  uint64_t number = 0;       // counted from 1 in the order of creation in this process
  std::string name;          // a hash of its content
  std::string instructions;  // the intrinsics it calls, "dx.op.unary.f32:21 "
};

// Null if the container is damaged or the shader is not supported; stderr says why.
std::shared_ptr<const Shader> load_shader(const void *container, size_t size);
