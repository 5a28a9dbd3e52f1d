/* Slots: pipes and terminals of processes, read when the core has room and written when it has input.
 * Start reading at slot_read_output(). */
#include "guest/slot.h"

#include "guest/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

static struct {
    BerthCore *core;
    int epoll;
    Slot slots[SLOTS];
} self;

/** @epoll_fd: where streams are watched. */
void
slot_init(int epoll_fd)
{
    self.epoll = epoll_fd;
}

/** Who gets output and gives input. */
void
slot_set_core(BerthCore *core)
{
    self.core = core;
}

/* ---- the table ----------------------------------------------------------------------------------- */

/** Returns: the slot of the core's process @id, or NULL. */
Slot *
slot_find(uint32_t id)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (self.slots[i].used && self.slots[i].id == id) {
            return &self.slots[i];
        }
    }
    return NULL;
}

/** Returns: the slot at @index, or NULL when it is free. */
Slot *
slot_at(unsigned index)
{
    return index < SLOTS && self.slots[index].used ? &self.slots[index] : NULL;
}

/** Returns: whose crun or process @pid is, or NULL: nobody's that is known yet. */
Slot *
slot_of_child(pid_t pid)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        Slot *slot = &self.slots[i];
        if (slot->used && (slot->crun == pid || (slot->pid == pid && !slot->ended))) {
            return slot;
        }
    }
    return NULL;
}

/** Returns: a slot without streams; NULL when none is free. */
Slot *
slot_new(uint32_t id, unsigned container, bool tty)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (!self.slots[i].used) {
            self.slots[i] = (Slot){.used = true,
                                   .id = id,
                                   .container = container,
                                   .tty = tty,
                                   .in.fd = -1,
                                   .out = {{.fd = -1}, {.fd = -1}},
                                   .console.fd = -1};
            return &self.slots[i];
        }
    }
    return NULL;
}

unsigned
slot_index(const Slot *slot)
{
    return (unsigned)(slot - self.slots);
}

/** Closes what is open; the slot is another's from now on. */
void
slot_free(Slot *slot)
{
    slot_close(&slot->in);
    slot_close(&slot->out[0]);
    slot_close(&slot->out[1]);
    slot_close(&slot->console);
    slot->used = false;
}

/* ---- streams ------------------------------------------------------------------------------------- */

/** Waits for @events of @stream, if it is open. */
void
slot_watch(Stream *stream, uint32_t events, EventClass class, const Slot *slot)
{
    struct epoll_event event = {.events = events, .data.u64 = event_pack(class, slot_index(slot))};
    if (stream->fd >= 0 && !stream->watched) {
        stream->watched = epoll_ctl(self.epoll, EPOLL_CTL_ADD, stream->fd, &event) == 0;
    }
}

/** A pipe whose other end is closed is ready for ever, so it can't stay in epoll while it waits. */
void
slot_unwatch(Stream *stream)
{
    if (stream->watched) {
        epoll_ctl(self.epoll, EPOLL_CTL_DEL, stream->fd, NULL);
        stream->watched = false;
    }
}

void
slot_close(Stream *stream)
{
    slot_unwatch(stream);
    if (stream->fd >= 0) {
        close(stream->fd);
        stream->fd = -1;
    }
}

/* ---- output -------------------------------------------------------------------------------------- */

static void
await_output(Slot *slot, int fd)
{
    slot_watch(&slot->out[fd], EPOLLIN, fd == 0 ? EVENT_STDOUT : EVENT_STDERR, slot);
}

/** Reads as soon as there is something: the core has room. */
void
slot_await_output(Slot *slot)
{
    await_output(slot, 0);
    await_output(slot, 1);
}

static bool
has_room(const Slot *slot, int fd, size_t *room)
{
    /* What a dead container left in its pipes is bounded by them: it goes to the ring at once. */
    if (slot->ended && slot->id < BERTH_EXEC_ID_MIN) {
        *room = BERTH_OUTPUT_MAX;
        return true;
    }
    *room = berth_core_output_room(self.core, slot->id, fd + 1);
    return *room > 0;
}

