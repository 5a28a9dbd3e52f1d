/* A container's log ring keeps order and numbers, and counts what it must drop. */
#include "guest/protocol.h"
#include "guest/ring.h"

#include <glib.h>
#include <string.h>

#define LIMIT 32768

static void
push_text(BerthRing *ring, const char *text)
{
    berth_ring_push(ring, 1, 5, text, strlen(text));
}

static void
test_gives_records_in_order_and_keeps_them_until_acknowledged(void)
{
    BerthRing ring;
    BerthRecord record;
    guint8 data[BERTH_LOG_RECORD_MAX];
    berth_ring_init(&ring, LIMIT);
    push_text(&ring, "one");
    push_text(&ring, "two");
    g_assert_true(berth_ring_take(&ring, &record, data));
    g_assert_cmpuint(record.sequence, ==, 1);
    g_assert_cmpmem(data, record.size, "one", 3);
    g_assert_true(berth_ring_take(&ring, &record, data));
    g_assert_false(berth_ring_take(&ring, &record, data));
    g_assert_cmpuint(ring.in_flight, ==, 6 + 2 * BERTH_LOG_RECORD_COST);
    berth_ring_ack(&ring, 1);
    berth_ring_rewind(&ring, 1);
    g_assert_true(berth_ring_take(&ring, &record, data));
    g_assert_cmpuint(record.sequence, ==, 2);
    g_assert_cmpmem(data, record.size, "two", 3);
    berth_ring_ack(&ring, 2);
    g_assert_cmpuint(ring.used, ==, 0);
    g_assert_cmpuint(ring.in_flight, ==, 0);
    berth_ring_clear(&ring);
}

static void
test_counts_what_it_drops_when_full(void)
{
    BerthRing ring;
    BerthRecord record;
    guint8 data[BERTH_LOG_RECORD_MAX] = {0};
    guint64 lost = 0, next = 1;
    berth_ring_init(&ring, LIMIT);
    for (int i = 0; i < 100; i++) {
        berth_ring_push(&ring, 1, 0, data, 1000);
    }
    g_assert_cmpuint(ring.capacity, <=, LIMIT);
    g_assert_true(berth_ring_take(&ring, &record, data));
    g_assert_cmpuint(record.fd, ==, 0);
    lost = record.sequence;
    g_assert_cmpuint(record.lost, ==, lost * 1000);
    for (next = lost + 1; berth_ring_take(&ring, &record, data); next++) {
        g_assert_cmpuint(record.sequence, ==, next);
    }
    g_assert_cmpuint(next, ==, 101);
    berth_ring_rewind(&ring, 0); /* the gap was not heard: it is told again */
    g_assert_true(berth_ring_take(&ring, &record, data));
    g_assert_cmpuint(record.sequence, ==, lost);
    berth_ring_ack(&ring, lost);
    berth_ring_rewind(&ring, lost);
    g_assert_true(berth_ring_take(&ring, &record, data));
    g_assert_cmpuint(record.sequence, ==, lost + 1);
    berth_ring_clear(&ring);
}

static void
test_goes_on_behind_an_earlier_boot(void)
{
    BerthRing ring;
    BerthRecord record;
    guint8 data[BERTH_LOG_RECORD_MAX];
    berth_ring_init(&ring, LIMIT);
    berth_ring_rewind(&ring, 500);
    push_text(&ring, "x");
    g_assert_true(berth_ring_take(&ring, &record, data));
    g_assert_cmpuint(record.sequence, ==, 501);
    g_assert_cmpuint(record.fd, ==, 1);
    berth_ring_clear(&ring);
}

/* A model that keeps everything, against the ring, over random pushes, takes, acks and rewinds. */
static void
test_agrees_with_a_model_under_random_use(void)
{
    for (guint32 seed = 1; seed <= 300; seed++) {
        g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
        BerthRing ring;
        guint64 made = 0, acked = 0, cursor = 1;
        guint8 data[BERTH_LOG_RECORD_MAX];
        berth_ring_init(&ring, LIMIT);
        for (int step = 0; step < 400; step++) {
            BerthRecord record;
            int what = g_rand_int_range(rand, 0, 10);
            if (what < 5) {
                gsize size = (gsize)g_rand_int_range(rand, 1, 3000);
                made++;
                memset(data, (int)(made & 255), size);
                berth_ring_push(&ring, 2, (gint64)made, data, size);
            } else if (what < 8 && berth_ring_take(&ring, &record, data)) {
                g_assert_cmpuint(record.sequence, >=, cursor);
                g_assert_true(record.fd == 0 || record.sequence == cursor);
                g_assert_true(record.fd == 0 || data[record.size - 1] == (record.sequence & 255));
                cursor = record.sequence + 1;
            } else if (what == 8 && cursor > 1) {
                guint64 drawn = (guint64)g_rand_int_range(rand, 0, (gint32)cursor);
                acked = MAX(acked, drawn);
                berth_ring_ack(&ring, acked);
            } else if (what == 9) {
                berth_ring_rewind(&ring, acked);
                cursor = acked + 1;
            }
            g_assert_cmpuint(ring.used, <=, LIMIT);
            g_assert_cmpuint(ring.next, ==, made + 1);
        }
        berth_ring_clear(&ring);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guest/ring/gives-records-in-order-and-keeps-them-until-acknowledged",
                    test_gives_records_in_order_and_keeps_them_until_acknowledged);
    g_test_add_func("/guest/ring/counts-what-it-drops-when-full",
                    test_counts_what_it_drops_when_full);
    g_test_add_func("/guest/ring/goes-on-behind-an-earlier-boot",
                    test_goes_on_behind_an_earlier_boot);
    g_test_add_func("/guest/ring/agrees-with-a-model-under-random-use",
                    test_agrees_with_a_model_under_random_use);
    return g_test_run();
}
