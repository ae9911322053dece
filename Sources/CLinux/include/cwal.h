#pragma once
// PostgreSQL's write-ahead log: what must be fast even in a debug build of Swift. The layouts are those of
// access/xlog_internal.h and access/xlogrecord.h of PostgreSQL 14 to 18, in the byte order of this host.
#include <stddef.h>
#include <stdint.h>

/// Goes on with a CRC-32C (Castagnoli). Begin with 0xFFFFFFFF, and invert the last result.
uint32_t cwal_crc32c(uint32_t crc, const void *bytes, size_t count);
/// The same without the processor's own instruction: for processors that lack it.
uint32_t cwal_crc32c_portable(uint32_t crc, const void *bytes, size_t count);

/// The header of a record: 24 bytes in the log.
typedef struct {
    uint32_t length;      // of the whole record
    uint64_t previous;    // where the record before it begins
    uint8_t information;
    uint8_t manager;
    uint32_t crc;
} cwal_record;
/// Needs 24 readable bytes, of any alignment.
cwal_record cwal_read_record(const void *bytes);
/// The first field of a record alone: needs 4 readable bytes.
uint32_t cwal_read_length(const void *bytes);
/// The CRC of a whole record that lies in one piece: its data first, then its header as far as the CRC itself.
uint32_t cwal_record_crc(const void *bytes, size_t length);

/// The header of a page: 24 bytes in the log, or 40 with the last three fields.
typedef struct {
    uint16_t magic;
    uint16_t information;
    uint32_t timeline;
    uint64_t address;
    uint32_t remaining;   // of the record that began on an earlier page
    uint64_t system;      // these three: only with the flag for long headers
    uint32_t segment_size;
    uint32_t page_size;
} cwal_page;
/// Needs 40 readable bytes, of any alignment.
cwal_page cwal_read_page(const void *bytes);