/* Returns TRUE when more can come. A terminal's master answers EIO when its last user is gone. A whole
 * pipe is read at once: each read that makes room for the writer is a switch to it and back, which costs
 * an emulated guest more than the copying does. */
static bool
read_once(Slot *slot, int fd)
{
    static uint8_t data[BERTH_OUTPUT_MAX];
    size_t room;
    if (!has_room(slot, fd, &room)) {
        slot_unwatch(&slot->out[fd]);
        return false;
    }
    ssize_t got = read(slot->out[fd].fd, data, room);
    if (got > 0) {
        berth_core_output(self.core, slot->id, fd + 1, data, (size_t)got);
        return true;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        await_output(slot, fd);
        return false;
    }
    slot_close(&slot->out[fd]);
    return false;
}

/** Passes on what is there; twice at most, so that one container does not keep PID 1 from the others. */
void
slot_read_output(Slot *slot, int fd)
{
    for (int i = 0; i < 2 && slot->out[fd].fd >= 0; i++) {
        if (!read_once(slot, fd)) {
            break;
        }
    }
    if (slot->out[fd].fd >= 0 && berth_core_output_room(self.core, slot->id, fd + 1) > 0) {
        await_output(slot, fd);
    }
}

/**
 * slot_drain_output:
 *
 * Passes on what an ended process wrote. What a left-over child still holds open, but does not write now,
 * is not waited for.
 *
 * Returns: FALSE when output of an exec is held back: the core has no room
 */
bool
slot_drain_output(Slot *slot)
{
    for (int fd = 0; fd < 2; fd++) {
        size_t room;
        while (slot->out[fd].fd >= 0 && has_room(slot, fd, &room) && read_once(slot, fd)) {
        }
        if (slot->out[fd].fd >= 0 && !has_room(slot, fd, &room)) {
            return false;
        }
    }
    return true;
}

/* ---- input --------------------------------------------------------------------------------------- */

/** Returns: bytes written; fewer than @size: the core is told when more can be; -EPIPE: nobody reads. */
long
slot_write_input(Slot *slot, const uint8_t *data, size_t size)
{
    if (slot->in.fd < 0 && !slot->tty) {
        return -EPIPE;
    }
    int fd = slot->tty ? slot->out[0].fd : slot->in.fd;
    ssize_t written = fd < 0 ? -1 : write(fd, data, size);
    if (written < 0 && errno != EAGAIN && errno != EINTR) {
        return -EPIPE;
    }
    written = written < 0 ? 0 : written;
    if ((size_t)written < size) {
        slot_watch(&slot->in, EPOLLOUT, EVENT_STDIN, slot);
    }
    return written;
}

void
slot_end_input(Slot *slot)
{
    if (!slot->tty) {
        slot_close(&slot->in);
    } else if (slot->out[0].fd >= 0) {
        (void)!write(slot->out[0].fd, "\004", 1); /* what a person types to end input */
    }
}

/* ---- terminals ----------------------------------------------------------------------------------- */

/** Tells the terminal, if there is one yet, the slot's size. */
void
slot_resize_terminal(const Slot *slot)
{
    struct winsize size = {.ws_row = (unsigned short)slot->rows,
                           .ws_col = (unsigned short)slot->columns};
    if (slot->tty && slot->out[0].fd >= 0 && slot->rows > 0 && slot->columns > 0) {
        ioctl(slot->out[0].fd, TIOCSWINSZ, &size);
    }
}

/** Takes the terminal that crun offers, if it does. */
void
slot_take_terminal(Slot *slot)
{
    int terminal = launch_receive_terminal(slot->console.fd);
    if (terminal < 0) {
        return;
    }
    slot_close(&slot->console);
    slot->out[0].fd = terminal;
    slot->in.fd = dup(terminal); /* epoll knows reading and writing apart by the descriptor */
    fcntl(slot->in.fd, F_SETFD, FD_CLOEXEC);
    slot_resize_terminal(slot);
    await_output(slot, 0);
}
