// Runs the thread groups of one dispatch on the cores of this machine.
#pragma once

#include "shader_compiler.h"

// Runs shader for all groups of the grid; `group` holds the views. Groups may run in any order and
// at the same time, as Direct3D says; each runs on one core from begin to end. Returns when all
// are done. DIRECTML_DEVICE_THREADS sets the number of cores.
void run_thread_groups(const Shader &shader, const Group &group, const uint32_t grid[3]);
