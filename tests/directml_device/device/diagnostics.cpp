#include "diagnostics.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

static void write_line(const char *prefix, const char *format, va_list arguments,
                       const char *suffix) {
  char text[1024];
  vsnprintf(text, sizeof text, format, arguments);
  fprintf(stderr, "%s%s%s\n", prefix, text, suffix);
}

static const char kHowToReport[] =
    " is not supported. Please open an issue with this line and the command that led to it.";

void report_unsupported_detail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  write_line("directml_device: ", format, arguments, kHowToReport);
  va_end(arguments);
}

void report_unsupported(const char *what) { report_unsupported_detail("%s", what); }

void abort_unsupported(const char *what) {
  report_unsupported(what);
  abort();
}

bool tracing() {
  static const bool enabled = getenv("DIRECTML_DEVICE_TRACE") != nullptr;
  return enabled;
}

void trace(const char *format, ...) {
  if (!tracing()) return;
  va_list arguments;
  va_start(arguments, format);
  write_line("directml_device: ", format, arguments, "");
  va_end(arguments);
}
