#include "dx_container.h"

#include <cstring>

static uint32_t word_at(const uint8_t *bytes, size_t position) {
  uint32_t word;
  memcpy(&word, bytes + position, sizeof word);
  return word;
}

// Header: "DXBC", 16 bytes of digest, version, size, number of parts, then the parts' positions.
// Part: name, size, data.
const uint8_t *find_part(const void *container, size_t size, const char name[5],
                         size_t *part_size) {
  const uint8_t *bytes = static_cast<const uint8_t *>(container);
  if (!bytes || size < 32 || memcmp(bytes, "DXBC", 4)) return nullptr;
  const uint32_t parts = word_at(bytes, 28);
  if (parts > (size - 32) / 4) return nullptr;
  for (uint32_t i = 0; i < parts; i++) {
    const size_t position = word_at(bytes, 32 + 4 * i);
    if (position > size - 8 || word_at(bytes, position + 4) > size - 8 - position) return nullptr;
    if (memcmp(bytes + position, name, 4)) continue;
    *part_size = word_at(bytes, position + 4);
    return bytes + position + 8;
  }
  return nullptr;
}

// DXIL part: program version, size in words; then "DXIL", version, position of the bitcode counted
// from that name, size of the bitcode.
std::string find_bitcode(const void *container, size_t size) {
  size_t part_size;
  const uint8_t *part = find_part(container, size, "DXIL", &part_size);
  if (!part || part_size < 24) return "";
  const size_t position = 8 + static_cast<size_t>(word_at(part, 16));
  const size_t length = word_at(part, 20);
  if (position > part_size || length > part_size - position) return "";
  return std::string(reinterpret_cast<const char *>(part) + position, length);
}
