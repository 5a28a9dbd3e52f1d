/* Frames and fields as bytes. Nothing here allocates, and no length is used before it was checked.
 * Start reading at berth_decoder_next(). No global state; any thread. */
#include "guest/protocol.h"

#include <errno.h>
#include <string.h>

static void
store_u16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
}

static void
store_u32(uint8_t *out, uint32_t value)
{
    store_u16(out, (uint16_t)value);
    store_u16(out + 2, (uint16_t)(value >> 16));
}

/** Writes @value to the 8 bytes at @out. */
void
berth_store_u64(uint8_t *out, uint64_t value)
{
    store_u32(out, (uint32_t)value);
    store_u32(out + 4, (uint32_t)(value >> 32));
}

static uint16_t
load_u16(const uint8_t *data)
{
    return (uint16_t)(data[0] | data[1] << 8);
}

static uint32_t
load_u32(const uint8_t *data)
{
    return load_u16(data) | (uint32_t)load_u16(data + 2) << 16;
}

/** Returns: the number in the 8 bytes at @data. */
uint64_t
berth_load_u64(const uint8_t *data)
{
    return load_u32(data) | (uint64_t)load_u32(data + 4) << 32;
}

/* Four tables, so that a 100 MB log does not cost seconds in an emulated guest; made at first use. */
static uint32_t crc_table[4][256];

static void
make_crc_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++) {
            value = (value >> 1) ^ (value & 1 ? 0xedb88320u : 0);
        }
        crc_table[0][i] = value;
    }
    for (int table = 1; table < 4; table++) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t before = crc_table[table - 1][i];
            crc_table[table][i] = (before >> 8) ^ crc_table[0][before & 255];
        }
    }
}

/** Returns: the CRC-32 (IEEE, reflected) of @data, going on from @crc; 0 at the beginning. */
uint32_t
berth_crc32(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    if (crc_table[0][1] == 0) {
        make_crc_table();
    }
    crc = ~crc;
    for (; size >= 4; size -= 4, bytes += 4) {
        crc ^= load_u32(bytes);
        crc = crc_table[3][crc & 255] ^ crc_table[2][crc >> 8 & 255] ^
              crc_table[1][crc >> 16 & 255] ^ crc_table[0][crc >> 24];
    }
    for (; size > 0; size--, bytes++) {
        crc = (crc >> 8) ^ crc_table[0][(crc ^ *bytes) & 255];
    }
    return ~crc;
}

static void
seal(uint8_t *encoded)
{
    size_t size = load_u16(encoded + 16);
    store_u16(encoded + 18, (uint16_t)berth_crc32(0, encoded, 18));
    uint32_t crc = berth_crc32(0, encoded, 20);
    store_u32(encoded + 20, berth_crc32(crc, encoded + BERTH_HEADER_SIZE, size));
}

/**
 * berth_frame_encode:
 * @frame: its size is at most BERTH_PAYLOAD_MAX; the payload may already lie at @out +
 *     BERTH_HEADER_SIZE
 * @out: room for BERTH_HEADER_SIZE + frame->size bytes
 *
 * Returns: bytes written.
 */
size_t
berth_frame_encode(const BerthFrame *frame, uint8_t *out)
{
    if (frame->size > 0) {
        memmove(out + BERTH_HEADER_SIZE, frame->payload, frame->size);
    }
    store_u16(out, BERTH_FRAME_MAGIC);
    out[2] = frame->type;
    out[3] = 0;
    store_u32(out + 4, frame->stream);
    store_u32(out + 8, frame->sequence);
    store_u32(out + 12, frame->acked);
    store_u16(out + 16, (uint16_t)frame->size);
    seal(out);
    return BERTH_HEADER_SIZE + frame->size;
}

/** Puts a newer acknowledgement into a frame that waits to be sent. */
void
berth_frame_set_acked(uint8_t *encoded, uint32_t acked)
{
    if (load_u32(encoded + 12) != acked) {
        store_u32(encoded + 12, acked);
        seal(encoded);
    }
}

/** Returns: bytes of the encoded frame at @encoded, which we made ourselves. */
size_t
berth_frame_encoded_size(const uint8_t *encoded)
{
    return BERTH_HEADER_SIZE + (size_t)load_u16(encoded + 16);
}

/** Returns: the sequence in the encoded frame at @encoded, which we made ourselves. */
uint32_t
berth_frame_encoded_sequence(const uint8_t *encoded)
{
    return load_u32(encoded + 8);
}

/** Forgets what is buffered; the count of garbage stays. */
void
berth_decoder_reset(BerthDecoder *decoder)
{
    decoder->used = 0;
    decoder->consumed = 0;
}

/**
 * berth_decoder_feed:
 *
 * Takes as much of @data as there is room for; always some after berth_decoder_next() gave FALSE.
 * Frames given before become invalid. Returns: bytes taken.
 */
size_t
berth_decoder_feed(BerthDecoder *decoder, const uint8_t *data, size_t size)
{
    if (decoder->consumed > 0) {
        decoder->used -= decoder->consumed;
        memmove(decoder->data, decoder->data + decoder->consumed, decoder->used);
        decoder->consumed = 0;
    }
    size_t room = sizeof decoder->data - decoder->used;
    if (size > room) {
        size = room;
    }
    memcpy(decoder->data + decoder->used, data, size);
    decoder->used += size;
    return size;
}

static bool
header_is_sound(const uint8_t *at)
{
    return load_u16(at) == BERTH_FRAME_MAGIC &&
           load_u16(at + 18) == (uint16_t)berth_crc32(0, at, 18) &&
           load_u16(at + 16) <= BERTH_PAYLOAD_MAX;
}

