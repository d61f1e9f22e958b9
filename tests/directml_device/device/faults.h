// Faults that a test asks for: memory that runs out, a device that is removed, a wrong kernel.
//
// Each can be set by an environment variable before the process starts, or by an exported
// function while it runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

// Books an allocation. False if it would pass the limit (DIRECTML_DEVICE_MEMORY_LIMIT, in bytes).
bool book_memory(uint64_t bytes);
void return_memory(uint64_t bytes);

// Whether the device has been removed: after so many dispatches
// (DIRECTML_DEVICE_REMOVE_AFTER), or at once by remove_device().
bool device_removed();
void remove_device();
// Called before each dispatch; false if the device is gone.
bool begin_dispatch();
// Calls back when the device is removed; at once if it has been.
void when_removed(std::function<void()> callback);

// The bits that a shader flips in each word that it stores: 0 unless it is the shader that shall
// be wrong. `number` counts the distinct shaders from 1 in the order of their creation
// (DIRECTML_DEVICE_WRONG_KERNEL); `instructions` holds the names of the intrinsics it calls, each
// in the form "dx.op.unary.f32:21" (DIRECTML_DEVICE_WRONG_INSTRUCTION is a part of such a name).
uint32_t flipped_bits(uint64_t number, const std::string &instructions);
