// Turns the text of a DXIL module (LLVM IR for a GPU) into LLVM IR for this machine.
#pragma once

#include <string>

struct ShaderText {
  std::string ir;            // the whole module; it exports run_group and group_size
  std::string instructions;  // "dx.op.unary.f32:21 ..." for each intrinsic that it calls
  std::string error;         // what is not supported, or empty
};

ShaderText translate_shader(const std::string &dxil);
