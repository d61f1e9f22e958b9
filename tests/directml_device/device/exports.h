// Marks what libd3d12.so offers to others; everything else stays hidden inside the library.
#pragma once

#define EXPORT extern "C" __attribute__((visibility("default")))
