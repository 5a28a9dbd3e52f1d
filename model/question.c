/* Questions about placement, and the outer shape of their answers: POST /v1/plan, /v1/capacity and
 * /v1/rebalance. */
#include "model/kinds.h"

#define HOSTS_MAX 1000

#define ADD_HOSTS_LIKE(owner)                                                                      \
    BERTH_FIELD(owner, add_hosts_like, STRINGS, .maximum = HOSTS_MAX,                              \
                .doc = "An empty host like each of these is added.")

/* What plans and capacity may assume. */
#define ASSUMPTIONS(owner)                                                                         \
    BERTH_FIELD(owner, without_hosts, STRINGS, .maximum = HOSTS_MAX,                               \
                .doc = "Hosts that are thought away; what runs there is placed again."),           \
        ADD_HOSTS_LIKE(owner)

#define PLAN_QUESTION(member, kind, ...) BERTH_FIELD(BerthPlanQuestion, member, kind, __VA_ARGS__)

static const BerthField plan_question_fields[] = {
    PLAN_QUESTION(documents, JSON,
                  .doc = "List of the objects to be written, in order; at most 1000."),
    PLAN_QUESTION(project, STRING, .format = BERTH_FORMAT_NAME, .fallback_text = "default",
                  .doc = "Project of documents that name none."),
    ASSUMPTIONS(BerthPlanQuestion),
};
const BerthSchema berth_plan_question_schema =
    BERTH_SCHEMA("PlanQuestion", BerthPlanQuestion, plan_question_fields,
                 "What is to be written, and how the fleet is assumed to differ.");

#define PLAN(member, kind, ...) BERTH_FIELD(BerthPlanAnswer, member, kind, __VA_ARGS__)

static const BerthField plan_fields[] = {
    PLAN(fits, BOOL, .doc = "Whether everything that is to run has a host."),
    PLAN(revision, INT, .doc = "Revision of the fleet that was planned on."),
    PLAN(steps, JSON,
         .doc =
             "In order: kind, project, name, outcome (created, changed, unchanged; moved, placed, "
             "displaced), host, from, fits, waits (for what: its group, a network), preempting "
             "(who is stopped for "
             "it), "
             "placement as ':why' has it, changes."),
    PLAN(hosts, JSON, .doc = "Hosts whose load would change: name, added, capacity, used."),
};
const BerthSchema berth_plan_schema =
    BERTH_SCHEMA("Plan", BerthPlanAnswer, plan_fields, "What the writes would do.");

#define CAPACITY_QUESTION(member, kind, ...)                                                       \
    BERTH_FIELD(BerthCapacityQuestion, member, kind, __VA_ARGS__)

static const BerthField capacity_question_fields[] = {
    CAPACITY_QUESTION(like, JSON, .required = TRUE,
                      .doc = "A Pod or VM as a document, or without spec: one that is there."),
    CAPACITY_QUESTION(limit, INT, .fallback = 10000, .minimum = 1, .maximum = 10000,
                      .doc = "Where counting stops."),
    ASSUMPTIONS(BerthCapacityQuestion),
};
const BerthSchema berth_capacity_question_schema =
    BERTH_SCHEMA("CapacityQuestion", BerthCapacityQuestion, capacity_question_fields,
                 "Of what, and how the fleet is assumed to differ.");

#define CAPACITY(member, kind, ...) BERTH_FIELD(BerthCapacityAnswer, member, kind, __VA_ARGS__)

static const BerthField capacity_fields[] = {
    CAPACITY(total, INT, .doc = "How many more would be placed."),
    CAPACITY(limited, BOOL, .doc = "Whether counting stopped at the limit."),
    CAPACITY(hosts, JSON, .doc = "Hosts that take some: name and count."),
    CAPACITY(ends, JSON, .doc = "Why not one more, as ':why' has it; absent when limited."),
};
const BerthSchema berth_capacity_answer_schema =
    BERTH_SCHEMA("CapacityAnswer", BerthCapacityAnswer, capacity_fields, "How many more fit.");

#define OVERVIEW(member, kind, ...) BERTH_FIELD(BerthCapacityOverview, member, kind, __VA_ARGS__)

static const BerthField overview_fields[] = {
    OVERVIEW(hosts, INT, .doc = "Hosts whose capacity is known."),
    OVERVIEW(open_hosts, INT, .doc = "Those of them that take new workloads."),
    OVERVIEW(resources, JSON,
             .doc = "name, capacity and used of all hosts, free and largest_free (on one host) of "
                    "open ones: vcpus, memory_mib, disk_mib, dedicated_cpus, hugepages-KIB, "
                    "resources/NAME, devices/CLASS."),
    OVERVIEW(sizes, JSON,
             .doc = "Usual sizes of placed workloads, the most frequent first, then the largest: "
                    "kind, vcpus, memory_mib, placed."),
    OVERVIEW(projects, JSON,
             .doc = "name, workloads, vcpus, memory_mib, devices of placed workloads, waiting "
                    "without a host, "
                    "and the project's quotas and reservations; 0: none."),
};
const BerthSchema berth_capacity_overview_schema = BERTH_SCHEMA(
    "CapacityOverview", BerthCapacityOverview, overview_fields, "How full the fleet is.");

#define REBALANCE_QUESTION(member, kind, ...)                                                      \
    BERTH_FIELD(BerthRebalanceQuestion, member, kind, __VA_ARGS__)

static const BerthField rebalance_question_fields[] = {
    REBALANCE_QUESTION(empty_hosts, STRINGS, .maximum = HOSTS_MAX,
                       .doc = "Hosts that everything is to leave."),
    REBALANCE_QUESTION(repair_only, BOOL,
                       .doc =
                           "Only what must leave its host or breaks a rule there; no balancing."),
    REBALANCE_QUESTION(moves_max, INT, .fallback = 100, .minimum = 1, .maximum = 1000,
                       .doc = "Where the plan is cut."),
    REBALANCE_QUESTION(link_mib_s, INT, .fallback = 1000, .minimum = 1, .maximum = 1000000,
                       .doc = "Speed of one migration, MiB a second."),
    ADD_HOSTS_LIKE(BerthRebalanceQuestion),
};
const BerthSchema berth_rebalance_question_schema =
    BERTH_SCHEMA("RebalanceQuestion", BerthRebalanceQuestion, rebalance_question_fields,
                 "What live migrations are to reach.");

#define REBALANCE(member, kind, ...) BERTH_FIELD(BerthRebalanceAnswer, member, kind, __VA_ARGS__)

static const BerthField rebalance_fields[] = {
    REBALANCE(revision, INT, .doc = "Revision of the fleet that was planned on."),
    REBALANCE(limited, BOOL, .doc = "Whether the plan was cut at moves_max."),
    REBALANCE(moves, JSON,
              .doc = "In this order, one after the other: kind, project, name, from, to, reason "
                     "(drain, rule, make-room, balance), copy_s (seconds)."),
    REBALANCE(stuck, JSON,
              .doc = "Who should leave its host and can't: kind, project, name, host, why."),
    REBALANCE(cost_before_s, INT,
              .doc =
                  "Overload and lopsidedness of the fleet, as seconds of copying worth mending."),
    REBALANCE(cost_after_s, INT, .doc = "The same after the moves."),
    REBALANCE(copy_s, INT, .doc = "Seconds that all moves copy."),
};
const BerthSchema berth_rebalance_answer_schema = BERTH_SCHEMA(
    "RebalanceAnswer", BerthRebalanceAnswer, rebalance_fields, "Live migrations worth making.");
