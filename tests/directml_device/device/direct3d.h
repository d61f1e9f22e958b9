// The Direct3D 12 interfaces as Linux has them: winadapter.h stands for the Windows types.
#pragma once

#include <wsl/winadapter.h>

#include <directx/d3d12.h>

// Gives each interface its __uuidof.
#include <dxguids/dxguids.h>
