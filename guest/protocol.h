/* The wire between berthd and PID 1 of a pod's microVM, for both ends. libc only, no I/O.
 *
 * A byte stream carries frames: a header of 24 bytes and a payload of fields. All numbers are little
 * endian.
 *
 *   offset 0  u16  0x4742
 *          2  u8   type
 *          3  u8   0
 *          4  u32  stream: whom it is about (container index, exec id, request id; 0 otherwise)
 *          8  u32  sequence: 1, 2, … within a session; 0: not numbered
 *         12  u32  acknowledged: the sequence up to which everything of the other side has arrived
 *         16  u16  payload bytes, at most BERTH_PAYLOAD_MAX
 *         18  u16  low half of the CRC-32 of bytes 0 to 17, so that no length is believed unchecked
 *         20  u32  CRC-32 of bytes 0 to 19 and the payload
 *
 * A field is u16 tag, u16 size, bytes; integers are written as 8 bytes and read at any size up to 8.
 * Unknown fields and types are skipped: that is what a minor version may add. The header and HELLO
 * never change; everything else may with the major version.
 *
 * Numbered frames are kept by the sender until acknowledged and sent again after a break, so that they
 * arrive once and in order (lane.h). Each side has at most BERTH_UNACKED_FRAMES and
 * BERTH_UNACKED_BYTES of them in flight: a guest that does not read can block a whole libvirt
 * connection. Every frame toward the guest is numbered, but for HELLO. Toward the daemon LOG and
 * OUTPUT are not: they carry positions of their own and have credit of their own.
 *
 * A session: the daemon opens the port and says HELLO with a nonce and an attempt number; the guest
 * answers HELLO with both echoed. What comes before that is of an older opener and is thrown away.
 * The same nonce again resumes the session; another one begins afresh: unnumbered state is told again
 * and execs of the old session are hung up. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BERTH_PROTOCOL_MAJOR 1
#define BERTH_PROTOCOL_MINOR 0

#define BERTH_FRAME_MAGIC 0x4742
#define BERTH_HEADER_SIZE 24
#define BERTH_PAYLOAD_MAX 16352
#define BERTH_FRAME_MAX (BERTH_HEADER_SIZE + BERTH_PAYLOAD_MAX)
/* Bulk data is cut into pieces of this size, so that several fit into the credit. */
#define BERTH_CHUNK_MAX 4000

#define BERTH_UNACKED_FRAMES 8
#define BERTH_UNACKED_BYTES 16384

#define BERTH_POD_CONTAINERS_MAX 16
#define BERTH_POD_EXECS_MAX 16
#define BERTH_POD_NICS_MAX 8
#define BERTH_BLOB_MAX (256 * 1024) /* crun's config.json, and what writes /etc/hosts */
#define BERTH_EXEC_ID_MIN 16        /* smaller ids are containers */
#define BERTH_LOG_RECORD_MAX 8192   /* data bytes of one record */
#define BERTH_LOG_RECORD_COST 64    /* what a record costs beside its data, in credit */
#define BERTH_OUTPUT_WINDOW 32768   /* bytes of an exec's stream that may be unacknowledged */
#define BERTH_INPUT_WINDOW 8192     /* bytes of input a process may have waiting in the guest */

typedef enum {
    BERTH_FRAME_HELLO = 1,
    BERTH_FRAME_ACK = 2, /* carries only what the header says */

    /* toward the guest */
    BERTH_FRAME_CONFIG = 16,    /* begins a configuration: what the pod has as a whole */
    BERTH_FRAME_NIC = 17,       /* one network card */
    BERTH_FRAME_CONTAINER = 18, /* one container; stream: its index */
    BERTH_FRAME_BLOB = 19,      /* the next bytes of the stream's JSON */
    BERTH_FRAME_CONFIG_END = 20,
    BERTH_FRAME_START = 21,
    BERTH_FRAME_STOP = 22,
    BERTH_FRAME_SIGNAL = 23,
    BERTH_FRAME_EXEC = 24, /* followed by BLOBs; begins when SIZE bytes are there */
    BERTH_FRAME_INPUT = 25,
    BERTH_FRAME_RESIZE = 26,
    BERTH_FRAME_OUTPUT_ACK = 27,
    BERTH_FRAME_LOG_ACK = 28,
    BERTH_FRAME_STATS = 29,
    BERTH_FRAME_SHUTDOWN = 30,

    /* toward the daemon */
    BERTH_FRAME_CONFIGURED = 64,
    BERTH_FRAME_STATE = 65, /* of a container or an exec */
    BERTH_FRAME_LOG = 66,
    BERTH_FRAME_OUTPUT = 67,
    BERTH_FRAME_INPUT_ACK = 68,
    BERTH_FRAME_USAGE = 69,
    BERTH_FRAME_BYE = 70, /* all is stopped; the power goes off now */
} BerthFrameType;

