// The file format around shaders and root signatures: a header and parts with four-letter names.
//
// https://github.com/microsoft/DirectXShaderCompiler/blob/main/include/dxc/DxilContainer/
//     DxilContainer.h
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

// A part's bytes, or null if the container has no such part or is damaged.
const uint8_t *find_part(const void *container, size_t size, const char name[5], size_t *part_size);

// The LLVM bitcode of the container's DXIL part, or an empty string.
std::string find_bitcode(const void *container, size_t size);
