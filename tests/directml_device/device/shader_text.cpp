// DXIL is LLVM IR with a convention (DXIL.rst in the DirectXShaderCompiler): everything that LLVM
// has no instruction for is a call of an intrinsic "dx.op.<name>.<type>(i32 opcode, ...)". So most
// lines stay as they are. What changes, line by line:
//
// - the entry point becomes @shader, and it and each intrinsic get the thread as first argument;
// - groupshared memory (address space 3) becomes thread-local: a group runs on one thread of the
//   processor;
// - undefined values become zeros, and fast-math flags go, so that results never depend on chance
//   or on the width of this machine's vectors;
// - in a shader with barriers, the entry point becomes a coroutine that suspends itself at each:
//   https://llvm.org/docs/Coroutines.html#switched-resume-lowering
// - metadata is read for the size of the thread group and then dropped.
#include "shader_text.h"

#include <cstdio>
#include <map>
#include <sstream>
#include <vector>

static const char kHeader[] =
    "target triple = \"x86_64-pc-linux-gnu\"\n"
    "declare void @runtime_run_group(ptr, ptr)\n"
    "declare void @runtime_run_group_with_barriers(ptr, ptr)\n"
    "declare ptr @runtime_frame(ptr, i64)\n"
    "declare token @llvm.coro.id(i32, ptr, ptr, ptr)\n"
    "declare i64 @llvm.coro.size.i64()\n"
    "declare ptr @llvm.coro.begin(token, ptr)\n"
    "declare i8 @llvm.coro.suspend(token, i1)\n"
    "declare ptr @llvm.coro.free(token, ptr)\n"
    "declare i1 @llvm.coro.end(ptr, i1, token)\n";

static const char kCoroutineBegin[] =
    "  %coro.id = call token @llvm.coro.id(i32 64, ptr null, ptr null, ptr null)\n"
    "  %coro.size = call i64 @llvm.coro.size.i64()\n"
    "  %coro.memory = call ptr @runtime_frame(ptr %thread, i64 %coro.size)\n"
    "  %coro.frame = call noalias ptr @llvm.coro.begin(token %coro.id, ptr %coro.memory)\n";

static const char kCoroutineEnd[] =
    "coro.final:\n"
    "  %coro.last = call i8 @llvm.coro.suspend(token none, i1 true)\n"
    "  switch i8 %coro.last, label %coro.return [i8 0, label %coro.never\n"
    "                                            i8 1, label %coro.destroy]\n"
    "coro.never:\n"
    "  unreachable\n"
    "coro.destroy:\n"
    "  %coro.freed = call ptr @llvm.coro.free(token %coro.id, ptr %coro.frame)\n"
    "  br label %coro.return\n"
    "coro.return:\n"
    "  %coro.ended = call i1 @llvm.coro.end(ptr %coro.frame, i1 false, token none)\n"
    "  ret ptr %coro.frame\n";

static bool begins_with(const std::string &text, const char *beginning) {
  return text.rfind(beginning, 0) == 0;
}

static bool contains(const std::string &text, const char *part) {
  return text.find(part) != std::string::npos;
}

static void replace_all(std::string &text, const std::string &from, const std::string &to) {
  for (size_t i = 0; (i = text.find(from, i)) != std::string::npos; i += to.size())
    text.replace(i, from.size(), to);
}

// The text from `begin` up to the first of the characters in `stop`.
static std::string until(const std::string &text, size_t begin, const char *stop) {
  return text.substr(begin, text.find_first_of(stop, begin) - begin);
}

// "!5 = !{...}" lines by name: "!5" -> "!{...}".
typedef std::map<std::string, std::string> Metadata;

static Metadata read_metadata(const std::vector<std::string> &lines) {
  Metadata metadata;
  for (const std::string &line : lines) {
    const size_t equals = line.find(" = ");
    if (line[0] == '!' && equals != std::string::npos)
      metadata[line.substr(0, equals)] = line.substr(equals + 3);
  }
  return metadata;
}