/* Tags. Numbers are for ever; "…" marks what may come several times. */
typedef enum {
    /* HELLO, both ways */
    BERTH_TAG_MAJOR = 1,
    BERTH_TAG_MINOR = 2,
    BERTH_TAG_NONCE = 3,    /* of the daemon's session; echoed */
    BERTH_TAG_ATTEMPT = 4,  /* counts openings; echoed */
    BERTH_TAG_RECEIVED = 5, /* last numbered frame that arrived in this session */
    BERTH_TAG_RESUME = 6,   /* … u64 received, u64 durable, container name */
    BERTH_TAG_WINDOW = 7,   /* bytes of log that may be unacknowledged */
    BERTH_TAG_WALL_US = 8,
    BERTH_TAG_SEED = 9, /* randomness for the guest's pool */
    BERTH_TAG_BOOT_NONCE = 10,
    BERTH_TAG_OS_DIGEST = 11,
    BERTH_TAG_KERNEL = 12,
    BERTH_TAG_CONFIG_ID = 13,
    BERTH_TAG_INIT_US = 14,
    BERTH_TAG_PORT_US = 15,
    BERTH_TAG_RESUMED = 16,

    BERTH_TAG_HOSTNAME = 32,
    BERTH_TAG_DNS = 33,    /* … */
    BERTH_TAG_SEARCH = 34, /* … */
    BERTH_TAG_HOSTS = 35,  /* … a line */
    BERTH_TAG_EXEC_DENIED = 36,
    BERTH_TAG_MAC = 37,
    BERTH_TAG_ADDRESS = 38, /* with prefix length */
    BERTH_TAG_GATEWAY = 39,
    BERTH_TAG_NAME = 40,
    BERTH_TAG_IMAGE_SERIAL = 41,
    BERTH_TAG_SCRATCH_SERIAL = 42,
    BERTH_TAG_USER = 43,
    BERTH_TAG_SIGNAL = 44,
    BERTH_TAG_TTY = 45,
    BERTH_TAG_INPUT_OPEN = 46,
    BERTH_TAG_SIZE = 47, /* of the JSON that follows in BLOBs */
    BERTH_TAG_COUNT = 48,

    BERTH_TAG_RUN = 64,
    BERTH_TAG_TIMEOUT_MS = 65,
    BERTH_TAG_CONTAINER = 66,
    BERTH_TAG_ROWS = 67,
    BERTH_TAG_COLUMNS = 68,
    BERTH_TAG_OFFSET = 69,
    BERTH_TAG_DATA = 70,
    BERTH_TAG_EOF = 71,
    BERTH_TAG_SEQUENCE = 72,
    BERTH_TAG_FD = 73, /* 0 gap, 1 stdout, 2 stderr */

    BERTH_TAG_STATE = 96,
    BERTH_TAG_EXIT_CODE = 97,
    BERTH_TAG_OOM = 98,
    BERTH_TAG_TEXT = 99,
    BERTH_TAG_CPU_US = 100, /* USAGE: one group for each container, begun by CONTAINER */
    BERTH_TAG_MEMORY = 101,
    BERTH_TAG_MEMORY_MAX = 102,
    BERTH_TAG_PIDS = 103,
    BERTH_TAG_STDOUT_END = 104, /* STATE of an exec: its output ends at these offsets */
    BERTH_TAG_STDERR_END = 105,
} BerthTag;

/* STATE of a container or an exec. */
typedef enum {
    BERTH_PROCESS_WAITING = 0,
    BERTH_PROCESS_STARTING = 1,
    BERTH_PROCESS_RUNNING = 2,
    BERTH_PROCESS_EXITED = 3,
    BERTH_PROCESS_FAILED = 4,
} BerthProcessState;

/* ---- frames ------------------------------------------------------------------------------------ */

typedef struct {
    uint8_t type;
    uint32_t stream, sequence, acked;
    const uint8_t *payload; /* borrowed from the decoder or the caller */
    size_t size;
} BerthFrame;

size_t berth_frame_encode(const BerthFrame *frame, uint8_t *out);
void berth_frame_set_acked(uint8_t *encoded, uint32_t acked);
size_t berth_frame_encoded_size(const uint8_t *encoded);
uint32_t berth_frame_encoded_sequence(const uint8_t *encoded);
uint32_t berth_crc32(uint32_t crc, const void *data, size_t size);

/* Takes bytes as they come and gives whole, checked frames. Bytes that are no frame are skipped one by
 * one and counted: after a break either side may begin in the middle of one. Bounded: one frame. */
typedef struct {
    size_t used, consumed;
    uint64_t garbage; /* bytes skipped so far */
    uint8_t data[2 * BERTH_FRAME_MAX];
} BerthDecoder;

void berth_decoder_reset(BerthDecoder *decoder);
size_t berth_decoder_feed(BerthDecoder *decoder, const uint8_t *data, size_t size);
bool berth_decoder_next(BerthDecoder *decoder, BerthFrame *frame);
bool berth_decoder_is_partial(const BerthDecoder *decoder);
void berth_decoder_skip(BerthDecoder *decoder);

/* ---- fields ------------------------------------------------------------------------------------ */

typedef struct {
    uint8_t *data; /* borrowed */
    size_t size, used;
    bool overflow; /* something did not fit; nothing of that field was written */
} BerthWriter;

typedef struct {
    uint16_t tag;
    const uint8_t *data; /* borrowed from the payload */
    size_t size;
} BerthField;

typedef struct {
    const uint8_t *data; /* borrowed */
    size_t size, at;
} BerthReader;

void berth_writer_init(BerthWriter *writer, void *data, size_t size);
void berth_write_u64(BerthWriter *writer, BerthTag tag, uint64_t value);
void berth_write_bytes(BerthWriter *writer, BerthTag tag, const void *data, size_t size);
void berth_write_text(BerthWriter *writer, BerthTag tag, const char *text);

void berth_reader_init(BerthReader *reader, const BerthFrame *frame);
bool berth_read_field(BerthReader *reader, BerthField *field);
bool berth_find_field(const BerthFrame *frame, BerthTag tag, BerthField *field);
uint64_t berth_field_u64(const BerthField *field);
int berth_field_text(const BerthField *field, char *out, size_t size);
uint64_t berth_frame_u64(const BerthFrame *frame, BerthTag tag, uint64_t fallback);
int berth_frame_text(const BerthFrame *frame, BerthTag tag, char *out, size_t size);

void berth_store_u64(uint8_t *out, uint64_t value);
uint64_t berth_load_u64(const uint8_t *data);
