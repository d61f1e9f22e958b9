// Turns the text of a DXIL module (LLVM IR for a GPU) into LLVM IR for this machine.
#pragma once

#include <string>

// Of this machine, as clang has it.
const char kDataLayout[] =
    "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128";

struct ShaderText {
  std::string ir;            // the whole module; it exports run_group and group_size
  std::string instructions;  // "dx.op.unary.f32:21 ..." for each intrinsic that it calls
  std::string error;         // what is not supported, or empty
};

ShaderText translate_shader(const std::string &dxil);
