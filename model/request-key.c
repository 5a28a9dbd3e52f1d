/* RequestKey: an Idempotency-Key that made an object, so that a retry finds it. Hidden; its name is a hash of
 * who used which key on which collection. */
#include "model/kinds.h"

#define KEY(member, kind, ...) BERTH_FIELD(BerthRequestKeySpec, member, kind, __VA_ARGS__)

static const BerthField spec_fields[] = {
    KEY(fingerprint, STRING, .required = TRUE, .doc = "Hash of the request's body."),
    KEY(target_uid, STRING, .required = TRUE, .doc = "Identity of the object that was made."),
    KEY(target_path, STRING, .required = TRUE, .doc = "Path of that object."),
};
static const BerthSchema spec_schema =
    BERTH_SCHEMA("RequestKeySpec", BerthRequestKeySpec, spec_fields, "What a request made.");

const BerthKind berth_kind_request_key = {
    .name = "RequestKey",
    .plural = "requestkeys",
    .scope = BERTH_SCOPE_FLEET,
    .read_only = TRUE,
    .hidden = TRUE,
    .spec = &spec_schema,
    .columns = (const BerthColumn[]){{NULL}},
    .doc = "An Idempotency-Key that was used.",
};