// The operands of a metadata node, "!{a, b, c}".
static std::vector<std::string> operands(const Metadata &metadata, const std::string &name) {
  std::vector<std::string> found;
  const auto node = metadata.find(name);
  if (node == metadata.end()) return found;
  const size_t begin = node->second.find('{');
  if (begin == std::string::npos) return found;
  std::istringstream inside(until(node->second, begin + 1, "}"));
  for (std::string operand; std::getline(inside, operand, ',');)
    found.push_back(operand.substr(operand.find_first_not_of(' ')));
  return found;
}

struct EntryPoint {
  std::string function;  // "@main"
  unsigned size[3];      // threads per group
};

// !dx.entryPoints -> {function, name, signatures, resources, properties}; the properties are pairs
// of a tag and a value, and tag 4 is the size of the thread group.
static bool find_entry_point(const Metadata &metadata, EntryPoint *entry) {
  const std::vector<std::string> entries = operands(metadata, "!dx.entryPoints");
  if (entries.size() != 1) return false;
  const std::vector<std::string> fields = operands(metadata, entries[0]);
  if (fields.size() != 5) return false;
  const size_t at = fields[0].find('@');
  if (at == std::string::npos) return false;
  entry->function = fields[0].substr(at);
  const std::vector<std::string> properties = operands(metadata, fields[4]);
  for (size_t i = 0; i + 1 < properties.size(); i += 2) {
    if (properties[i] != "i32 4") continue;
    const std::vector<std::string> size = operands(metadata, properties[i + 1]);
    if (size.size() != 3) return false;
    for (int k = 0; k < 3; k++)
      if (sscanf(size[k].c_str(), "i32 %u", &entry->size[k]) != 1) return false;
    return true;
  }
  return false;
}

// Whether threads have to meet here: bit 0 of the barrier's mode (DXIL::BarrierMode).
static bool synchronizes(const std::string &line) {
  const size_t call = line.find("@dx.op.barrier(i32 80, i32 ");
  unsigned mode = 0;
  return call != std::string::npos &&
         sscanf(line.c_str() + call, "@dx.op.barrier(i32 80, i32 %u)", &mode) == 1 && (mode & 1);
}

// Drops what refers to metadata and attributes: ", !dx.precise !3", " #2".
static void drop_annotations(std::string &line) {
  const size_t annotation = line.find(", !");
  if (annotation != std::string::npos) line.resize(annotation);
  const size_t comment = line.find(" ; ");
  if (comment != std::string::npos) line.resize(comment);
  while (!line.empty() && line.back() == ' ') line.pop_back();
  const size_t group = line.rfind(" #");
  if (group != std::string::npos && line.find_first_not_of("0123456789", group + 2) ==
                                        std::string::npos)
    line.resize(group);
}

// "call float @dx.op.x(i32 21, ..." and "declare float @dx.op.x(i32, ..." get the thread.
static void add_thread_argument(std::string &line, bool declaration) {
  const size_t name = line.find("@dx.op.");
  if (name == std::string::npos) return;
  const size_t open = line.find('(', name);
  const char *thread = declaration ? "ptr" : "ptr %thread";
  line.insert(open + 1, std::string(thread) + (line[open + 1] == ')' ? "" : ", "));
}

// "@dx.op.unary.f32(i32 21" -> "dx.op.unary.f32:21"
static std::string instruction_name(const std::string &line) {
  const size_t name = line.find("@dx.op."), open = line.find("(i32 ", name);
  if (open == std::string::npos) return "";
  return line.substr(name + 1, open - name - 1) + ":" + until(line, open + 5, ",)");
}

// The body of the entry point as a coroutine. A block is cut in two at a barrier, so the phi nodes
// that name it as the block before have to name its second part.
class Coroutine {
 public:
  void begin() { text_ += kCoroutineBegin; }
  void begin_block(const std::string &label) { block_ = label; }
  void suspend() {
    const std::string number = std::to_string(suspensions_++);
    const std::string resume = "coro.resume." + number;
    text_ += "  %coro." + number + " = call i8 @llvm.coro.suspend(token none, i1 false)\n" +
             "  switch i8 %coro." + number + ", label %coro.return [i8 0, label %" + resume +
             "\n    i8 1, label %coro.destroy]\n" + resume + ":\n";
    continued_[block_] = resume;
  }
  void add(const std::string &line) { text_ += line + "\n"; }
  std::string end() {
    std::istringstream in(text_);
    std::string result;
    for (std::string line; std::getline(in, line);) {
      if (contains(line, " = phi "))
        for (const auto &block : continued_)
          replace_all(line, ", %" + block.first + " ]", ", %" + block.second + " ]");
      result += line + "\n";
    }
    return result + kCoroutineEnd;
  }