/** Drops one byte: what is at the front is no frame, or its rest never came. */
void
berth_decoder_skip(BerthDecoder *decoder)
{
    if (decoder->consumed < decoder->used) {
        decoder->consumed++;
        decoder->garbage++;
    }
}

/**
 * berth_decoder_next:
 * @frame: (out): valid until the next feed
 *
 * Returns: FALSE when more bytes are needed.
 */
bool
berth_decoder_next(BerthDecoder *decoder, BerthFrame *frame)
{
    while (decoder->used - decoder->consumed >= BERTH_HEADER_SIZE) {
        const uint8_t *at = decoder->data + decoder->consumed;
        if (!header_is_sound(at)) {
            berth_decoder_skip(decoder);
            continue;
        }
        size_t size = load_u16(at + 16);
        if (decoder->used - decoder->consumed < BERTH_HEADER_SIZE + size) {
            return false;
        }
        uint32_t crc = berth_crc32(berth_crc32(0, at, 20), at + BERTH_HEADER_SIZE, size);
        if (crc != load_u32(at + 20)) {
            /* A new opener's frames may lie inside what was taken for this one's payload. */
            berth_decoder_skip(decoder);
            continue;
        }
        *frame = (BerthFrame){
            .type = at[2],
            .stream = load_u32(at + 4),
            .sequence = load_u32(at + 8),
            .acked = load_u32(at + 12),
            .payload = at + BERTH_HEADER_SIZE,
            .size = size,
        };
        decoder->consumed += BERTH_HEADER_SIZE + size;
        return true;
    }
    return false;
}

/** Returns: TRUE when a frame has begun whose end has not come yet. */
bool
berth_decoder_is_partial(const BerthDecoder *decoder)
{
    return decoder->used > decoder->consumed;
}

/** Writes fields to @data, @size bytes, borrowed. */
void
berth_writer_init(BerthWriter *writer, void *data, size_t size)
{
    *writer = (BerthWriter){.data = data, .size = size};
}

/** Appends a field of @size bytes; sets overflow when it does not fit. */
void
berth_write_bytes(BerthWriter *writer, BerthTag tag, const void *data, size_t size)
{
    if (writer->size - writer->used < 4 || writer->size - writer->used - 4 < size ||
        size > UINT16_MAX) {
        writer->overflow = true;
        return;
    }
    uint8_t *at = writer->data + writer->used;
    store_u16(at, (uint16_t)tag);
    store_u16(at + 2, (uint16_t)size);
    if (size > 0) {
        memcpy(at + 4, data, size);
    }
    writer->used += 4 + size;
}

/** Appends @value as a field of 8 bytes. */
void
berth_write_u64(BerthWriter *writer, BerthTag tag, uint64_t value)
{
    uint8_t bytes[8];
    berth_store_u64(bytes, value);
    berth_write_bytes(writer, tag, bytes, sizeof bytes);
}

/** Appends @text without its NUL; NULL writes nothing. */
void
berth_write_text(BerthWriter *writer, BerthTag tag, const char *text)
{
    if (text != NULL) {
        berth_write_bytes(writer, tag, text, strlen(text));
    }
}

/** Reads the fields of @frame, whose payload must outlive the reader. */
void
berth_reader_init(BerthReader *reader, const BerthFrame *frame)
{
    *reader = (BerthReader){.data = frame->payload, .size = frame->size};
}

/** Returns: FALSE at the end, also when the rest is too short to be a field. */
bool
berth_read_field(BerthReader *reader, BerthField *field)
{
    size_t left = reader->size - reader->at;
    if (left < 4) {
        return false;
    }
    const uint8_t *at = reader->data + reader->at;
    size_t size = load_u16(at + 2);
    if (left - 4 < size) {
        return false;
    }
    *field = (BerthField){.tag = load_u16(at), .data = at + 4, .size = size};
    reader->at += 4 + size;
    return true;
}

/** Finds the first field with @tag. Returns: FALSE when there is none; @field is then unchanged. */
bool
berth_find_field(const BerthFrame *frame, BerthTag tag, BerthField *field)
{
    BerthReader reader;
    BerthField each;
    berth_reader_init(&reader, frame);
    while (berth_read_field(&reader, &each)) {
        if (each.tag == tag) {
            *field = each;
            return true;
        }
    }
    return false;
}

/** Returns: the field as a number; bytes beyond the eighth are ignored. */
uint64_t
berth_field_u64(const BerthField *field)
{
    uint8_t bytes[8] = {0};
    memcpy(bytes, field->data, field->size < 8 ? field->size : 8);
    return berth_load_u64(bytes);
}

/**
 * berth_field_text:
 * @out: (out): NUL-terminated; "" on error
 *
 * Returns: 0, -ENAMETOOLONG when it needs more than @size bytes, -EINVAL when it holds a NUL.
 */
int
berth_field_text(const BerthField *field, char *out, size_t size)
{
    out[0] = '\0';
    if (field->size >= size) {
        return -ENAMETOOLONG;
    }
    if (memchr(field->data, '\0', field->size) != NULL) {
        return -EINVAL;
    }
    memcpy(out, field->data, field->size);
    out[field->size] = '\0';
    return 0;
}

/** Returns: the number in the first field with @tag, or @fallback. */
uint64_t
berth_frame_u64(const BerthFrame *frame, BerthTag tag, uint64_t fallback)
{
    BerthField field;
    return berth_find_field(frame, tag, &field) ? berth_field_u64(&field) : fallback;
}

/** As berth_field_text() for the first field with @tag; -ENOENT when there is none. */
int
berth_frame_text(const BerthFrame *frame, BerthTag tag, char *out, size_t size)
{
    BerthField field;
    out[0] = '\0';
    return berth_find_field(frame, tag, &field) ? berth_field_text(&field, out, size) : -ENOENT;
}
