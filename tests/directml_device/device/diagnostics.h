// Messages for the person who runs the device: what is missing, and an optional trace.
#pragma once

#include <cstdint>

#include "direct3d.h"


// One line on stderr: what was asked for, and where to say so.
void report_unsupported(const char *what);
// The same, with details put together as by printf.
void report_unsupported_detail(const char *format, ...) __attribute__((format(printf, 1, 2)));
// For what cannot be answered with an error code: the line, then the end of the process.
[[noreturn]] void abort_unsupported(const char *what);

// A line on stderr if DIRECTML_DEVICE_TRACE is set.
bool tracing();
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

// What an unsupported method answers: E_NOTIMPL where it can. A method without an HRESULT has no
// way to fail, and going on would compute nonsense, so the process ends.
template <class Result> Result unsupported(const char *method) { abort_unsupported(method); }
template <> inline HRESULT unsupported<HRESULT>(const char *method) {
  report_unsupported(method);
  return E_NOTIMPL;
}
