#include "shader_compiler.h"

#include <dlfcn.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <vector>

#include "diagnostics.h"
#include "dx_container.h"
#include "shader_text.h"
#include "statistics.h"

extern char **environ;

static std::string read_file(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

static bool write_file(const std::string &path, const std::string &text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  return !file.fail();
}

// Runs a program to its end without a shell; true if it succeeded.
static bool run(const std::vector<std::string> &command) {
  std::vector<char *> arguments;
  for (const std::string &argument : command)
    arguments.push_back(const_cast<char *>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t process;
  if (posix_spawnp(&process, arguments[0], nullptr, nullptr, arguments.data(), environ)) {
    fprintf(stderr, "directml_device: cannot start %s\n", arguments[0]);
    return false;
  }
  int status;
  while (waitpid(process, &status, 0) < 0)
    if (errno != EINTR) return false;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// The folder that this library lies in, where the build has put shader_runtime.bc too.
static std::string library_folder() {
  Dl_info info;
  dladdr(reinterpret_cast<void *>(&library_folder), &info);
  const std::string path = info.dli_fname;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

// DIRECTML_DEVICE_CACHE, or a folder of the user's; below it one for each version of the sources
// that shaders depend on (see build.py).
static std::string cache_folder() {
  namespace filesystem = std::filesystem;
  const char *chosen = getenv("DIRECTML_DEVICE_CACHE"), *home = getenv("HOME");
  filesystem::path folder = filesystem::temp_directory_path() / "directml_device";
  if (chosen && *chosen) folder = chosen;
  else if (home && *home) folder = filesystem::path(home) / ".cache/directml_device/shaders";
  folder /= SHADER_VERSION;
  std::error_code ignored;  // writing there will say what is wrong
  filesystem::create_directories(folder, ignored);
  return folder;
}

// Two 64-bit FNV-1a hashes with different starts, as 32 hexadecimal digits.
static std::string content_hash(const void *data, size_t size) {
  const uint8_t *bytes = static_cast<const uint8_t *>(data);
  uint64_t a = 14695981039346656037ull, b = 1099511628211ull;
  for (size_t i = 0; i < size; i++) {
    a = (a ^ bytes[i]) * 1099511628211ull;
    b = (b ^ bytes[i]) * 1099511628211ull + (b >> 47);
  }
  char text[33];
  snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(a),
           static_cast<unsigned long long>(b));
  return text;
}

// Writes the compiled library `path` from the container's DXIL.
static bool compile(const void *container, size_t size, const std::string &path) {
  const std::string bitcode = find_bitcode(container, size);
  if (bitcode.empty()) {
    report_unsupported("a shader without DXIL");
    return false;
  }
  static std::atomic<unsigned> attempts{0};
  const std::string draft =
      path + "." + std::to_string(getpid()) + "." + std::to_string(attempts++);
  const std::string dxil = draft + ".dxil", text = draft + ".dxil.ll", ir = draft + ".ll",
                    library = draft + ".so";
  // opt rather than llvm-dis: it can replace the data layout, which DXIL abuses in a way that
  // newer LLVM refuses to read.
  bool done = write_file(dxil, bitcode) &&
              run({"opt-19", "-S", "-passes=verify", "-mtriple=x86_64-pc-linux-gnu",
                   std::string("-data-layout=") + kDataLayout, dxil, "-o", text});
  if (done) {
    const ShaderText shader = translate_shader(read_file(text));
    if (!shader.error.empty()) report_unsupported(shader.error.c_str());
    // x86-64-v3: AVX2 and half precision. Without contraction, so that a * b + c rounds twice on
    // every machine.
    done = shader.error.empty() && write_file(ir, shader.ir) &&
           run({"clang-19", "-O2", "-march=x86-64-v3", "-ffp-contract=off", "-shared", "-fPIC",
                "-Wno-override-module", "-x", "ir", ir, "-Xclang", "-mlink-builtin-bitcode",
                "-Xclang", library_folder() + "/shader_runtime.bc", "-lm", "-o", library}) &&
           rename(library.c_str(), path.c_str()) == 0;
  }
  unlink(dxil.c_str());
  unlink(text.c_str());
  if (getenv("DIRECTML_DEVICE_KEEP_IR")) rename(ir.c_str(), (path + ".ll").c_str());
  unlink(ir.c_str());
  unlink(library.c_str());
  if (!done) fprintf(stderr, "directml_device: cannot compile the shader for %s\n", path.c_str());
  return done;
}

static bool load(const std::string &path, Shader *shader) {
  // Now, not lazily: an intrinsic that the runtime lacks is an undefined symbol, named here.
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const std::string reason = dlerror();
    const size_t symbol = reason.find("dx.op.");
    if (symbol == std::string::npos)
      fprintf(stderr, "directml_device: %s\n", reason.c_str());
    else
      report_unsupported(("DXIL instruction " + reason.substr(symbol)).c_str());
    return false;
  }
  shader->run_group = reinterpret_cast<void (*)(Group *)>(dlsym(library, "run_group"));
  const void *size = dlsym(library, "group_size");
  const char *instructions = static_cast<const char *>(dlsym(library, "instructions"));
  if (!shader->run_group || !size || !instructions) return false;
  memcpy(shader->group_size, size, sizeof shader->group_size);
  shader->instructions = instructions;
  return true;
}

namespace {

// One shader of this process. The first thread that wants it compiles it, others wait.
struct Entry {
  std::once_flag once;
  std::shared_ptr<Shader> shader;
};

}  // namespace

std::shared_ptr<const Shader> load_shader(const void *container, size_t size) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<Entry>> entries;
  const std::string name = content_hash(container, size);
  std::shared_ptr<Entry> entry;
  uint64_t number;
  {
    std::lock_guard<std::mutex> lock(mutex);
    std::shared_ptr<Entry> &slot = entries[name];
    if (!slot) slot = std::make_shared<Entry>();
    entry = slot;
    number = entries.size();
  }
  std::call_once(entry->once, [&] {
    const std::string path = cache_folder() + "/" + name + ".so";
    const bool cached = access(path.c_str(), R_OK) == 0;
    auto shader = std::make_shared<Shader>();
    shader->name = name;
    shader->number = number;
    if ((cached || compile(container, size, path)) && load(path, shader.get())) {
      entry->shader = shader;
      statistics().kernels++;
      if (!cached) statistics().compilations++;
    }
  });
  return entry->shader;
}
