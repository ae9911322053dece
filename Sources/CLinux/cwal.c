#include "cwal.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

// Reflected form of the polynomial 0x1EDC6F41.
static const uint32_t polynomial = 0x82F63B78;
static uint32_t table[8][256];

// Before main, so that no thread can see a half-filled table.
__attribute__((constructor)) static void fill_table(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ polynomial : crc >> 1;
        table[0][byte] = crc;
    }
    for (int slice = 1; slice < 8; slice++) {
        for (int byte = 0; byte < 256; byte++) {
            uint32_t before = table[slice - 1][byte];
            table[slice][byte] = before >> 8 ^ table[0][before & 0xFF];
        }
    }
}

uint32_t cwal_crc32c_portable(uint32_t crc, const void *bytes, size_t count) {
    const uint8_t *next = bytes;
    // Eight bytes at once, each through a table of its own distance. Bytes are taken one by one: any byte order.
    for (; count >= 8; count -= 8, next += 8) {
        uint32_t low = crc ^ ((uint32_t)next[0] | (uint32_t)next[1] << 8 | (uint32_t)next[2] << 16 | (uint32_t)next[3] << 24);
        crc = table[7][low & 0xFF] ^ table[6][low >> 8 & 0xFF] ^ table[5][low >> 16 & 0xFF] ^ table[4][low >> 24]
            ^ table[3][next[4]] ^ table[2][next[5]] ^ table[1][next[6]] ^ table[0][next[7]];
    }
    while (count-- > 0) crc = crc >> 8 ^ table[0][(crc ^ *next++) & 0xFF];
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_instruction(uint32_t crc, const void *bytes, size_t count) {
    const uint8_t *next = bytes;
    uint64_t wide = crc;
    for (; count >= 8; count -= 8, next += 8) {
        uint64_t word;
        memcpy(&word, next, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    while (count-- > 0) crc = _mm_crc32_u8(crc, *next++);
    return crc;
}

uint32_t cwal_crc32c(uint32_t crc, const void *bytes, size_t count) {
    if (__builtin_cpu_supports("sse4.2")) return crc32c_instruction(crc, bytes, count);
    return cwal_crc32c_portable(crc, bytes, count);
}
#else
uint32_t cwal_crc32c(uint32_t crc, const void *bytes, size_t count) { return cwal_crc32c_portable(crc, bytes, count); }
#endif

cwal_record cwal_read_record(const void *bytes) {
    const uint8_t *from = bytes;
    cwal_record record = {.information = from[16], .manager = from[17]};
    memcpy(&record.length, from, 4);
    memcpy(&record.previous, from + 8, 8);
    memcpy(&record.crc, from + 20, 4);
    return record;
}

uint32_t cwal_read_length(const void *bytes) {
    uint32_t length;
    memcpy(&length, bytes, 4);
    return length;
}

uint32_t cwal_record_crc(const void *bytes, size_t length) {
    const uint8_t *from = bytes;
    return ~cwal_crc32c(cwal_crc32c(0xFFFFFFFF, from + 24, length - 24), from, 20);
}

cwal_page cwal_read_page(const void *bytes) {
    const uint8_t *from = bytes;
    cwal_page page;
    memcpy(&page.magic, from, 2);
    memcpy(&page.information, from + 2, 2);
    memcpy(&page.timeline, from + 4, 4);
    memcpy(&page.address, from + 8, 8);
    memcpy(&page.remaining, from + 16, 4);
    memcpy(&page.system, from + 24, 8);
    memcpy(&page.segment_size, from + 32, 4);
    memcpy(&page.page_size, from + 36, 4);
    return page;
}