 private:
  std::string text_, block_;
  std::map<std::string, std::string> continued_;
  unsigned suspensions_ = 0;
};

ShaderText translate_shader(const std::string &dxil) {
  ShaderText result;
  std::vector<std::string> lines;
  std::istringstream in(dxil);
  bool barriers = false;
  for (std::string line; std::getline(in, line); lines.push_back(line))
    if (synchronizes(line)) barriers = true;

  EntryPoint entry;
  if (!find_entry_point(read_metadata(lines), &entry)) {
    result.error = "a shader that is not one compute shader with a fixed group size";
    return result;
  }

  Coroutine coroutine;
  bool inside = false, first_block = false;
  result.ir = std::string("target datalayout = \"") + kDataLayout + "\"\n" + kHeader;
  for (std::string line : lines) {
    // The module's own lines: metadata, attributes, targets, references that keep symbols alive.
    if (line.empty() || line[0] == ';' || line[0] == '!' || begins_with(line, "attributes ") ||
        begins_with(line, "target ") || begins_with(line, "source_filename") ||
        begins_with(line, "@llvm.used"))
      continue;
    drop_annotations(line);
    if (begins_with(line, "declare ")) {
      add_thread_argument(line, true);
      result.ir += line + "\n";
      continue;
    }
    replace_all(line, " addrspace(3) global", " thread_local global");
    replace_all(line, " addrspace(3)", "");
    replace_all(line, "i32 undef", "i32 0");
    replace_all(line, "float undef", "float 0.0");
    replace_all(line, " fast ", " ");

    if (begins_with(line, "define ")) {
      if (!contains(line, ("void " + entry.function + "()").c_str())) {
        result.error = "a shader with more than one function";
        return result;
      }
      inside = true;
      result.ir += barriers ? "define internal ptr @shader(ptr %thread) presplitcoroutine {\n"
                            : "define internal void @shader(ptr %thread) alwaysinline {\n";
      // The first block may have no label of its own; llvm-dis then counts it as 0.
      coroutine.begin_block("0");
      first_block = true;
      continue;
    }
    if (!inside) {
      result.ir += line + "\n";
      continue;
    }
    const bool label = line[0] != ' ' && line[0] != '}';
    if (first_block && !label) {
      first_block = false;
      if (barriers) coroutine.begin();
    }
    if (label) {
      coroutine.begin_block(until(line, 0, ":"));
      if (barriers) coroutine.add(line);
      else result.ir += line + "\n";
      continue;
    }
    if (line == "}") {
      inside = false;
      result.ir += barriers ? coroutine.end() : "";
      result.ir += "}\n";
      continue;
    }
    if (contains(line, "call ")) {
      const std::string name = instruction_name(line);
      if (!name.empty() && !contains(result.instructions, (name + " ").c_str()))
        result.instructions += name + " ";
    }
    if (!barriers) {
      add_thread_argument(line, false);
      result.ir += line + "\n";
    } else if (synchronizes(line)) {
      coroutine.suspend();
    } else if (line == "  ret void") {
      coroutine.add("  br label %coro.final");
    } else {
      add_thread_argument(line, false);
      coroutine.add(line);
    }
  }

  std::ostringstream end;
  end << "@group_size = constant [3 x i32] [i32 " << entry.size[0] << ", i32 " << entry.size[1]
      << ", i32 " << entry.size[2] << "]\n"
      << "@instructions = constant [" << result.instructions.size() + 1 << " x i8] c\""
      << result.instructions << "\\00\"\n"
      << "define void @run_group(ptr %group) {\n  call void @runtime_run_group"
      << (barriers ? "_with_barriers" : "") << "(ptr %group, ptr @shader)\n  ret void\n}\n";
  result.ir += end.str();
  return result;
}
